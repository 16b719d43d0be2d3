"""Spans of a run against a clock that a test moves by hand."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from g2rpo.stopwatch import Block
from g2rpo.training import timeline
from g2rpo.training.timeline import (
    Span,
    Timeline,
    TimelineFile,
    few,
    idle_shares,
    joined,
    stage_spans,
)


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`wait(2.0)`: two seconds pass."""
    now = [100.0]
    monkeypatch.setattr(timeline.time, "perf_counter", lambda: now[0])

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


def lines(folder: Path) -> list[str]:
    return (folder / "timeline.csv").read_text().splitlines()


def test_a_span_that_crosses_the_end_of_a_step_is_in_both(wait: Callable[[float], None]) -> None:
    record = Timeline()
    with record.during("engine", "decode"):
        wait(2.0)
        assert record.cut() == [("engine", "decode", 100.0, 102.0)]
        wait(3.0)
    wait(1.0)
    assert record.cut() == [("engine", "decode", 102.0, 105.0)]
    assert record.cut() == []


def test_requests_that_overlap_are_one_span(wait: Callable[[float], None]) -> None:
    record = Timeline()
    record.span("engine", "decode", 1.0, 4.0)
    record.span("engine", "decode", 2.0, 3.0)
    record.span("engine", "decode", 4.0, 5.0)
    record.span("engine", "decode", 6.0, 7.0)
    record.span("engine", "sync", 2.5, 3.0)
    assert record.cut() == [
        ("engine", "decode", 1.0, 5.0),
        ("engine", "decode", 6.0, 7.0),
        ("engine", "sync", 2.5, 3.0),
    ]


def test_threads_lose_no_span() -> None:
    record = Timeline()

    def work(lane: int) -> None:
        for i in range(500):
            with record.during("engine", f"decode{lane}"):
                record.span("engine", f"reward{lane}", 2.0 * i, 2.0 * i + 1)

    threads = [Thread(target=work, args=(lane,)) for lane in range(4)]
    for thread in threads:
        thread.start()
    spans = record.cut()
    for thread in threads:
        thread.join()
    spans += record.cut()
    seconds = {
        lane: sum(s.end_s - s.start_s for s in spans if s.what == f"reward{lane}")
        for lane in range(4)
    }
    assert seconds == dict.fromkeys(range(4), 500.0)


BLOCKS = [
    Block("data", 0.0, 1.0),
    Block("decode", 1.0, 4.0),
    Block("reward", 4.0, 4.5),
    Block("advantage", 4.5, 4.75),
    Block("forward", 4.75, 6.0),
    Block("optimizer", 6.0, 6.5),
    Block("sync", 6.5, 7.0),
]


def test_a_step_without_an_engine_beside_it_is_work_of_the_trainer() -> None:
    assert stage_spans(BLOCKS, own_weights=False) == [
        ("trainer", "data", 0.0, 1.0),
        ("trainer", "decode", 1.0, 4.0),
        ("trainer", "reward", 4.0, 4.5),
        ("trainer", "sync", 6.5, 7.0),
        ("trainer", "update", 4.5, 6.5),
    ]
    assert idle_shares(stage_spans(BLOCKS, own_weights=False), 0.0, 7.0) == {}


def test_the_trainer_waits_while_an_engine_beside_it_decodes() -> None:
    spans = stage_spans(BLOCKS, own_weights=True)
    assert [s for s in spans if s.who == "engine"] == [
        ("engine", "decode", 1.0, 4.0),
        ("engine", "sync", 6.5, 7.0),
    ]
    assert Span("trainer", "wait", 1.0, 4.0) in spans
    # the step is from 2 to 7: the trainer waits for 2 s, the engine works for 2 s and 0.5 s
    assert idle_shares(spans, 2.0, 7.0) == {
        "time/trainer_wait_frac": 0.4,
        "time/engine_idle_frac": 0.5,
    }


def test_work_that_overlaps_on_the_engine_is_not_counted_twice() -> None:
    spans = [Span("engine", "decode", 0.0, 3.0), Span("engine", "sync", 2.0, 4.0)]
    assert idle_shares(spans, 0.0, 5.0)["time/engine_idle_frac"] == pytest.approx(0.2)


def test_the_shortest_gaps_are_closed_where_spans_are_many() -> None:
    spans = joined(Span("engine", "decode", s, s + 1.0) for s in (0.0, 1.5, 5.0, 6.25, 9.0))
    spans += [Span("trainer", "wait", 0.0, 9.0)]
    assert few(spans, 3) == [
        ("engine", "decode", 0.0, 2.5),
        ("engine", "decode", 5.0, 7.25),
        ("engine", "decode", 9.0, 10.0),
        ("trainer", "wait", 0.0, 9.0),
    ]
    assert len(few(spans, 1)) == 2
    assert few(spans, 5) == spans


def test_a_resumed_run_repeats_steps_and_goes_on_with_its_clock(
    tmp_path: Path, wait: Callable[[float], None]
) -> None:
    file = TimelineFile(tmp_path)
    file.begin(0)
    wait(1.0)
    file.append(1, [Span("trainer", "update", 99.0, 101.0)])  # it began before the run did
    file.append(2, [Span("trainer", "update", 101.0, 103.5)])
    file.append(3, [Span("trainer", "update", 103.5, 104.0)])
    with (tmp_path / "timeline.csv").open("a") as torn:
        torn.write("3,trai")
    wait(900.0)
    resumed = TimelineFile(tmp_path)
    resumed.begin(2)
    resumed.append(3, [Span("trainer", "update", 1001.25, 1001.5)])
    assert lines(tmp_path) == [
        "step,who,what,start_s,end_s",
        "1,trainer,update,0.000,1.000",
        "2,trainer,update,1.000,3.500",
        "3,trainer,update,3.750,4.000",
    ]


def test_a_long_run_keeps_recent_steps_whole_and_stays_small(tmp_path: Path) -> None:
    file = TimelineFile(tmp_path, most_bytes=4000, recent_steps=10)
    file.begin(0)
    largest = 0
    for step in range(1, 2001):
        at = file._origin + step
        file.append(
            step,
            [Span("engine", "decode", at, at + 0.5), Span("trainer", "wait", at, at + 0.5)],
        )
        largest = max(largest, (tmp_path / "timeline.csv").stat().st_size)
    steps = [int(line.split(",")[0]) for line in lines(tmp_path)[1:]]
    assert largest <= 4000 + 100
    assert [*range(1991, 2001)] == sorted({*steps})[-10:]
    assert 1 in steps
    assert all(steps.count(step) == 2 for step in steps)
    assert len({*steps}) > 25
