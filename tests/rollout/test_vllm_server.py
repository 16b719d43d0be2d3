"""The engine that speaks HTTP against a stand-in for the server; test_vllm_process.py has the real
one.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_server import FakeServer

from g2rpo.interfaces import OwnWeights, RolloutEngine
from g2rpo.policy.adapter import LoRA
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import PromptBatch, Sampling
from g2rpo.rollout.vllm_client import ServerLost, VLLMClient
from g2rpo.rollout.vllm_server import VLLMServerEngine

GENERATE = "/inference/v1/generate"
GROUP = Sampling(group_size=3, max_new_tokens=8)


def test_completions_come_in_the_order_of_prompts_and_groups(
    fake: Callable[[], FakeServer],
    started: Callable[..., VLLMServerEngine],
    batch: PromptBatch,
    encoder: QwenEncoder,
) -> None:
    engine = started(fake())
    rollouts = engine.generate(batch, GROUP, 4)
    assert rollouts.completion_ids[:, 0].tolist() == [10, 11, 12] * 6
    assert rollouts.completion_ids[:, 2].tolist() == [encoder.eos_token_id] * 18
    seeds = rollouts.completion_ids[:, 1].view(6, 3)
    assert (seeds == seeds[:, :1]).all()
    assert len(seeds.unique()) > 3
    assert torch.equal(engine.generate(batch, GROUP, 4).completion_ids, rollouts.completion_ids)
    assert not torch.equal(engine.generate(batch, GROUP, 5).completion_ids, rollouts.completion_ids)


def test_a_sync_pauses_pushes_and_forgets_everything_and_keeps_one_folder(
    fake: Callable[[], FakeServer],
    started: Callable[..., VLLMServerEngine],
    batch: PromptBatch,
    policy: Any,
    tmp_path: Path,
) -> None:
    server = fake()
    engine = started(server)
    engine.generate(batch, GROUP, 4)
    server.calls.clear()
    engine.load_weights(policy, 7)
    weights = [
        "/pause?mode=wait",
        "/collective_rpc",
        "/reset_prefix_cache",
        "/reset_mm_cache",
        "/reset_encoder_cache",
        "/resume",
    ]
    assert server.calls[:6] == weights
    assert set(server.calls[6:]) == {GENERATE}  # the probe
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["step7"]
    assert (tmp_path / "weights" / "step7" / "model-0-0.safetensors").stat().st_size > 100_000
    row = engine.metrics()
    assert set(row) == {
        "rollout/sync_logprob_gap",
        "rollout/num_regenerated",
        "rollout/num_restarts",
        "time/sync_s",
    }
    assert row["rollout/sync_logprob_gap"] > 0


def test_every_server_gets_weights_prompts_and_a_probe(
    fake: Callable[[], FakeServer], started: Callable[..., VLLMServerEngine], batch: PromptBatch
) -> None:
    first, second = fake(), fake()
    engine = started(first, second)
    engine.generate(batch, GROUP, 4)
    for server in (first, second):
        assert "/collective_rpc" in server.calls
        assert server.calls.count(GENERATE) == 4 + 3  # four of the probe, half of the batch


@pytest.fixture
def adapted(policy: Any) -> Any:
    own = copy.deepcopy(policy)
    LoRA(rank=2, targets=["q_proj"]).attach(own)
    return own


def test_adapters_are_sent_instead_of_weights_and_named_in_every_request(
    fake: Callable[[], FakeServer],
    batch: PromptBatch,
    adapted: Any,
    tmp_path: Path,
    encoder: QwenEncoder,
) -> None:
    server = fake()
    engine = VLLMServerEngine(
        max_new_tokens=8,
        weights_dir=str(tmp_path / "weights"),
        max_sync_gap=1e9,
        urls=[server.url],
        lora="adapter",
    )
    engine.start(adapted, encoder)
    engine.generate(batch, GROUP, 4)
    engine.load_weights(adapted, 7)
    assert "/collective_rpc" not in server.calls
    assert server.calls.count("/v1/load_lora_adapter") == 2
    folder = tmp_path / "weights" / "step7"
    assert {file.name for file in folder.iterdir()} >= {"adapter_model.safetensors"}
    first, last = server.bodies[0]["model"], server.bodies[-1]["model"]
    assert (first, last) == (str(folder.with_name("step0")), str(folder))
    server.fails = lambda path, count: 404 if path == "/v1/load_lora_adapter" else None
    with pytest.raises(
        RuntimeError, match=r"--enable-lora --max-lora-rank 8`, got .* answered 404"
    ):
        engine.load_weights(adapted, 8)


@pytest.mark.parametrize("trouble", ["hangs", "breaks off", 500, 503])
def test_a_request_that_fails_is_asked_again_and_nothing_is_lost_or_doubled(
    trouble: str | int,
    fake: Callable[[], FakeServer],
    started: Callable[..., VLLMServerEngine],
    batch: PromptBatch,
) -> None:
    server = fake()
    engine = started(server, timeout_s=1.0)
    undisturbed = engine.generate(batch, GROUP, 4)
    engine.metrics()
    done = server.calls.count(GENERATE)
    server.fails = lambda path, count: (
        trouble if path == GENERATE and done + 3 <= count <= done + 4 else None
    )
    rollouts = engine.generate(batch, GROUP, 4)
    assert torch.equal(rollouts.completion_ids, undisturbed.completion_ids)
    assert (
        server.calls.count(GENERATE) == done + 6 + 2 + 4
    )  # what was answered is not asked again; four are the probe's
    assert engine.metrics()["rollout/num_regenerated"] == 2
    assert engine.metrics()["rollout/num_regenerated"] == 0


def test_a_server_that_was_lost_gets_the_weights_again(
    fake: Callable[[], FakeServer], started: Callable[..., VLLMServerEngine], batch: PromptBatch
) -> None:
    server = fake()
    engine = started(server)
    engine.generate(batch, GROUP, 4)
    pushes, health, done = (
        server.calls.count("/collective_rpc"),
        server.calls.count("/health"),
        server.calls.count(GENERATE),
    )
    server.fails = lambda path, count: (
        503
        if (path == "/health" and count <= health + 2) or (path == GENERATE and count <= done + 6)
        else None
    )
    engine.generate(batch, GROUP, 4)
    assert server.calls.count("/collective_rpc") == pushes + 1
    # six prompts were asked in vain, six again, and four by the probe, because nobody knows what
    # came back
    assert server.calls.count(GENERATE) == done + 6 + 6 + 4
    assert server.calls.count("/health") == health + 3


def test_a_server_that_stays_away_ends_the_run_with_the_command_that_starts_it(
    fake: Callable[[], FakeServer], started: Callable[..., VLLMServerEngine], batch: PromptBatch
) -> None:
    server = fake()
    engine = started(server, start_s=0.5)
    server.fails = lambda path, count: 503 if path in ("/health", GENERATE) else None
    with pytest.raises(
        RuntimeError,
        match=(
            r"was lost and not back within 0\.5 s; start it with `python -m g2rpo\.rollout\.serve"
            r" MODEL"
        ),
    ):
        engine.generate(batch, GROUP, 4)


def test_a_request_that_never_succeeds_ends_the_run(
    fake: Callable[[], FakeServer], started: Callable[..., VLLMServerEngine], batch: PromptBatch
) -> None:
    server = fake()
    engine = started(server, max_restarts=2)
    server.fails = lambda path, count: 500 if path == GENERATE else None
    with pytest.raises(
        RuntimeError,
        match=r"prompts got no answer in 3 attempts\. Last: .*/inference/v1/generate answered 500",
    ):
        engine.generate(batch, GROUP, 4)


def test_a_server_that_is_set_up_otherwise_is_named(
    fake: Callable[[], FakeServer], started: Callable[..., VLLMServerEngine], batch: PromptBatch
) -> None:
    server = fake()
    server.fails = lambda path, count: 404 if path == GENERATE else None
    with pytest.raises(
        RuntimeError,
        match=(
            r"(?s)prompt 't/\d': .*answered 404.*the server must run as with `python -m"
            r" g2rpo\.rollout\.serve"
        ),
    ):
        started(server).generate(batch, GROUP, 4)


def test_a_cache_that_cannot_be_reset_stops_the_run(
    fake: Callable[[], FakeServer], started: Callable[..., VLLMServerEngine], batch: PromptBatch
) -> None:
    server = fake()
    server.fails = lambda path, count: "busy" if path == "/reset_prefix_cache" else None
    with pytest.raises(RuntimeError, match="the prefix cache could not be reset"):
        started(server).generate(batch, GROUP, 4)


def test_the_probe_stops_a_server_that_says_other_log_probabilities(
    fake: Callable[[], FakeServer], started: Callable[..., VLLMServerEngine], batch: PromptBatch
) -> None:
    server = fake()
    with pytest.raises(
        RuntimeError,
        match=(
            rf"rollout\.max_sync_gap: at the start \({server.url}\), engine and trainer give token"
        ),
    ):
        started(server, max_sync_gap=2e-4).generate(batch, GROUP, 4)


def test_a_server_that_is_not_there_at_the_start_is_said_with_the_command(
    started: Callable[..., VLLMServerEngine],
) -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"rollout\.urls: no vLLM server answers at http://127\.0\.0\.1:9; start one with"
            r" `python -m"
        ),
    ):
        started(urls=["http://127.0.0.1:9"])


def test_a_client_tells_what_is_worth_asking_again_from_what_is_not(
    fake: Callable[[], FakeServer],
) -> None:
    server = fake()
    client = VLLMClient(url=server.url + "/", timeout_s=1)
    server.fails = lambda path, count: [None, 503, 400, "breaks off"][count]
    with pytest.raises(ServerLost, match="/resume answered 503"):
        client.resume()
    with pytest.raises(RuntimeError, match="/resume answered 400"):
        client.resume()
    with pytest.raises(ServerLost, match="/resume: RemoteDisconnected"):
        client.resume()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"top_p": 0.9}, r"rollout\.top_p: expected 1, got 0\.9"),
        (
            {"urls": ["localhost:8000"]},
            r"rollout\.urls: expected addresses like http://host:8000, got 'localhost:8000'",
        ),
        (
            {"urls": ["http://h:1"], "options": ["--dtype"]},
            r"rollout\.options: expected none together with rollout\.urls",
        ),
        (
            {"max_staleness": 3},
            r"rollout\.max_staleness: expected null with rollout\.ahead=0, .* got 3",
        ),
        ({"timeout_s": 0.0}, r"rollout\.timeout_s: expected seconds above 0, got 0\.0"),
        (
            {"max_sync_gap": 0.0},
            r"rollout\.max_sync_gap: expected null \(by dtype\) or nats above 0, got 0\.0",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        VLLMServerEngine(**{"max_new_tokens": 8, "weights_dir": "weights"} | wrong)


def test_it_is_an_engine_with_weights_of_its_own() -> None:
    engine = VLLMServerEngine(max_new_tokens=8, weights_dir="weights")
    assert isinstance(engine, RolloutEngine)
    assert isinstance(engine, OwnWeights)
