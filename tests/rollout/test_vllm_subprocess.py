"""An engine in a process of its own, with a stand-in for vLLM in it; test_vllm_ranks.py has the
real one.
"""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import torch
from left_early import assert_left

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import PromptBatch, Sampling
from g2rpo.rollout import vllm, vllm_subprocess
from g2rpo.rollout.vllm import VLLMEngine
from g2rpo.rollout.vllm_messages import generate_message, read_answer
from g2rpo.rollout.vllm_requests import Answer, Request, requests_of, sampling_fields
from g2rpo.rollout.vllm_retry import EngineLost
from g2rpo.rollout.vllm_subprocess import SubprocessEngine, new_address, visible_devices
from g2rpo.rollout.vllm_worker import CallLoop
from g2rpo.wire import Wire

GROUP = Sampling(group_size=3, max_new_tokens=8)


class Fake:
    """What the stand-in is told, and what it wrote down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tell(self, name: str, text: str = "") -> None:
        (self.folder / name).write_text(text)

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]

    def methods(self) -> list[str]:
        return [call["method"] for call in self.calls()]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setattr(vllm_subprocess, "MODULE", "fake_child")
    monkeypatch.setattr(vllm, "find_spec", lambda name: name)
    monkeypatch.setenv("FAKE_ENGINE", str(tmp_path))
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    )
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("MASTER_PORT", "1234")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    return Fake(tmp_path)


@pytest.fixture
def started(fake: Fake, policy: Any, encoder: QwenEncoder) -> Iterator[Callable[..., VLLMEngine]]:
    """The stand-in invents its log-probabilities, so the probe lets everything pass."""
    engines = []

    def start(**options: Any) -> VLLMEngine:
        given = {
            "max_new_tokens": 8,
            "max_sync_gap": 1e9,
            "log_dir": str(fake.folder),
            "own_process": True,
            "start_s": 300.0,
        }
        engines.append(VLLMEngine(**given | options))
        engines[-1].start(policy, encoder)
        return engines[-1]

    yield start
    for engine in engines:
        engine._llm.stop()


@pytest.mark.slow
def test_a_dead_engine_gets_the_current_weights_and_only_the_missing_prompts(
    fake: Fake, started: Callable[..., VLLMEngine], batch: PromptBatch, policy: Any
) -> None:
    engine = started(max_model_len=900)
    undisturbed = engine.generate(batch, GROUP, 4)
    assert undisturbed.completion_ids[:, 0].tolist() == [10, 11, 12] * 6
    (start,) = [call for call in fake.calls() if call["method"] == "start"]
    assert start["weights"]
    assert start["options"]["max_model_len"] == 900
    assert not {"RANK", "MASTER_PORT", "TORCHELASTIC_RUN_ID"} & set(start["env"])
    assert "FAKE_ENGINE" in start["env"]
    done = fake.methods().count("add")

    engine.load_weights(policy, 1)
    assert fake.methods()[done + 1 : done + 3] == ["reload", "forget"]
    assert engine.metrics()["rollout/num_restarts"] == 0

    answered = 6 + 4 + 4  # the batch, and two probes
    fake.tell("die", str(answered + 2))
    rollouts = engine.generate(batch, GROUP, 4)
    assert torch.equal(rollouts.completion_ids, undisturbed.completion_ids)
    after = fake.methods()[fake.methods().index("start", 1) :]
    assert after == ["start"] + ["add"] * (
        4 + 4
    )  # four of six prompts, then the probe, because nobody knows what came back
    row = engine.metrics()
    assert (row["rollout/num_restarts"], row["rollout/num_regenerated"]) == (1, 4)

    fake.tell("refuse", "add")
    with pytest.raises(
        RuntimeError, match=r"the engine failed \(.*engine_rank0\.log\): ValueError: add is refused"
    ):
        engine.generate(batch, GROUP, 4)


@pytest.mark.slow
def test_an_engine_that_falls_silent_is_ended_and_started_again(
    fake: Fake, started: Callable[..., VLLMEngine], batch: PromptBatch
) -> None:
    engine = started(timeout_s=5.0)
    fake.tell("hang", "2")
    assert engine.generate(batch, GROUP, 4).completion_ids[:, 0].tolist() == [10, 11, 12] * 6
    row = engine.metrics()
    assert (row["rollout/num_restarts"], row["rollout/num_regenerated"]) == (1, 4)


@pytest.mark.slow
def test_an_engine_that_dies_again_and_again_ends_the_run(
    fake: Fake, started: Callable[..., VLLMEngine], batch: PromptBatch
) -> None:
    engine = started(max_restarts=1)
    fake.tell("die", "0")
    fake.tell("again")
    with pytest.raises(
        RuntimeError,
        match=r"6 prompts got no answer in 2 attempts\. Last: the engine was lost \(EOFError",
    ):
        engine.generate(batch, GROUP, 4)


@pytest.mark.slow
def test_an_engine_that_does_not_start_is_said_with_the_end_of_its_log(
    fake: Fake, started: Callable[..., VLLMEngine], batch: PromptBatch
) -> None:
    fake.tell("refuse", "start")
    engine = started()
    with pytest.raises(
        RuntimeError,
        match=(
            r"(?s)the vLLM engine was not up within 300 s \(.*engine_rank0\.log\):.*start is"
            r" refused"
        ),
    ):
        engine.generate(batch, GROUP, 4)


@pytest.mark.slow
def test_two_processes_share_an_engine_and_each_gets_its_own_answers(
    fake: Fake, policy: Any, encoder: QwenEncoder, batch: PromptBatch, tmp_path: Path
) -> None:
    address = new_address()
    given = {
        "address": address,
        "device": torch.device("cpu"),
        "num_devices": 2,
        "options": {},
        "start_s": 300.0,
        "timeout_s": 60.0,
    }
    first, second = (
        SubprocessEngine(**given, log_file=tmp_path / f"{name}.log") for name in ("first", "second")
    )
    assert first.start(tmp_path)
    second.connect()
    assert not second.start(tmp_path)  # it runs already
    answers: list[dict[int, Answer]] = [{}, {}]

    def ask(engine: SubprocessEngine, seed: int) -> None:
        requests = requests_of(encoder, batch, seed)
        engine.generate(
            requests,
            [sampling_fields(encoder, GROUP, request.seed) for request in requests],
            answers[seed],
        )

    threads = [
        threading.Thread(target=ask, args=(engine, seed))
        for seed, engine in enumerate((first, second))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (0, 1):
        expected = [20 + request.seed % 100 for request in requests_of(encoder, batch, seed)]
        assert [answers[seed][place].token_ids[2][1] for place in range(6)] == expected

    fake.tell("die", "12")
    answers[1].clear()
    with pytest.raises(EngineLost):
        ask(second, 1)
    assert second.start(
        tmp_path
    )  # whoever notices starts it; the other reaches it at the same address
    first.forget()
    assert fake.methods()[-1] == "forget"
    assert not first.start(tmp_path)
    for engine in (first, second):
        engine.stop()
    with pytest.raises(EngineLost, match="the engine is not running"):
        first.forget()


def test_a_request_that_comes_while_others_are_under_way_is_completed_with_them() -> None:
    request = Request(prompt_id="a", token_ids=[1], expanded_ids=[1], images=[], seed=0)
    answer = Answer(prompt_ids=[1], token_ids=[[2]], logprobs=[[0.0]])

    class Host:
        under_way: list[str] = []  # noqa: RUF012
        steps = 0

        def add(self, request: Request, fields: dict[str, Any]) -> str:
            self.under_way.append(fields["name"])
            return fields["name"]

        def step(self) -> list[tuple[str, Answer]]:
            self.steps += 1
            if self.steps == 1:
                loop.calls.put((second, *generate_message([(5, request, late)])))
                return []
            if self.steps == 2:
                assert self.under_way == ["early", "late"]
                return [("late", answer)]
            raise KeyboardInterrupt

    early, late = ({"name": name, "logit_bias": {}} for name in ("early", "late"))
    ends = [*socket.socketpair(), *socket.socketpair()]
    _, first, heard, second = wires = [Wire(end) for end in ends]
    loop = CallLoop(Host(), SimpleQueue())
    loop.calls.put((first, *generate_message([(0, request, early)])))
    with pytest.raises(KeyboardInterrupt):
        loop.serve()
    kind, message = heard.receive()[0]
    assert (kind, read_answer(message)) == ("answer", (5, answer))
    assert list(loop.running) == ["early"]
    for method in ("serve", "__init__", "add"):
        loop.take(second, {"method": method, "given": {}}, [])
        kind, words = heard.receive()[0]
        assert kind == "failed"
        assert "expected generate or one of" in words
    for wire in wires:
        wire.close()


@pytest.mark.parametrize(
    ("named", "index", "count", "expected"),
    [
        ("", 5, 1, ["5"]),
        ("", 5, 2, ["4", "5"]),
        ("7,3,GPU-a,1", 1, 1, ["3"]),
        ("7,3,GPU-a,1", 3, 2, ["GPU-a", "1"]),
    ],
)
def test_a_group_takes_the_gpus_of_its_ranks(
    named: str, index: int, count: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert visible_devices(torch.device("cuda", index), count) == expected


def test_a_process_that_sees_its_own_gpu_alone_cannot_be_in_a_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(
        ValueError,
        match=(
            r"rollout\.tensor_parallel_size: expected 2 GPUs that every trainer process of a group"
            r" sees, got 1"
        ),
    ):
        visible_devices(torch.device("cuda", 0), 2)


def test_a_signal_ends_the_wait_for_an_engine_that_is_busy(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    engine = vllm_subprocess.SubprocessEngine(
        address=str(tmp_path / "engine"),
        device=torch.device("cpu"),
        num_devices=1,
        options={},
        log_file=tmp_path / "engine.log",
        start_s=1.0,
        timeout_s=60.0,
    )
    engine._wire = Wire(ours)
    assert_left(engine._reply)
    theirs.close()
    engine.stop()
