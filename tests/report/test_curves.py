"""Figures of the report show the numbers of the files, and nothing that was not measured."""

import csv
import statistics
from pathlib import Path

import pytest
from report.pages import Element, curve, json_lines, page_of, part

from g2rpo.data.gym.source import TASKS


def test_hovering_a_curve_shows_the_logged_values(
    finished_run: Path, finished_page: Element
) -> None:
    with (finished_run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    plots = {
        "Accuracy by task": ("learning", "reward/accuracy"),
        "Standard deviation of the advantages": ("advantages", "advantage/std"),
    }
    for title, (section, metric) in plots.items():
        figure = part(finished_page, section).figures()[title]
        for task in TASKS:
            logged = [
                (int(row["step"]), float(row[f"{metric}/{task}"]))
                for row in rows
                if row[f"{metric}/{task}"]
            ]
            points = curve(figure, task)
            assert len(points) == (54 if task == "chart" else 60)  # six steps drew no chart prompt
            assert [step for step, _ in points] == [step for step, _ in logged]
            assert [value for _, value in points] == pytest.approx(
                [value for _, value in logged], rel=1e-4
            )


def test_reward_by_task_is_the_mean_over_the_completions_of_a_step(
    finished_run: Path, finished_page: Element
) -> None:
    rows = json_lines(finished_run / "completions.jsonl")
    points = curve(part(finished_page, "learning").figures()["Total reward"], "spatial")
    expected = [
        statistics.mean(r["reward"] for r in rows if r["task"] == "spatial" and r["step"] == step)
        for step in range(1, 61)
    ]
    assert [value for _, value in points] == pytest.approx(expected, rel=1e-4)


def test_bands_are_drawn_at_the_configured_lengths_and_entropies(finished_page: Element) -> None:
    def edges(section: str, task: str) -> list[tuple[float, float]]:
        layout = part(finished_page, section).figures()[task]["layout"]
        return [(shape["y0"], shape["y1"]) for shape in layout["shapes"]]

    plateau, slopes = edges("length", "math")
    assert plateau == (10, 24)
    assert slopes[0] >= 6  # cut off at the frame
    assert edges("entropy", "chart") == [(0.2, 0.6)]
    ((low, high),) = edges("entropy", "math")  # no upper bound: up to the frame
    frame = part(finished_page, "entropy").figures()["math"]["layout"]["yaxis"]["range"]
    assert (low, high) == (0.2, pytest.approx(frame[1], rel=1e-3))


def test_histograms_hold_the_first_and_the_last_quarter_of_the_steps(
    finished_run: Path, finished_page: Element
) -> None:
    rows = [
        row for row in json_lines(finished_run / "completions.jsonl") if row["task"] == "document"
    ]
    traces = part(finished_page, "advantages").figures()["document"]["data"]
    for kind, steps, trace in (
        ("first", range(1, 16), traces[0]),
        ("last", range(46, 61), traces[1]),
    ):
        values = [row["advantage"] for row in rows if row["step"] in steps]
        assert trace["name"] == f"{kind} quarter ({len(values)})"
        counts = [sum(-3 + i / 4 <= value < -2.75 + i / 4 for value in values) for i in range(24)]
        counts[0] += sum(value < -3 for value in values)
        counts[-1] += sum(value >= 3 for value in values)
        assert trace["y"] == pytest.approx(
            [count / len(values) / 0.25 for count in counts], rel=1e-4
        )


def test_a_term_that_is_switched_off_has_no_plot(run_folder: Path) -> None:
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text(
        "\n".join(
            [
                f"{header},loss/kl,loss/entropy_band",
                *(f"{row},0.0,{0.0 if i else 0.002}" for i, row in enumerate(rows)),
            ]
        )
        + "\n"
    )
    figures = part(page_of(run_folder), "optimization").figures()
    assert "Penalty to the reference" not in figures
    assert "entropy band" in {trace["name"] for trace in figures["Loss"]["data"]}


def test_without_the_configuration_curves_are_drawn_without_bands(run_folder: Path) -> None:
    for path in (run_folder / ".hydra").iterdir():
        path.unlink()
    page = page_of(run_folder)
    assert ".hydra/config.yaml is missing" in page.text
    figure = part(page, "entropy").figures()["Entropy by task"]
    assert figure["layout"]["shapes"] == []
    assert len(curve(figure, TASKS[0])) == 60


def test_gradients_of_tasks_are_shown_only_if_they_were_measured(run_folder: Path) -> None:
    assert page_of(run_folder).all("section", id="gradient_conflict") == []
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    measured = [f"{row},{0.5 if i % 5 == 0 else ''}" for i, row in enumerate(rows)]
    path.write_text("\n".join([f"{header},gradient/min_cosine", *measured]) + "\n")
    figure = part(page_of(run_folder), "gradient_conflict").figures()[
        "Smallest cosine between two tasks' gradients"
    ]
    assert curve(figure, "cosine") == [(step, 0.5) for step in range(1, 61, 5)]


def test_cosines_of_tasks_are_a_matrix_of_means_over_the_steps_that_have_them(
    run_folder: Path,
) -> None:
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    measured = [
        f"{row},{[0.5, -0.1][i % 2] if i < 2 else ''},{-0.7 if i == 0 else ''}"
        for i, row in enumerate(rows)
    ]
    path.write_text(
        "\n".join(
            [f"{header},gradient/cosine/math/chart,gradient/cosine/general_vqa/chart", *measured]
        )
        + "\n"
    )
    (trace,) = part(page_of(run_folder), "gradient_conflict").figures()[
        "Cosine between two tasks' gradients, mean"
    ]["data"]
    cells = {
        (a, b): value
        for a, row in zip(trace["y"], trace["z"], strict=True)
        for b, value in zip(trace["x"], row, strict=True)
    }
    assert (cells["math", "chart"], cells["chart", "math"], cells["general_vqa", "chart"]) == (
        0.2,
        0.2,
        -0.7,
    )
    assert (cells["math", "math"], cells["math", "document"]) == (1.0, None)


def test_held_out_scores_and_benchmarks_in_training_are_curves_with_the_steps_that_have_them(
    run_folder: Path,
) -> None:
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    measured = [
        f"{row},{i / 100 if i % 30 == 29 else ''},{0.25 if i == 29 else ''}"
        for i, row in enumerate(rows)
    ]
    path.write_text(
        "\n".join([f"{header},val/accuracy/math,benchmark/score/mmmu", *measured]) + "\n"
    )
    figures = part(page_of(run_folder), "learning").figures()
    assert curve(figures["Held-out accuracy by task"], "math") == [(30, 0.29), (60, 0.59)]
    assert curve(figures["Benchmarks"], "mmmu") == [(30, 0.25)]


def test_parts_of_a_reward_of_the_user_have_a_figure_each(run_folder: Path) -> None:
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    more = "reward/brevity/math,reward/brevity/chart,reward/structure/math"
    text = "".join(f"{row},{-number},,0.5\n" for number, row in enumerate(rows))
    path.write_text(f"{header},{more}\n{text}")
    figures = part(page_of(run_folder), "learning").figures()
    points = curve(figures["Reward part brevity"], "math")
    assert [value for _, value in points][:3] == [0.0, -1.0, -2.0]
    assert "Reward part structure" in figures
    assert {trace["name"] for trace in figures["Reward part brevity"]["data"]} == {"math"}
    assert not any(title in figures for title in ("Reward part accuracy", "Reward part total"))
