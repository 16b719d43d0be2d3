"""vLLM in this process, for real: in step with the trainer after a sync, and found out where it is
not. `make test-vllm` runs it.
"""

import copy
import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.interfaces import OwnWeights, RolloutEngine
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.stats import token_stats
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.hf import HFEngine
from g2rpo.rollout.vllm import VLLMEngine

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]
GROUP = Sampling(group_size=3, max_new_tokens=16)
ALLOWED = 2e-4


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return Checkpoint.packaged(name="tiny_qwen3_vl")


@pytest.fixture(scope="module")
def reader(checkpoint: Checkpoint) -> QwenEncoder:
    return checkpoint.encoder()


@pytest.fixture(scope="module")
def trained(checkpoint: Checkpoint) -> Any:
    return checkpoint.policy()


@pytest.fixture(scope="module")
def gym(reader: QwenEncoder) -> Callable[[int], PromptBatch]:
    """So many prompts of all tasks."""
    return lambda count: reader.encode(
        [GymSource().get(TASKS[i % 6], i, "train") for i in range(count)]
    )


@pytest.fixture(scope="module")
def started(trained: Any, reader: QwenEncoder, gym: Callable[[int], PromptBatch]) -> VLLMEngine:
    """One engine for all tests of this file: a second one in a process is a risk of its own."""
    pytest.importorskip("vllm")
    engine = VLLMEngine(max_new_tokens=24, max_model_len=512)
    engine.start(trained, reader)
    engine.generate(gym(6), GROUP, 0)
    return engine


@pytest.fixture
def engine(started: VLLMEngine, trained: Any) -> VLLMEngine:
    """In step with the checkpoint, whatever the test before did to it."""
    started.load_weights(trained, 0)
    started.metrics()
    return started


def updated(policy: Any, seed: int, *, part: str = "", size: float = 0.1) -> Any:
    """A copy in which every weight matrix (of a part) moved by a share of its spread: a large
    optimizer step.
    """
    newer = copy.deepcopy(policy)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in newer.named_parameters():
            if part in name and parameter.ndim > 1:
                parameter.add_(
                    torch.randn(parameter.shape, generator=generator) * size * parameter.std()
                )
    return newer


@torch.no_grad()
def largest_gap(
    policy: Any, reader: QwenEncoder, batch: PromptBatch, rollouts: Rollouts, temperature: float
) -> float:
    stats = token_stats(
        policy,
        batch,
        rollouts.completion_ids,
        rollouts.completion_mask,
        forbidden=reader.forbidden_token_ids,
        temperature=temperature,
    )
    return float((stats.logprobs - rollouts.old_logprobs).abs().max())


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_after_a_sync_log_probabilities_are_the_trainers(
    temperature: float,
    engine: VLLMEngine,
    trained: Any,
    reader: QwenEncoder,
    gym: Callable[[int], PromptBatch],
) -> None:
    newer = updated(trained, 1)
    engine.load_weights(newer, 1)
    batch = gym(12)
    rollouts = engine.generate(
        batch, Sampling(group_size=4, max_new_tokens=24, temperature=temperature), 7
    )
    assert largest_gap(newer, reader, batch, rollouts, temperature) <= ALLOWED
    assert (
        largest_gap(newer, reader, batch, rollouts, 1.7 - temperature) > 0.1
    )  # at the other temperature
    assert engine.metrics()["rollout/sync_logprob_gap"] <= ALLOWED


def test_greedy_completions_are_the_trainers_own_after_an_update(
    engine: VLLMEngine, trained: Any, reader: QwenEncoder, gym: Callable[[int], PromptBatch]
) -> None:
    newer = updated(trained, 2, size=0.02)
    engine.load_weights(newer, 1)
    batch, greedy = gym(32), Sampling(group_size=1, max_new_tokens=24, temperature=0.0)
    own = HFEngine(max_new_tokens=24)
    own.start(newer, reader)
    ours, theirs = own.generate(batch, greedy, 0), engine.generate(batch, greedy, 0)
    assert theirs.texts == ours.texts
    assert torch.equal(theirs.completion_ids, ours.completion_ids)
    assert len(set(theirs.texts)) > 16


def test_an_engine_that_got_no_weights_is_caught_at_once(
    engine: VLLMEngine, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "push", lambda: None)
    with pytest.raises(
        RuntimeError,
        match=(
            r"rollout\.max_sync_gap: after step 5, .* they differ by [0-9.]+ nats, allowed are"
            r" 0\.0002"
        ),
    ):
        engine.load_weights(updated(trained, 3), 5)


def test_a_small_step_that_did_not_arrive_is_caught_too(
    engine: VLLMEngine, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "push", lambda: None)
    with pytest.raises(RuntimeError, match="after step 1"):
        engine.load_weights(updated(trained, 3, size=0.002), 1)


def test_resetting_the_prefix_cache_alone_leaves_features_of_the_old_vision_tower(
    engine: VLLMEngine,
    trained: Any,
    monkeypatch: pytest.MonkeyPatch,
    gym: Callable[[int], PromptBatch],
) -> None:
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    engine.generate(gym(6), GROUP, 1)  # the probe asks the same prompts again
    newer = updated(trained, 4, part="visual")
    monkeypatch.setattr(engine, "forget", lambda: engine._llm.llm.reset_prefix_cache())
    monkeypatch.setattr(
        GPUModelRunner, "reset_encoder_cache", lambda self: None
    )  # which a reload of weights calls besides
    with pytest.raises(RuntimeError, match="after step 1"):
        engine.load_weights(newer, 1)
    monkeypatch.undo()
    engine.load_weights(newer, 1)
    assert engine.metrics()["rollout/sync_logprob_gap"] <= ALLOWED


def test_the_output_layer_arrives_although_it_is_tied_to_the_embedding(
    engine: VLLMEngine, trained: Any
) -> None:
    assert trained.lm_head.weight is trained.get_input_embeddings().weight
    engine.load_weights(updated(trained, 5, part="embed_tokens", size=0.5), 1)


@torch.no_grad()
def test_what_is_drawn_is_as_surprising_as_the_entropy_says(
    engine: VLLMEngine, trained: Any, reader: QwenEncoder, gym: Callable[[int], PromptBatch]
) -> None:
    batch = gym(24)
    rollouts = engine.generate(batch, Sampling(group_size=8, max_new_tokens=24), 11)
    mask = rollouts.completion_mask
    entropy = token_stats(
        trained, batch, rollouts.completion_ids, mask, forbidden=reader.forbidden_token_ids
    ).entropy
    # -log p of a drawn token has the entropy for its expectation, whatever came before it
    excess = (-rollouts.old_logprobs - entropy)[mask]
    assert abs(float(excess.mean())) < 4 * float(excess.std()) / len(excess) ** 0.5
    assert float(entropy[mask].mean()) > 0.1


def test_the_seed_decides_what_is_drawn_and_a_group_is_several_draws(
    engine: VLLMEngine, gym: Callable[[int], PromptBatch]
) -> None:
    batch = gym(12)
    first, again, other = (engine.generate(batch, GROUP, seed) for seed in (3, 3, 4))
    assert torch.equal(first.completion_ids, again.completion_ids)
    assert first.texts != other.texts
    groups = [first.texts[i : i + 3] for i in range(0, 36, 3)]
    assert max(len(set(group)) for group in groups) == 3
    assert first.prompt.tolist() == [row for row in range(12) for _ in range(3)]


def test_forbidden_tokens_never_come_although_the_policy_wants_them(
    engine: VLLMEngine, trained: Any, reader: QwenEncoder, gym: Callable[[int], PromptBatch]
) -> None:
    keen = copy.deepcopy(trained)
    with torch.no_grad():  # two forbidden tokens are now twice as attractive as the end token
        keen.lm_head.weight[list(reader.forbidden_token_ids)[-2:]] = (
            2 * keen.lm_head.weight[reader.eos_token_id]
        )
    engine.load_weights(keen, 1)
    batch = gym(6)
    unmasked = copy.copy(reader)
    unmasked.forbidden_token_ids = ()
    own = HFEngine(max_new_tokens=16)
    own.start(keen, unmasked)
    assert torch.isin(
        own.generate(batch, GROUP, 0).completion_ids, torch.tensor(reader.forbidden_token_ids)
    ).any()
    for temperature in (1.0, 0.0):
        drawn = engine.generate(
            batch, Sampling(group_size=4, max_new_tokens=16, temperature=temperature), 0
        )
        assert not torch.isin(drawn.completion_ids, torch.tensor(reader.forbidden_token_ids)).any()


def test_completions_end_like_the_trainers(
    engine: VLLMEngine, reader: QwenEncoder, gym: Callable[[int], PromptBatch]
) -> None:
    rollouts = engine.generate(gym(12), Sampling(group_size=4, max_new_tokens=12), 0)
    assert 0 < rollouts.finished.sum() < 48
    for ids, mask, finished in zip(
        rollouts.completion_ids, rollouts.completion_mask, rollouts.finished.tolist(), strict=True
    ):
        length = int(mask.sum())
        assert finished == (ids[length - 1] == reader.eos_token_id)
        assert reader.eos_token_id not in ids[: length - 1]
        assert finished or length == 12


def test_a_group_shares_one_pass_of_the_vision_tower(
    engine: VLLMEngine, gym: Callable[[int], PromptBatch]
) -> None:
    from vllm.model_executor.models.qwen3_vl import Qwen3_VisionTransformer

    seen, forward = [], Qwen3_VisionTransformer.forward

    def counted(self: Any, x: torch.Tensor, grid_thw: Any, **options: Any) -> Any:
        seen.append(len(grid_thw))
        return forward(self, x, grid_thw, **options)

    engine.forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Qwen3_VisionTransformer, "forward", counted)
        engine.generate(gym(6), Sampling(group_size=8, max_new_tokens=4), 0)
    assert sum(seen) == 6


def test_a_prompt_without_room_for_its_completion_is_named(
    engine: VLLMEngine, gym: Callable[[int], PromptBatch]
) -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"rollout\.max_model_len: prompt 'gym/train/\w+/\d' has \d+ tokens, which leaves no"
            r" room for rollout"
        ),
    ):
        engine.generate(gym(6), Sampling(group_size=2, max_new_tokens=500), 0)


def test_it_is_an_engine_with_weights_of_its_own(engine: VLLMEngine) -> None:
    assert isinstance(engine, RolloutEngine)
    assert isinstance(engine, OwnWeights)


@pytest.mark.process
def test_a_training_run_and_an_evaluation(tmp_path: Path) -> None:
    small = [
        "rollout=vllm",
        "rollout.max_model_len=512",
        "heldout.prompts_per_task=2",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for command in (
        ["train.py", "experiment=smoke", "trainer.max_steps=2", *small],
        ["evaluate.py", *small],
    ):
        done = subprocess.run(
            [
                sys.executable,
                str(ROOT / command[0]),
                *command[1:],
                f"hydra.run.dir={tmp_path / command[0]}",
            ],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    with (tmp_path / "train.py" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["rollout/sync_logprob_gap"]]
    assert [row["step"] for row in rows] == ["1", "2"]
    for row in rows:
        assert 0 < float(row["rollout/sync_logprob_gap"]) <= ALLOWED
        gaps = [
            float(value)
            for name, value in row.items()
            if name.startswith("rollout/logprob_gap_max/") and value
        ]
        assert len(gaps) > 2
        assert max(gaps) <= ALLOWED
