"""bf16-mixed against the same passes with float32, inside and outside of another autocast."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from g2rpo.policy.adapter import LoRA
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.forward import compute_dtype, compute_in, recompute_layers, without_autocast
from g2rpo.policy.packing import supervised_batch, target_logprobs
from g2rpo.policy.stats import TokenStats, token_stats
from g2rpo.records import Prompt, PromptBatch, Sampling
from g2rpo.rollout.hf import HFEngine

IDS = torch.randint(10, 250, (8, 6), generator=torch.Generator().manual_seed(5))
MASK = torch.arange(6) < torch.tensor([3, 6, 1, 4, 6, 2, 5, 1])[:, None]
LIGHTNING = {"device_type": "cpu", "dtype": torch.bfloat16}
"""What Lightning enters around a step in bf16-mixed; it keeps cast weights until its end."""


@pytest.fixture(scope="module")
def batch(encoder: QwenEncoder, prompts: Sequence[Prompt]) -> PromptBatch:
    return encoder.encode(prompts)


def mixed(policy: Any) -> Any:
    policy = copy.deepcopy(policy)
    compute_in(policy, "bf16-mixed")
    return policy


def stats(policy: Any, batch: PromptBatch, prefix: str = "shared") -> TokenStats:
    return token_stats(policy, batch, IDS, MASK, prefix=prefix)


def gradient(policy: Any, batch: PromptBatch, prefix: str = "shared") -> Tensor:
    policy.zero_grad()
    found = stats(policy, batch, prefix)
    (found.logprobs.sum() - 0.3 * found.entropy.sum()).backward()
    assert {p.grad.dtype for p in policy.parameters()} == {torch.float32}
    return torch.cat([p.grad.flatten() for p in policy.parameters()])


@pytest.mark.parametrize("prefix", ["shared", "repeated"])
def test_logprobs_and_gradients_are_near_those_of_float32(
    policy: Any, batch: PromptBatch, prefix: str
) -> None:
    own = mixed(policy)
    assert own.dtype == torch.float32
    exact, found = stats(policy, batch, prefix), stats(own, batch, prefix)
    assert found.logprobs.dtype == found.entropy.dtype == torch.float32
    gap = (found.logprobs - exact.logprobs).abs().max()
    assert 1e-4 < gap < 0.3  # bfloat16 has three digits, and the logits of this model reach 30
    ours, theirs = gradient(own, batch, prefix), gradient(copy.deepcopy(policy), batch, prefix)
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.99
    assert not torch.equal(ours, theirs)


def test_recomputed_layers_compute_the_same_gradient(policy: Any, batch: PromptBatch) -> None:
    own = mixed(policy)
    kept = gradient(own, batch)
    recompute_layers(own)
    torch.testing.assert_close(gradient(own, batch), kept, atol=0, rtol=0)


def test_a_surrounding_autocast_changes_nothing(policy: Any, batch: PromptBatch) -> None:
    own = mixed(policy)
    expected = gradient(own, batch)
    with torch.autocast(**LIGHTNING):
        assert torch.equal(gradient(own, batch), expected)
        assert torch.equal(stats(policy, batch).logprobs, stats(policy, batch).logprobs)
        full = stats(policy, batch).logprobs
    assert torch.equal(full, stats(policy, batch).logprobs)


def test_copies_of_weights_are_neither_stale_nor_without_gradient(
    policy: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    own, engine = mixed(policy), HFEngine(max_new_tokens=4)
    engine.start(own, encoder)
    sampling = Sampling(group_size=2, max_new_tokens=4)
    with torch.autocast(**LIGHTNING):
        engine.generate(batch, sampling, 0)
        with torch.no_grad():
            stats(own, batch)
        before = gradient(own, batch)  # after a pass without gradients
        with torch.no_grad():
            for parameter in own.parameters():
                parameter.mul_(1.1)
        after = gradient(own, batch)
        sampled = engine.generate(batch, sampling, 0)
    assert torch.equal(after, gradient(own, batch))
    assert torch.equal(sampled.old_logprobs, engine.generate(batch, sampling, 0).old_logprobs)
    assert not torch.equal(after, before)


def test_sampler_and_trainer_compute_alike(
    policy: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    gaps = {}
    for name, own in {
        "mixed": mixed(policy),
        "bfloat16": copy.deepcopy(policy).bfloat16(),
    }.items():
        engine = HFEngine(max_new_tokens=6)
        engine.start(own, encoder)
        rollouts = engine.generate(batch, Sampling(group_size=2, max_new_tokens=6), 1)
        trainer = token_stats(
            own,
            batch,
            rollouts.completion_ids,
            rollouts.completion_mask,
            forbidden=tuple(encoder.forbidden_token_ids),
        ).logprobs
        gaps[name] = (trainer - rollouts.old_logprobs).abs().max().item()
    assert gaps["mixed"] < 0.3
    assert gaps["mixed"] < 1.5 * gaps["bfloat16"]


def test_keys_of_a_prompt_are_cached_in_bfloat16(
    policy: Any, encoder: QwenEncoder, batch: PromptBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from g2rpo.rollout import hf

    seen = []

    class Watched(hf.PrefixCache):
        def attend(self, layer: int, query: Tensor, *states: Any) -> Tensor:
            seen.extend(t.dtype for pair in (*self.prompts, *self._own) for t in pair)
            return super().attend(layer, query, *states)

    monkeypatch.setattr(hf, "PrefixCache", Watched)
    engine = HFEngine(max_new_tokens=3)
    engine.start(mixed(policy), encoder)
    engine.generate(batch, Sampling(group_size=2, max_new_tokens=3), 3)
    assert set(seen) == {torch.bfloat16}


def test_cold_start_rows_are_computed_in_bfloat16(
    policy: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    rows = supervised_batch(policy, batch, [[65, 66], [67], [68], [69]], encoder.pad_token_id, 64)
    exact, found = target_logprobs(policy, rows), target_logprobs(mixed(policy), rows)
    assert 1e-5 < (exact - found).abs().max() < 0.3


def test_a_checkpoint_holds_float32_and_exports_bfloat16(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(path=str(tiny_folder))
    own = checkpoint.computing_in("bf16-mixed")
    assert (checkpoint.compute_dtype, own.dtype, own.compute_dtype) == (
        "float32",
        "float32",
        "bfloat16",
    )
    loaded = own.policy()
    assert (loaded.dtype, compute_dtype(loaded)) == (torch.float32, torch.bfloat16)
    assert compute_dtype(checkpoint.policy()) == torch.float32
    assert Checkpoint(path=str(tiny_folder), dtype="bfloat16").compute_dtype == "bfloat16"


def test_float32_adapters_learn_on_a_frozen_bfloat16_base(
    tiny_folder: Path, batch: PromptBatch
) -> None:
    pytest.importorskip("peft")
    adapter = LoRA(rank=4, alpha=8)
    own = (
        Checkpoint(path=str(tiny_folder), dtype="bfloat16", adapter=adapter)
        .computing_in("bf16-mixed")
        .policy()
    )
    stats(own, batch).logprobs.sum().backward()
    trained = {name: p for name, p in own.named_parameters() if p.requires_grad}
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert {p.grad.dtype for p in trained.values()} == {torch.float32}
    assert all(p.grad.abs().max() > 0 for name, p in trained.items() if ".lora_B." in name)
    assert {p.dtype for p in own.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_without_autocast_a_product_is_exact() -> None:
    a = torch.full((2, 2), 1 + 2**-12)
    with torch.autocast(**LIGHTNING):
        assert (a @ a).dtype == torch.bfloat16
        assert torch.equal(without_autocast(torch.mm)(a, a), 2 * a * a)
