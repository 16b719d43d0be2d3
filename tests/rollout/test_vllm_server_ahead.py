"""Servers that write while the weights change, against the stand-in."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.ahead import AheadEngine
from g2rpo.rollout.vllm_server import VLLMServerEngine

GENERATE = "/inference/v1/generate"
GROUP = Sampling(group_size=3, max_new_tokens=8)
Started = Callable[..., VLLMServerEngine]
Fake = Callable[[], FakeServer]


class Writing:
    """`generate_ahead` in a thread, and what has arrived."""

    def __init__(self, engine: VLLMServerEngine, batch: PromptBatch) -> None:
        self.groups: dict[int, Rollouts] = {}
        self.error: BaseException | None = None
        self.engine, self.batch = engine, batch
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.engine.generate_ahead(self.batch, GROUP, 4, self.groups.__setitem__)
        except BaseException as error:  # noqa: BLE001  for the test to look at
            self.error = error

    def done(self) -> dict[int, Rollouts]:
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.groups


def _ready(engine: VLLMServerEngine) -> None:
    """Send the first weights, as a run does before its first step."""
    with engine.generating():
        pass


def _seen(server: FakeServer, path: str, count: int) -> None:
    """Wait until a server was called so often."""
    waiting = threading.Event()
    while server.calls.count(path) < count:
        assert not waiting.wait(0.01)


@pytest.mark.parametrize("names", [True, False])
def test_weights_change_between_requests_and_every_token_says_which_it_had(
    names: bool, fake: Fake, started: Started, batch: PromptBatch, policy: Any
) -> None:
    server = fake()
    server.fails = lambda path, count: (
        404 if path == "/update_weight_version" and not names else None
    )
    engine = started(server, ahead=1, max_concurrency=2)
    assert isinstance(engine, AheadEngine)
    _ready(engine)
    assert engine._named is names
    server.answering.clear()
    server.calls.clear()
    writing = Writing(engine, batch)
    _seen(server, GENERATE, 2)
    changing = threading.Thread(target=engine.load_weights, args=(policy, 7))
    changing.start()
    while changing.is_alive() and not engine._turns._changing:
        threading.Event().wait(0.01)
    assert "/pause?mode=wait" not in server.calls  # two requests are still written
    server.answering.set()
    changing.join(20)
    groups = writing.done()
    assert server.calls[: server.calls.index("/pause?mode=wait")].count(GENERATE) == 2
    versions = [
        set(group.weight_versions[group.completion_mask].tolist()) for group in groups.values()
    ]
    assert sorted(map(sorted, versions)) == [[0], [0], [7], [7], [7], [7]]


@pytest.mark.parametrize("trouble", ["breaks off", 503, "hangs"])
def test_after_a_death_every_group_is_whole_and_every_completion_has_its_version(
    trouble: str | int, fake: Fake, started: Started, batch: PromptBatch
) -> None:
    server = fake()
    engine = started(server, ahead=1, timeout_s=1.0)
    _ready(engine)
    undisturbed = Writing(engine, batch).done()
    server.calls.clear()

    def fails(path: str, count: int) -> str | int | None:
        if path == GENERATE and 3 <= count <= 6:
            server.version = "default"  # it comes back with weights that nobody has named
            return trouble
        return None

    server.fails = fails
    groups = Writing(engine, batch).done()
    assert sorted(groups) == [0, 1, 2, 3, 4, 5]
    for row, group in groups.items():
        assert group.completion_ids.tolist() == undisturbed[row].completion_ids.tolist()
        assert (group.weight_versions == 0).all()
        assert group.weight_versions.shape == group.completion_ids.shape
    assert engine._stats.num_regenerated >= 4
    assert server.calls.count("/update_weight_version") >= 1


def test_the_end_of_a_run_aborts_what_is_written_and_waits_for_no_server(
    fake: Fake, started: Started, batch: PromptBatch
) -> None:
    server = fake()
    engine = started(server, ahead=1, timeout_s=3.0)
    _ready(engine)
    server.fails = lambda path, count: "hangs" if path == GENERATE else None
    writing = Writing(engine, batch)
    _seen(server, GENERATE, 6)
    engine.stop_ahead()
    assert "/abort_requests" in server.calls
    server.released.set()
    writing.done()
    assert "the run has ended" in str(writing.error)


def test_without_look_ahead_nobody_names_weights(
    fake: Fake, started: Started, batch: PromptBatch
) -> None:
    server = fake()
    engine = started(server)
    assert engine.generate(batch, GROUP, 4).weight_versions is None
    assert "/update_weight_version" not in server.calls


def test_the_setting_is_refused_outside_its_range(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rollout\.ahead: expected 0, 1 or 2 .*, got 3"):
        VLLMServerEngine(max_new_tokens=8, weights_dir=str(tmp_path), ahead=3)


def test_the_look_ahead_has_a_tokenizer_of_its_own(
    fake: Fake, started: Started, encoder: QwenEncoder
) -> None:
    engine = started(fake(), ahead=1)
    assert engine._own_encoder.tokenizer is not encoder.tokenizer
    assert started(fake())._own_encoder is encoder
