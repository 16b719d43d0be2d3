"""Silence is counted from the last mark; loading may take longer."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from g2rpo.launch import marks
from g2rpo.stopwatch import timed


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("g2rpo.launch.marks.time.monotonic", lambda: now[0])
    monkeypatch.setattr(marks, "_begun", False)
    monkeypatch.setattr(marks, "_last_s", 0.0)
    monkeypatch.setattr(marks, "_signum", 0)
    monkeypatch.setattr(marks, "_droppable", False)
    return now


def test_while_weights_are_loaded_half_an_hour_is_allowed(clock: list[float]) -> None:
    clock[0] = 1799.0
    assert not marks.hangs(5.0)
    clock[0] = 1801.0
    assert marks.hangs(5.0)
    assert not marks.hangs(2000.0)


def test_from_the_first_prompt_on_the_limit_counts(clock: list[float]) -> None:
    marks.begin()
    clock[0] = 6.0
    assert marks.hangs(5.0)
    marks.mark()
    assert not marks.hangs(5.0)


def test_tasks_are_told_sorted_and_once_whenever_they_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks, "_tasks", "")
    monkeypatch.setattr(marks, "_listener", None)
    told: list[str] = []
    marks.tell_tasks(told.append)
    for tasks in (["ocr", "chart", "ocr"], ("chart", "ocr"), [], ["math"]):
        marks.work_on(tasks)
    assert told == ["chart, ocr", "", "math"]


def test_the_begin_and_the_end_of_a_stage_are_progress() -> None:
    before = marks.count()
    with timed("decode"):
        assert marks.count() == before + 1
    assert marks.count() == before + 2


def test_work_is_left_only_in_a_block_of_its_thread_and_while_the_step_can_be_dropped() -> None:
    passed = []
    marks.ask_to_stop(signal.SIGTERM)
    with marks.dropping():
        marks.drop_if_asked()
        passed.append("an update has begun")
    marks.may_drop(True)
    marks.drop_if_asked()  # outside of a block, other ranks would wait
    with marks.dropping(), ThreadPoolExecutor(1) as others:
        others.submit(marks.drop_if_asked).result()
        passed.append("another thread")
        marks.drop_if_asked()
        passed.append("never")
    assert passed == ["an update has begun", "another thread"]


def test_the_second_signal_is_not_held_back_by_a_block() -> None:
    with pytest.raises(marks.Stopped) as caught, marks.dropping():
        raise marks.Stopped(signal.SIGTERM)
    assert caught.value.exit_code == 143
