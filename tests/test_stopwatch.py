"""Stages against a clock that a test moves by hand."""

from collections.abc import Callable

import pytest

from g2rpo import stopwatch
from g2rpo.stopwatch import STAGES, taken, timed


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`wait(2.0)`: two seconds pass."""
    now = [100.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])
    taken()

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
