"""The page and the table over a sweep: the jobs' own numbers, at every stage of it; and each wrong
folder in one sentence.
"""

import csv
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from report.pages import loaded, parsed

from g2rpo.data.gym.source import TASKS
from g2rpo.report.__main__ import main
from g2rpo.report.sweep.paper_ablation import paper_numbers
from g2rpo.report.sweep.sweep_data import read_sweep
from g2rpo.report.sweep.variant_scores import best_variant
from g2rpo.report.sweep.write import write_sweep_report

ROWS = ("base", "grpo", "g2rpo", "entropy", "length", "full")


def rows_of(page: Path) -> list[list[str]]:
    return parsed(page.read_text()).rows()


def score(sweep: Path, row: str, seed: int, name: str = "macro") -> float:
    return json.loads((sweep / f"row={row},seed={seed}" / "summary.json").read_text())["heldout"][
        "after"
    ][name]


def table_of(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_has_the_numbers_of_every_summary_to_the_last_digit(ablation: Path) -> None:
    write_sweep_report(ablation)
    rows = table_of(ablation)
    assert [(row["row"], row["seed"]) for row in rows] == [
        (name, str(seed)) for name in ROWS for seed in range(3)
    ]
    for row in rows:
        summary = json.loads((ablation / row["job"] / "summary.json").read_text())
        for name in ("macro", *TASKS):
            assert float(row[f"heldout/{name}"]) == summary["heldout"]["after"][name]
        assert (row["state"], row["config_hash"], int(row["steps"])) == (
            "finished",
            summary["config_hash"],
            summary["steps"],
        )
        assert float(row["time_s"]) == pytest.approx(sum(summary["stage_s"].values()))
        assert float(row["device_h"]) == pytest.approx(
            sum(summary["stage_s"].values()) * 2 / 3600, abs=1e-4
        )


def test_the_page_has_means_spreads_and_paired_gains_of_the_summaries(ablation: Path) -> None:
    rows = rows_of(write_sweep_report(ablation))
    (shown,) = [row for row in rows if row[0] == "full" and " ± " in row[2]]
    own = [score(ablation, "full", seed) for seed in range(3)]
    pairs = [score(ablation, "full", seed) - score(ablation, "base", seed) for seed in range(3)]
    half = 4.3027 * statistics.stdev(pairs) / 3**0.5
    assert shown[2] == f"{statistics.mean(own):.3f} ± {statistics.stdev(own):.3f}"
    assert shown[3] == f"{statistics.mean(pairs):+.3f}"
    assert [float(end) for end in shown[4].split(" to ")] == pytest.approx(
        [statistics.mean(pairs) - half, statistics.mean(pairs) + half], abs=1e-3
    )
    math = [score(ablation, "full", seed, "math") for seed in range(3)]
    assert shown[5 + TASKS.index("math")].startswith(f"{statistics.mean(math):.3f} ")


def test_another_variant_can_be_the_reference(ablation: Path) -> None:
    main([str(ablation), "--against", "grpo"])
    (shown,) = [
        row for row in rows_of(ablation / "sweep.html") if row[0] == "g2rpo" and " ± " in row[2]
    ]
    differences = [
        score(ablation, "g2rpo", seed) - score(ablation, "grpo", seed) for seed in range(3)
    ]
    assert shown[3] == f"{statistics.mean(differences):+.3f}"
    with pytest.raises(
        SystemExit, match=r"--against: no variant 'grop' in .*expected one of: base, grpo, g2rpo"
    ):
        main([str(ablation), "--against", "grop"])


def test_the_papers_numbers_stand_beside_ours_and_say_what_they_are_of(ablation: Path) -> None:
    page = write_sweep_report(ablation)
    (shown,) = [row for row in rows_of(page) if row[0] == "full" and "77.6" in row]
    assert shown[5] == "+5.1"
    assert "another model, other data" in page.read_text()
    assert "2604.08539, Table 4" in page.read_text()
    macro = paper_numbers()["rows"]["base"]
    assert macro["macro"] == 72.5


def test_a_half_finished_sweep_lists_what_is_missing_and_why(unfinished: Path) -> None:
    page = write_sweep_report(unfinished)
    notes = [line.text for line in parsed(page.read_text()).one("ul", kind="notes").all("li")]
    assert "row=full,seed=1: running" in notes
    assert "row=length,seed=1: failed (RuntimeError: loss became nan)" in notes
    assert "row=entropy,seed=1: stopped (killed by signal 9)" in notes
    assert "not begun: row=full,seed=2" in notes
    states = {row["job"]: row["state"] for row in table_of(unfinished)}
    assert [states[f"row=full,seed={seed}"] for seed in range(3)] == [
        "finished",
        "running",
        "waiting",
    ]
    (shown,) = [row for row in rows_of(page) if row[0] == "full" and row[1] == "1 of 3"]
    assert (shown[2], shown[4]) == (f"{score(unfinished, 'full', 0):.3f}", "-")


def test_luck_of_one_seed_is_not_the_best_variant(
    unfinished: Path, change: Callable[..., None]
) -> None:
    change(unfinished / "row=full,seed=0" / "summary.json", {"heldout": {"after": {"macro": 0.99}}})
    assert best_variant(read_sweep(unfinished)) == (("row", "g2rpo"),)


def test_a_sweep_before_its_first_result_has_a_page(ablation: Path) -> None:
    for path in ablation.glob("*/summary.json"):
        path.unlink()
    assert "No job has finished yet" in write_sweep_report(ablation).read_text()


def test_benchmarks_of_the_summaries_are_columns(
    ablation: Path, change: Callable[..., None]
) -> None:
    for seed, value in ((0, 0.5), (1, 0.25)):
        change(
            ablation / f"row=grpo,seed={seed}" / "summary.json",
            {"benchmarks": {"chartqa": {"score": value, "rows": 8}}},
        )
    page = write_sweep_report(ablation)
    assert [row["benchmark/chartqa"] for row in table_of(ablation)[3:6]] == ["0.5", "0.25", ""]
    (shown,) = [row for row in rows_of(page) if row[0] == "grpo" and len(row) == 2]
    assert shown[1].startswith("0.375 ")


def test_gains_and_curves_are_those_of_the_jobs_and_nothing_is_fetched(ablation: Path) -> None:
    page = parsed(write_sweep_report(ablation).read_text())
    figures = page.figures()
    assert list(figures) == ["Gain over base, mean of the tasks", *TASKS]
    seeds, means = figures["Gain over base, mean of the tasks"]["data"]
    gains = {
        row: [score(ablation, row, seed) - score(ablation, "base", seed) for seed in range(3)]
        for row in ROWS[1:]
    }
    assert seeds["x"] == pytest.approx([gain for own in gains.values() for gain in own], rel=1e-4)
    assert means["x"] == pytest.approx([statistics.mean(own) for own in gains.values()], rel=1e-4)
    lines = [trace for trace in figures["math"]["data"] if "name" in trace]
    assert [line["name"] for line in lines] == list(ROWS[1:])  # base has no steps
    low, high, line = figures["math"]["data"][:3]
    assert all(a <= b <= c for a, b, c in zip(low["y"], line["y"], high["y"], strict=True))
    assert loaded(page) == []
    (policy,) = [
        meta.attributes["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes
    ]
    assert policy.startswith("default-src 'none'")


def test_jobs_with_a_report_are_linked(ablation: Path) -> None:
    (ablation / "row=full,seed=1" / "report.html").write_text("")
    page = parsed(write_sweep_report(ablation).read_text())
    assert loaded(page) == ["./row%3Dfull%2Cseed%3D1/report.html"]


def test_a_multirun_of_another_launcher_is_read_from_its_jobs(ablation: Path) -> None:
    (ablation / "sweep.json").unlink()
    (ablation / "multirun.yaml").write_text("{}")
    for i, folder in enumerate(sorted(path.parent for path in ablation.glob("*/summary.json"))):
        folder.rename(ablation / str(i))
    assert write_sweep_report(ablation).is_file()
    rows = table_of(ablation)
    assert [row["job"] for row in rows] == [str(i) for i in range(18)]
    assert {(row["row"], row["seed"]) for row in rows} == {
        (name, str(seed)) for name in ROWS for seed in range(3)
    }
    assert {row["state"] for row in rows} == {"finished"}


def complaint(folder: Path) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([str(folder)])
    return str(stopped.value)


def test_a_folder_that_is_no_multirun_is_answered_in_one_sentence(tmp_path: Path) -> None:
    assert complaint(tmp_path).startswith(f"{tmp_path} is no run folder: expected metrics.csv")
    with pytest.raises(
        ValueError, match=r"is no multirun folder: expected sweep\.json or multirun\.yaml in it$"
    ):
        read_sweep(tmp_path)


def test_a_folder_of_multiruns_names_them(ablation: Path) -> None:
    words = complaint(ablation.parent)
    assert (
        words
        == f"{ablation.parent} is no multirun folder: expected sweep.json or multirun.yaml in it;"
        " multirun folders in it: paper_ablation; name one of them"
    )


@pytest.mark.parametrize("text", ["{", "[]", "{}", ""])
def test_a_corrupt_summary_is_named(text: str, ablation: Path) -> None:
    path = ablation / "row=grpo,seed=1" / "summary.json"
    path.write_text(text)
    words = complaint(ablation)
    assert words.startswith(f"{path}: expected a JSON object")
    assert words.endswith("delete the file, and the job runs again")


def test_two_sweeps_in_one_folder_are_told_apart(ablation: Path) -> None:
    shutil.copytree(ablation / "row=grpo,seed=1", ablation / "advantage=gdpo")
    words = (
        f"{ablation} holds two sweeps: advantage=gdpo is not in its sweep.json; move one of them"
        " into a folder of its own"
    )
    assert complaint(ablation) == words


def test_a_broken_plan_is_named(ablation: Path) -> None:
    (ablation / "sweep.json").write_text('{"jobs": 3}')
    assert complaint(ablation).startswith(
        f"{ablation / 'sweep.json'}: expected the plan of a sweep"
    )


@pytest.mark.process
def test_the_report_over_a_sweep_needs_no_torch(ablation: Path) -> None:
    code = (
        f"import sys; from g2rpo.report.__main__ import main; main([{str(ablation)!r}]);"
        " sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
        == 0
    )
