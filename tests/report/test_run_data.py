"""Run folders that are incomplete or broken: what the page says, and what is refused."""

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from report.pages import (
    json_lines,
    page_of,
    part,
)

from g2rpo.data.gym.source import TASKS
from g2rpo.report.__main__ import main
from g2rpo.report.run_page import write_report

Rewrite = Callable[[Path, int, dict[str, object]], None]


def test_a_run_that_has_just_begun_says_what_is_missing(run_folder: Path) -> None:
    for name in ("summary.json", "heldout/after.jsonl", "completions.jsonl"):
        (run_folder / name).unlink()
    (run_folder / "metrics.csv").write_text("")
    html = (page := page_of(run_folder)).text
    for missing in (
        "summary.json is missing",
        "heldout/after.jsonl is missing",
        "completions.jsonl is missing",
        "metrics.csv has no rows yet",
    ):
        assert missing in html
    assert "not finished" in html
    before = json_lines(run_folder / "heldout" / "before.jsonl")
    by_task = [
        statistics.mean(
            s["accuracy"] for row in before if row["task"] == task for s in row["samples"]
        )
        for task in TASKS
    ]
    assert page.all(kind="tile")[0].one("b").text == f"{statistics.mean(by_task):.3f} → -"
    assert "not there yet" in html


def test_in_an_unfinished_run_the_latest_validation_takes_the_place_of_the_one_after_training(
    run_folder: Path,
) -> None:
    (run_folder / "summary.json").unlink()
    (run_folder / "heldout" / "after.jsonl").rename(run_folder / "heldout" / "step_10.jsonl")
    (run_folder / "heldout" / "step_9.jsonl").write_text("")
    page = page_of(run_folder)
    assert (
        "heldout/after.jsonl is missing: heldout/step_10.jsonl, the latest validation, takes its"
        " place." in page.text
    )
    after = [
        row for row in json_lines(run_folder / "heldout" / "step_10.jsonl") if row["task"] == "math"
    ]
    expected = statistics.mean(sample["accuracy"] for row in after for sample in row["samples"])
    assert part(page, "scores").rows()[TASKS.index("math")][3] == f"{expected:.3f}"


def test_the_error_that_ended_a_run_is_repeated(run_folder: Path) -> None:
    (run_folder / "summary.json").unlink()
    (run_folder / "error.txt").write_text(
        "Traceback (most recent call last):\n  ...\nRuntimeError: loss became nan at step 31\n"
    )
    assert (
        "The run ended with an error: RuntimeError: loss became nan at step 31"
        in page_of(run_folder).text
    )


def test_a_folder_with_only_a_configuration_gets_a_page(run_folder: Path) -> None:
    for path in sorted(run_folder.rglob("*"), reverse=True):
        if ".hydra" not in path.parts:
            path.rmdir() if path.is_dir() else path.unlink()
    assert "advantage g2rpo" in page_of(run_folder).text


@pytest.mark.parametrize(
    ("name", "line", "changes", "message"),
    [
        (
            "completions.jsonl",
            17,
            {"advantage": "x"},
            "completions.jsonl, line 17: advantage: expected a number or null, got 'x'",
        ),
        (
            "completions.jsonl",
            2,
            {"task": " "},
            "completions.jsonl, line 2: expected the name of a task",
        ),
        (
            "heldout/after.jsonl",
            3,
            {"greedy": None},
            "heldout/after.jsonl, line 3: greedy: expected a JSON object, got None",
        ),
        (
            "heldout/before.jsonl",
            4,
            {"samples": [{}]},
            "heldout/before.jsonl, line 4: samples[0]: key 'completion' is missing",
        ),
    ],
)
def test_a_broken_row_is_named_by_file_line_and_key(
    run_folder: Path,
    rewrite: Rewrite,
    name: str,
    line: int,
    changes: dict[str, object],
    message: str,
) -> None:
    rewrite(run_folder / name, line, changes)
    with pytest.raises(ValueError, match=re.escape(message)):
        write_report(run_folder)
    assert not (run_folder / "report.html").exists()


def test_a_line_that_is_no_json_ends_the_command_with_one_sentence(run_folder: Path) -> None:
    path = run_folder / "completions.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], '{"step": 1, "task"\n', *lines[4:]]))
    with pytest.raises(SystemExit) as stopped:
        main([str(run_folder)])
    assert 'completions.jsonl, line 5: expected a JSON object, got \'{"step": 1, "task"\'' in str(
        stopped.value
    )
    assert "\n" not in str(stopped.value)


def test_the_line_that_a_stopped_run_was_writing_is_left_out_and_noted(run_folder: Path) -> None:
    with (run_folder / "completions.jsonl").open("a") as file:
        file.write('{"step": 61, "task": "cha')
    with (run_folder / "metrics.csv").open("a") as file:
        file.write("61,0.6")
    html = page_of(run_folder).text
    assert (
        "completions.jsonl, line 2881, was cut off" in html
    )  # 60 steps of 6 tasks of 8 completions
    assert "metrics.csv, line 62, was cut off" in html


def test_the_command_prints_the_path_of_the_page_and_replaces_an_older_one(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_folder / "report.html").write_text("old")
    main([str(run_folder)])
    assert capsys.readouterr().out == f"{run_folder / 'report.html'}\n"
    assert (run_folder / "report.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in run_folder.iterdir() if "report" in path.name] == ["report.html"]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"is no run folder: expected metrics\.csv"):
        main([str(tmp_path)])


def test_a_summary_that_the_held_out_files_do_not_bear_out_is_pointed_at(run_folder: Path) -> None:
    summary = json.loads((run_folder / "summary.json").read_text())
    right = summary["heldout"]["after"]["chart"]
    summary["heldout"]["after"]["chart"] = right + 0.05
    (run_folder / "summary.json").write_text(json.dumps(summary))
    page = page_of(run_folder)
    assert (
        f"summary.json says {right + 0.05:.4f} for chart (sampled, after), heldout/after.jsonl"
        f" gives {right:.4f}." in page.text
    )
    assert part(page, "scores").rows()[TASKS.index("chart")][3] == f"{right + 0.05:.3f}"


def test_an_unreadable_summary_is_named(run_folder: Path) -> None:
    (run_folder / "summary.json").write_text('{"status": ')
    with pytest.raises(ValueError, match=r"summary.json: expected a JSON object, got"):
        write_report(run_folder)
