"""The timeline on the page and as text, from spans that are written by hand."""

import csv
import json
from pathlib import Path

import pytest
from report.pages import Element, page_of, part

from g2rpo.report.__main__ import main

SPANS = """step,who,what,start_s,end_s
1,trainer,wait,0.000,4.000
1,engine,decode,0.000,4.000
1,trainer,update,4.000,8.000
2,engine,decode,4.000,10.000
2,reward,reward,9.000,10.000
2,trainer,wait,8.000,10.000
2,trainer,update,10.000,14.400
2,engine,sync,13.200,14.400
"""


@pytest.fixture
def folder(run_folder: Path) -> Path:
    """A run with a timeline, whose last rows say how idle it was and how old its completions."""
    (run_folder / "timeline.csv").write_text(SPANS + "3,trainer,wa")
    path = run_folder / "metrics.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {"time/trainer_wait_frac": "", "time/engine_idle_frac": ""}
    rows[0] |= {"time/trainer_wait_frac": "0.5", "time/engine_idle_frac": "0.25"}
    rows[1] |= {"time/trainer_wait_frac": "0.25", "time/engine_idle_frac": "0.05"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    lines = (run_folder / "completions.jsonl").read_text().splitlines()
    (run_folder / "completions.jsonl").write_text(
        "".join(
            json.dumps(json.loads(line) | {"staleness": 2 if i % 4 == 0 else 1}) + "\n"
            for i, line in enumerate(lines)
        )
    )
    return run_folder


def test_the_page_has_a_lane_for_everybody_and_the_spans_of_the_file(folder: Path) -> None:
    section = part(page_of(folder), "timeline")
    assert "Idle, mean of all steps: trainer 38%, engine 15%." in section.text
    figures = section.figures()
    assert [*figures][:2] == ["Steps 1 to 2", "Share of the step spent idle"]
    data = {trace["name"]: trace for trace in figures["Steps 1 to 2"]["data"]}
    assert (data["update"]["base"], data["update"]["x"]) == ([4.0, 10.0], [4.0, 4.4])
    assert data["decode"]["y"] == ["engine", "engine"]
    layout = figures["Steps 1 to 2"]["layout"]
    assert layout["yaxis"]["categoryarray"] == ["reward", "engine", "trainer"]
    assert [shape["x0"] for shape in layout["shapes"]] == [8.0, 14.4]


def test_the_histogram_of_staleness_is_a_share_of_all_completions(folder: Path) -> None:
    traces = part(page_of(folder), "timeline").figures()["Staleness"]["data"]
    of_age = {1: 0.0, 2: 0.0}
    for trace in traces:
        for age, share in zip(trace["x"], trace["y"], strict=True):
            of_age[age] += share
    assert of_age == pytest.approx({1: 0.75, 2: 0.25}, abs=1e-4)


def test_the_command_prints_the_lanes_as_letters(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(folder)])
    _, head, *lanes, idle = capsys.readouterr().out.splitlines()
    assert head == (
        "steps 1 to 2, 14.4 s, a letter is 0.2 s: d decode, u update, r reward, s sync, . idle"
    )
    assert lanes == [
        "  trainer " + 20 * "." + 20 * "u" + 10 * "." + 22 * "u",
        "  engine  " + 50 * "d" + 16 * "." + 6 * "s",
        "  reward  " + 45 * "." + 5 * "r" + 22 * ".",
    ]
    assert idle == "Idle, mean of all steps: trainer 38%, engine 15%."


def test_a_run_without_a_timeline_has_no_such_section(finished_page: Element) -> None:
    assert finished_page.all("section", id="timeline") == []


def test_only_the_last_steps_are_shown_and_a_policy_that_generates_is_never_idle(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{step},trainer,decode,{step}.0,{step}.5\n" for step in range(1, 21)]
    (run_folder / "timeline.csv").write_text("step,who,what,start_s,end_s\n" + "".join(rows))
    main([str(run_folder)])
    _, head, *_, idle = capsys.readouterr().out.splitlines()
    assert head.startswith("steps 15 to 20, 5.5 s")
    assert idle.startswith("The policy itself generates")


def test_a_broken_line_is_named(run_folder: Path) -> None:
    (run_folder / "timeline.csv").write_text(SPANS + "3,trainer,wait,1.0\n")
    with pytest.raises(
        SystemExit, match=r"timeline\.csv, line 10: expected step, who, what, start"
    ):
        main([str(run_folder)])
