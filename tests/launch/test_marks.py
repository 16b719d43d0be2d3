"""Silence is counted from the last mark; loading may take longer."""

import pytest

from g2rpo.launch import marks
from g2rpo.stopwatch import timed


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("g2rpo.launch.marks.time.monotonic", lambda: now[0])
    monkeypatch.setattr(marks, "_begun", False)
    monkeypatch.setattr(marks, "_last_s", 0.0)
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
