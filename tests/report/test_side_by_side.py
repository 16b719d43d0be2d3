"""Runs side by side: what differs in their configuration, their scores and their curves."""

import json
import re
from pathlib import Path

import pytest
from report.pages import HOSTILE, assert_only_own_scripts, curve, parsed, part

from g2rpo.report.__main__ import main


def test_two_runs_are_put_side_by_side(
    run_folder: Path, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((run_folder / ".hydra" / "config.yaml").read_text())
    config["loss"]["_target_"], config["seed"] = HOSTILE, 7
    (run_folder / ".hydra" / "config.yaml").write_text(json.dumps(config, ensure_ascii=False))
    summary = json.loads((run_folder / "summary.json").read_text())
    summary["heldout"]["after"]["math"] += 0.1
    summary["benchmarks"]["mmmu"] = {"score": 0.25}
    (run_folder / "summary.json").write_text(json.dumps(summary))
    main([str(finished_run), str(run_folder), "--out", str(tmp_path / "both.html")])
    assert capsys.readouterr().out == f"{tmp_path / 'both.html'}\n"
    page = parsed((tmp_path / "both.html").read_text())
    assert part(page, "configuration").rows() == [
        ["loss._target_", "g2rpo.algorithm.loss.clip.ClipLoss", HOSTILE],
        ["seed", "-", "7"],
    ]
    rows = {row[0]: row for row in part(page, "scores").rows()}
    assert rows["math"][3] == "+0.100"
    assert rows["chart"][3] == "+0.000"
    assert (rows["chartqa"], rows["mmmu"]) == (
        ["chartqa", "0.438", "0.438", "+0.000"],
        ["mmmu", "-", "0.250", "-"],
    )
    names = [str(finished_run), str(run_folder)]  # both are called 2026-03-01/14-05-12
    figures = part(page, "curves").figures()
    assert [
        trace["name"] for trace in figures["Accuracy, math"]["data"] if "customdata" in trace
    ] == names
    assert len(curve(figures["Accuracy, mean of the tasks"], names[1])) == 60
    assert_only_own_scripts(page)


def test_a_broken_run_among_several_is_named(
    run_folder: Path, finished_run: Path, tmp_path: Path
) -> None:
    (run_folder / "summary.json").write_text("[")
    with pytest.raises(
        SystemExit, match=re.escape(f"{run_folder}: summary.json: expected a JSON object")
    ):
        main([str(finished_run), str(run_folder), "--out", str(tmp_path / "both.html")])
    assert not (tmp_path / "both.html").exists()
