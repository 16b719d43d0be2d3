"""Stages against a clock that a test moves by hand."""

from collections.abc import Callable
from threading import Thread

import pytest

from g2rpo import stopwatch
from g2rpo.stopwatch import STAGES, taken, taken_blocks, timed


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`wait(2.0)`: two seconds pass."""
    now = [100.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])
    taken()
    taken_blocks()

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


def test_an_inner_stage_stops_the_clock_of_the_outer_one(wait: Callable[[float], None]) -> None:
    with timed("decode"):
        wait(1.0)
        with timed("vision"):
            wait(0.5)
        wait(2.0)
    wait(8.0)
    found = taken()
    assert (found["decode"], found["vision"]) == (3.0, 0.5)
    assert sum(found.values()) == 3.5


def test_a_whole_stage_keeps_what_begins_inside_it(wait: Callable[[float], None]) -> None:
    with timed("old_logprobs", whole=True):
        wait(1.0)
        with timed("vision"):
            wait(0.5)
    with timed("vision"):
        wait(0.25)
    found = taken()
    assert (found["old_logprobs"], found["vision"]) == (1.5, 0.25)


def test_times_add_up_over_calls_and_start_again_once_taken(wait: Callable[[float], None]) -> None:
    judge = timed("reward")(lambda: wait(1.0))
    judge()
    judge()
    assert taken()["reward"] == 2.0
    assert set(taken().values()) == {0.0}
    assert tuple(taken()) == STAGES


def test_an_error_ends_its_stage(wait: Callable[[float], None]) -> None:
    def fail() -> None:
        wait(1.0)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        timed("reward")(fail)()
    wait(5.0)
    assert taken()["reward"] == 1.0


def test_blocks_are_the_outermost_stages_with_their_times(wait: Callable[[float], None]) -> None:
    with timed("decode"):
        wait(1.0)
        with timed("vision"):
            wait(0.5)
    wait(3.0)
    with timed("reward"):
        wait(0.25)
    assert taken_blocks() == [("decode", 100.0, 101.5), ("reward", 104.5, 104.75)]
    assert taken_blocks() == []


def test_a_thread_has_its_own_stopwatch(wait: Callable[[float], None]) -> None:
    found = []

    def generate() -> None:
        with timed("decode"):
            wait(2.0)
        found.append((taken()["decode"], taken_blocks()))

    with timed("forward"):
        thread = Thread(target=generate)
        thread.start()
        thread.join()
    assert found == [(2.0, [("decode", 100.0, 102.0)])]
    assert (taken()["forward"], taken()["decode"]) == (2.0, 0.0)
    assert taken_blocks() == [("forward", 100.0, 102.0)]
