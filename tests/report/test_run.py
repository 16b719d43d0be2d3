"""The page as a whole: its numbers are those of the files, it loads nothing, and it copes with half a run."""

import csv
import json
import re
import statistics
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from g2rpo.records import TASKS
from g2rpo.report.__main__ import main
from g2rpo.report.run import write_report

Rewrite = Callable[[Path, int, dict[str, object]], None]
HOSTILE = "<script>alert(1)</script><img src=http://example.org/x.png>&\"'"


class Tags(HTMLParser):
    """Every start tag with its attributes, and every visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_of(folder: Path) -> str:
    return write_report(folder).read_text()


def table_rows(html: str, section: str) -> list[list[str]]:
    """The cells of a section's table as text, header left out."""
    body = re.search(rf'<section id="{section}">.*?<tbody>(.*?)</tbody>', html, re.DOTALL)
    assert body is not None
    cells = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", body[1], re.DOTALL)]
    return [[re.sub(r"<svg.*?</svg>|<[^>]+>", "", cell).replace("&rarr;", "->").strip() for cell in row] for row in cells]


def plot_of(html: str, section: str, title: str) -> str:
    part = html[html.index(f'<section id="{section}">') :]
    return next(svg for svg in re.findall(r"<svg class=\"plot\".*?</svg>", part, re.DOTALL) if f'aria-label="{title}"' in svg)


def axis(plot: str, kind: str) -> Callable[[float], float]:
    """From pixels to values, read off the plot's first and last tick label."""
    position = "x" if kind == "x" else "y"
    found = re.findall(rf'<text class="{kind} tick" x="([\d.-]+)" y="([\d.-]+)"[^>]*>([^<]+)<', plot)
    pixels = [float(x) if position == "x" else float(y) - 4 for x, y, _ in found]  # a y label stands 4 px below its tick
    values = [float(value) for _, _, value in found]
    return lambda px: values[0] + (px - pixels[0]) / (pixels[-1] - pixels[0]) * (values[-1] - values[0])


def points_of(plot: str, number: int) -> list[tuple[float, float]]:
    """Steps and values of a curve's points."""
    drawn = re.findall(r'<path class="points" d="([^"]*)"', plot)[number]
    to_step, to_value = axis(plot, "x"), axis(plot, "y")
    return [(to_step(float(x)), to_value(float(y))) for x, y in re.findall(r"M([\d.-]+) ([\d.-]+)h0", drawn)]


def json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_head_shows_the_numbers_of_the_summary(finished_run: Path, finished_page: str) -> None:
    summary = json.loads((finished_run / "summary.json").read_text())
    values = re.findall(r'<div class="value">(.*?)</div>', finished_page)
    expected = []
    for kind in ("heldout", "heldout_greedy"):
        before, after = (summary[kind][when]["macro"] for when in ("before", "after"))
        expected.append(f'{before:.3f} &rarr; {after:.3f} <span class="up">{after - before:+.3f}</span>')
    assert values == [*expected, "60", "3 min 08 s"]  # 188.5 s, half to even


def test_the_title_names_the_run_and_its_choices_and_command_are_shown(finished_page: str) -> None:
    html = finished_page
    assert "<title>2026-03-01/14-05-12 - g2rpo run</title>" in html
    assert "advantage <b>g2rpo</b>" in html
    assert "shaping <b>full</b>" in html
    assert "<code>python train.py shaping=full seed=3</code>" in html


def test_the_table_of_scores_equals_the_held_out_files(finished_run: Path, finished_page: str) -> None:
    before, after = (json_lines(finished_run / "heldout" / f"{when}.jsonl") for when in ("before", "after"))
    rows = {row[0]: row for row in table_rows(finished_page, "scores")}
    assert list(rows) == [*TASKS, "mean of the tasks"]
    for task in TASKS:
        own = [
            [statistics.mean(s["accuracy"] for s in row["samples"]) for row in rows_ if row["task"] == task] for rows_ in (before, after)
        ]
        greedy = [statistics.mean(row["greedy"]["accuracy"] for row in rows_ if row["task"] == task) for rows_ in (before, after)]
        old, new = map(statistics.mean, own)
        differences = [b - a for a, b in zip(*own, strict=True)]
        interval = 1.96 * statistics.stdev(differences) / len(differences) ** 0.5
        assert rows[task][1:6] == ["6", f"{old:.3f}", f"{new:.3f}", f"{new - old:+.3f}", f"{interval:.3f}"]
        assert rows[task][7:9] == [f"{greedy[0]:.3f} -> {greedy[1]:.3f}", f"{greedy[1] - greedy[0]:+.3f}"]


def test_points_of_a_curve_stand_where_the_axes_say_their_values_are(finished_run: Path, finished_page: str) -> None:
    with (finished_run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    html = finished_page
    plots = {
        "Accuracy by task": ("learning", "reward/accuracy", 0.005),
        "Standard deviation of the advantages": ("advantages", "advantage/std", 0.005),
    }
    for title, (section, metric, tolerance) in plots.items():
        plot = plot_of(html, section, title)
        for number, task in enumerate(TASKS):
            logged = [(int(row["step"]), float(row[f"{metric}/{task}"])) for row in rows if row[f"{metric}/{task}"]]
            points = points_of(plot, number)
            assert len(points) == len(logged) == (54 if task == "chart" else 60)  # six steps drew no chart prompt
            for (step, value), (expected_step, expected) in zip(points, logged, strict=True):
                assert step == pytest.approx(expected_step, abs=0.05)
                assert value == pytest.approx(expected, abs=tolerance)


def test_reward_by_task_is_the_mean_over_the_completions_of_a_step(finished_run: Path, finished_page: str) -> None:
    rows = json_lines(finished_run / "completions.jsonl")
    points = points_of(plot_of(finished_page, "learning", "Total reward"), TASKS.index("spatial"))
    expected = [statistics.mean(r["reward"] for r in rows if r["task"] == "spatial" and r["step"] == step) for step in range(1, 61)]
    assert [value for _, value in points] == pytest.approx(expected, abs=0.01)


def test_bands_are_drawn_at_the_configured_lengths_and_entropies(finished_page: str) -> None:
    html = finished_page

    def band_edges(plot: str) -> list[list[float]]:
        to_value = axis(plot, "y")
        found = re.findall(r'<rect class="band" x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', plot)
        return [[to_value(float(y) + float(height)), to_value(float(y))] for y, height in found]

    plateau, slopes = band_edges(plot_of(html, "length", "math"))
    assert plateau == pytest.approx([10, 24], abs=0.1)
    assert slopes[0] == pytest.approx(6, abs=0.1)
    assert band_edges(plot_of(html, "entropy", "chart"))[0] == pytest.approx([0.2, 0.6], abs=0.005)
    open_above = plot_of(html, "entropy", "math")  # no upper bound: up to the frame
    assert band_edges(open_above)[0] == pytest.approx([0.2, 0.8], abs=0.005)


def test_histograms_hold_the_first_and_the_last_quarter_of_the_steps(finished_run: Path, finished_page: str) -> None:
    rows = [row for row in json_lines(finished_run / "completions.jsonl") if row["task"] == "document"]
    plot = plot_of(finished_page, "advantages", "document")
    for kind, steps in (("first", range(1, 16)), ("last", range(46, 61))):
        values = [row["advantage"] for row in rows if row["step"] in steps]
        assert f"{kind} quarter: {len(values)} completions" in plot
        counts = [sum(-3 + i / 4 <= value < -2.75 + i / 4 for value in values) for i in range(24)]
        counts[0] += sum(value < -3 for value in values)
        counts[-1] += sum(value >= 3 for value in values)
        path = re.search(rf'<path class="{kind}" d="([^"]*)"', plot)
        assert path is not None
        heights = [axis(plot, "y")(float(y)) for y in re.findall(r"V([\d.]+)H", path[1])]
        assert heights == pytest.approx([count / len(values) / 0.25 for count in counts], abs=0.01)


def test_the_gallery_shows_question_gold_answer_and_both_completions(finished_run: Path, finished_page: str) -> None:
    html = finished_page
    for when in ("before", "after"):
        row = next(row for row in json_lines(finished_run / "heldout" / f"{when}.jsonl") if row["task"] == "grounding")
        assert row["prompt"] in html
        assert row["greedy"]["completion"].replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;") in html
    box = re.search(r'class="box gold" d="M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)', html)
    assert box is not None
    assert [float(x) for x in box.groups()] == json.loads(row["answer"])["boxes"]


def test_text_from_a_model_or_a_data_set_cannot_become_markup(run_folder: Path, rewrite: Rewrite) -> None:
    judged = {"completion": HOSTILE, "accuracy": 0.0, "format": 0.0, "completion_tokens": 3}
    fields = {key: HOSTILE for key in ("prompt", "answer", "answer_type", "prompt_id")}
    for when in ("before", "after"):
        rewrite(run_folder / "heldout" / f"{when}.jsonl", 1, {**fields, "samples": [judged], "greedy": judged})
    for image in (run_folder / "heldout" / "images").glob("*general_vqa*"):
        image.unlink()  # the prompt with the hostile id has none, and would not be shown beside others that have
    (run_folder / ".hydra" / "overrides.yaml").write_text(json.dumps([HOSTILE]))
    summary = json.loads((run_folder / "summary.json").read_text())
    summary |= {"versions": {HOSTILE: HOSTILE}, "benchmarks": {HOSTILE: {"score": 0.5, "protocol": HOSTILE}}, "stage_s": {HOSTILE: 1.0}}
    (run_folder / "summary.json").write_text(json.dumps(summary))
    page = Tags(page_of(run_folder))
    assert not {"script", "iframe", "object", "link"} & {tag for tag, _ in page.tags}
    assert sum(HOSTILE in text for text in page.texts) >= 10


def test_the_page_loads_nothing(finished_page: str) -> None:
    page = Tags(finished_page)
    loads = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href", "xlink:href", "srcset")]
    assert len(loads) >= 18  # the images of the gallery
    assert all(value is not None and value.startswith("data:image/png;base64,") for value in loads)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "@import" not in finished_page
    assert "url(" not in finished_page


def test_a_run_that_has_just_begun_says_what_is_missing(run_folder: Path) -> None:
    for name in ("summary.json", "heldout/after.jsonl", "completions.jsonl"):
        (run_folder / name).unlink()
    (run_folder / "metrics.csv").write_text("")
    html = page_of(run_folder)
    for missing in (
        "summary.json is missing",
        "heldout/after.jsonl is missing",
        "completions.jsonl is missing",
        "metrics.csv has no rows yet",
    ):
        assert missing in html
    assert "not finished" in html
    before = json_lines(run_folder / "heldout" / "before.jsonl")
    by_task = [statistics.mean(s["accuracy"] for row in before if row["task"] == task for s in row["samples"]) for task in TASKS]
    assert f"{statistics.mean(by_task):.3f} &rarr; -" in html
    assert "not there yet" in html


def test_the_error_that_ended_a_run_is_repeated(run_folder: Path) -> None:
    (run_folder / "summary.json").unlink()
    (run_folder / "error.txt").write_text("Traceback (most recent call last):\n  ...\nRuntimeError: loss became nan at step 31\n")
    assert "The run ended with an error: RuntimeError: loss became nan at step 31" in page_of(run_folder)


def test_a_term_that_is_switched_off_has_no_plot(run_folder: Path) -> None:
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text(
        "\n".join([f"{header},loss/kl,loss/entropy_band", *(f"{row},0.0,{0.0 if i else 0.002}" for i, row in enumerate(rows))]) + "\n"
    )
    part = page_of(run_folder)
    assert "Penalty to the reference" not in part
    assert "entropy band" in plot_of(part, "optimisation", "Loss")


def test_a_folder_with_only_a_configuration_gets_a_page(run_folder: Path) -> None:
    for path in sorted(run_folder.rglob("*"), reverse=True):
        if ".hydra" not in path.parts:
            path.rmdir() if path.is_dir() else path.unlink()
    assert "advantage <b>g2rpo</b>" in page_of(run_folder)


def test_without_the_configuration_curves_are_drawn_without_bands(run_folder: Path) -> None:
    for path in (run_folder / ".hydra").iterdir():
        path.unlink()
    html = page_of(run_folder)
    assert ".hydra/config.yaml is missing" in html
    assert 'class="band"' not in html
    assert len(points_of(plot_of(html, "entropy", "Entropy by task"), 0)) == 60


@pytest.mark.parametrize(
    ("name", "line", "changes", "message"),
    [
        ("completions.jsonl", 17, {"advantage": "x"}, "completions.jsonl, line 17: advantage: expected a number or null, got 'x'"),
        ("completions.jsonl", 2, {"task": "charts"}, "completions.jsonl, line 2: unknown task 'charts'"),
        ("heldout/after.jsonl", 3, {"greedy": None}, "heldout/after.jsonl, line 3: greedy: expected a JSON object, got None"),
        ("heldout/before.jsonl", 4, {"samples": [{}]}, "heldout/before.jsonl, line 4: samples[0]: key 'completion' is missing"),
    ],
)
def test_a_broken_row_is_named_by_file_line_and_key(
    run_folder: Path, rewrite: Rewrite, name: str, line: int, changes: dict[str, object], message: str
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
    assert 'completions.jsonl, line 5: expected a JSON object, got \'{"step": 1, "task"\'' in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_the_line_that_a_stopped_run_was_writing_is_left_out_and_noted(run_folder: Path) -> None:
    with (run_folder / "completions.jsonl").open("a") as file:
        file.write('{"step": 61, "task": "cha')
    with (run_folder / "metrics.csv").open("a") as file:
        file.write("61,0.6")
    html = page_of(run_folder)
    assert "completions.jsonl, line 2881, was cut off" in html  # 60 steps of 6 tasks of 8 completions
    assert "metrics.csv, line 62, was cut off" in html


def test_the_command_prints_the_path_of_the_page_and_replaces_an_older_one(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    html = page_of(run_folder)
    assert f"summary.json says {right + 0.05:.4f} for chart (sampled, after), heldout/after.jsonl gives {right:.4f}." in html
    assert table_rows(html, "scores")[TASKS.index("chart")][3] == f"{right + 0.05:.3f}"


def test_an_unreadable_summary_is_named(run_folder: Path) -> None:
    (run_folder / "summary.json").write_text('{"status": ')
    with pytest.raises(ValueError, match=r"summary.json: expected a JSON object, got"):
        write_report(run_folder)


def test_equity_is_shown_only_where_it_was_measured(run_folder: Path) -> None:
    assert 'id="equity"' not in page_of(run_folder)
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    measured = [f"{row},{0.5 if i % 5 == 0 else ''}" for i, row in enumerate(rows)]
    path.write_text("\n".join([f"{header},equity/min_cosine", *measured]) + "\n")
    points = points_of(plot_of(page_of(run_folder), "equity", "Smallest cosine between two tasks&#x27; gradients"), 0)
    assert [round(step) for step, _ in points] == list(range(1, 61, 5))
    assert [value for _, value in points] == pytest.approx([0.5] * 12, abs=0.005)


def test_cosines_of_tasks_are_a_matrix_of_means_over_the_steps_that_have_them(run_folder: Path) -> None:
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    measured = [f"{row},{[0.5, -0.1][i % 2] if i < 2 else ''},{-0.7 if i == 0 else ''}" for i, row in enumerate(rows)]
    path.write_text("\n".join([f"{header},equity/cosine/math/chart,equity/cosine/general_vqa/chart", *measured]) + "\n")
    plot = plot_of(page_of(run_folder), "equity", "Cosine between two tasks&#x27; gradients, mean")
    assert re.findall(r">(-?\d\.\d\d)<", plot) == ["-0.70", "0.20"]
