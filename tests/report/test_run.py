"""The page as a whole: its numbers are those of the files, it loads nothing, and it copes with half a run."""

import csv
import json
import re
import statistics
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from report.pages import Element, curve, loaded, parsed

from g2rpo.records import TASKS
from g2rpo.report.__main__ import main
from g2rpo.report.run import write_report

Rewrite = Callable[[Path, int, dict[str, object]], None]
HOSTILE = "</script><script>alert(1)</script><img src=http://example.org/x.png>{{ 7 * 7 }}{% raw %}&\"'\u2028\U0001f600"


def page_of(folder: Path) -> Element:
    return parsed(write_report(folder).read_text())


def part(page: Element, anchor: str) -> Element:
    return page.one("section", id=anchor)


def json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_head_shows_the_numbers_of_the_summary(finished_run: Path, finished_page: Element) -> None:
    summary = json.loads((finished_run / "summary.json").read_text())
    values = [tile.one("b").text for tile in finished_page.all(kind="tile")]
    expected = []
    for kind in ("heldout", "heldout_greedy"):
        before, after = (summary[kind][when]["macro"] for when in ("before", "after"))
        expected.append(f"{before:.3f} → {after:.3f} {after - before:+.3f}")
    assert values == [*expected, "60", "3 min 08 s"]  # 188.5 s, half to even
    assert finished_page.one("header").all("span", kind="up")[0].text.startswith("+")


def test_the_title_names_the_run_and_its_choices_and_command_are_shown(finished_page: Element) -> None:
    assert finished_page.one("title").text == "2026-03-01/14-05-12 - g2rpo run"
    choices = [item.text for item in finished_page.one("ul", kind="choices").all("li")]
    assert choices[:2] == ["advantage g2rpo", "shaping full"]
    assert finished_page.one("header").one("code").text == "python train.py shaping=full seed=3"


def test_the_contents_lead_to_every_section(finished_page: Element) -> None:
    links = [link.attributes["href"] for link in finished_page.one("nav").all("a")]
    assert links == [f"#{section.attributes['id']}" for section in finished_page.all("section")]
    expected = {"scores", "errors", "benchmarks", "learning", "length", "entropy", "advantages", "gallery", "training", "configuration"}
    assert expected <= {link[1:] for link in links if link}


def test_the_configuration_is_on_the_page(finished_run: Path, finished_page: Element) -> None:
    shown = [pre.text for pre in part(finished_page, "configuration").all("pre")]
    assert shown == ["shaping=full\nseed=3", (finished_run / ".hydra" / "config.yaml").read_text()]


def test_the_table_of_scores_equals_the_held_out_files(finished_run: Path, finished_page: Element) -> None:
    before, after = (json_lines(finished_run / "heldout" / f"{when}.jsonl") for when in ("before", "after"))
    rows = {row[0]: row for row in part(finished_page, "scores").rows()}
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
        assert rows[task][6:8] == [f"{greedy[0]:.3f} → {greedy[1]:.3f}", f"{greedy[1] - greedy[0]:+.3f}"]
    spec = part(finished_page, "scores").figures()["Held-out score before and after training"]
    ends = {trace["name"]: dict(zip(trace["y"], trace["x"], strict=True)) for trace in spec["data"] if "name" in trace}
    assert ends["after"]["math"] == pytest.approx(float(rows["math"][3]), abs=1e-3)
    assert ends["before"]["mean of the tasks"] == pytest.approx(float(rows["mean of the tasks"][2]), abs=1e-3)


def test_kinds_of_errors_are_counted_by_task(run_folder: Path, rewrite: Rewrite) -> None:
    kinds = [
        {"accuracy": 1.0, "format": 1.0, "finished": True},
        {"accuracy": 0.0, "format": 0.0, "finished": False},
        {"accuracy": 0.0, "format": 0.0, "finished": True, "failed": True},
        {"accuracy": 1.0, "format": 0.0, "finished": True},
    ]
    samples = [{"completion": "x", "completion_tokens": 3, **kind} for kind in kinds]
    lines = json_lines(run_folder / "heldout" / "after.jsonl")
    for number, line in enumerate(lines, start=1):
        if line["task"] == "math":
            rewrite(run_folder / "heldout" / "after.jsonl", number, {"samples": samples})
    table = part(page_of(run_folder), "errors")
    assert [cell.text for cell in table.all("th")] == ["task", "right", "partly right", "wrong", "format", "truncated", "unreadable"]
    row = next(row for row in table.rows() if row[0] == "math")
    assert [cell.split(" → ")[1] for cell in row[1:]] == ["25%", "0%", "0%", "25%", "25%", "25%"]


def test_hovering_a_curve_shows_the_logged_values(finished_run: Path, finished_page: Element) -> None:
    with (finished_run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    plots = {
        "Accuracy by task": ("learning", "reward/accuracy"),
        "Standard deviation of the advantages": ("advantages", "advantage/std"),
    }
    for title, (section, metric) in plots.items():
        figure = part(finished_page, section).figures()[title]
        for task in TASKS:
            logged = [(int(row["step"]), float(row[f"{metric}/{task}"])) for row in rows if row[f"{metric}/{task}"]]
            points = curve(figure, task)
            assert len(points) == (54 if task == "chart" else 60)  # six steps drew no chart prompt
            assert [step for step, _ in points] == [step for step, _ in logged]
            assert [value for _, value in points] == pytest.approx([value for _, value in logged], rel=1e-4)


def test_reward_by_task_is_the_mean_over_the_completions_of_a_step(finished_run: Path, finished_page: Element) -> None:
    rows = json_lines(finished_run / "completions.jsonl")
    points = curve(part(finished_page, "learning").figures()["Total reward"], "spatial")
    expected = [statistics.mean(r["reward"] for r in rows if r["task"] == "spatial" and r["step"] == step) for step in range(1, 61)]
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


def test_histograms_hold_the_first_and_the_last_quarter_of_the_steps(finished_run: Path, finished_page: Element) -> None:
    rows = [row for row in json_lines(finished_run / "completions.jsonl") if row["task"] == "document"]
    traces = part(finished_page, "advantages").figures()["document"]["data"]
    for kind, steps, trace in (("first", range(1, 16), traces[0]), ("last", range(46, 61), traces[1])):
        values = [row["advantage"] for row in rows if row["step"] in steps]
        assert trace["name"] == f"{kind} quarter ({len(values)})"
        counts = [sum(-3 + i / 4 <= value < -2.75 + i / 4 for value in values) for i in range(24)]
        counts[0] += sum(value < -3 for value in values)
        counts[-1] += sum(value >= 3 for value in values)
        assert trace["y"] == pytest.approx([count / len(values) / 0.25 for count in counts], rel=1e-4)


def test_the_gallery_shows_picture_question_gold_answer_and_both_completions(finished_run: Path, finished_page: Element) -> None:
    gallery = part(finished_page, "gallery")
    cards = [card for card in gallery.all("article") if card.attributes["data-task"] == "grounding"]
    rows = {when: json_lines(finished_run / "heldout" / f"{when}.jsonl") for when in ("before", "after")}
    scores = {
        row["prompt_id"]: statistics.mean(s["accuracy"] for s in row["samples"]) for row in rows["after"] if row["task"] == "grounding"
    }
    worst = min(scores, key=scores.__getitem__)
    assert f"worst, {scores[worst]:.2f}" in cards[0].text
    for when in ("before", "after"):
        row = next(row for row in rows[when] if row["prompt_id"] == worst)
        assert row["prompt"] in cards[0].text
        assert row["greedy"]["completion"] in [pre.text.strip() for pre in cards[0].all("pre")]
    assert cards[0].all("img")
    left, upper, right, lower = json.loads(row["answer"])["boxes"]
    outlines = [path.attributes["d"] for path in cards[0].all("path", kind="gold")]
    assert outlines == [f"M{left} {upper}H{right}V{lower}H{left}Z"] * 2  # the line and its white rim


def test_training_completions_are_shown_with_reward_parts_advantage_and_picture(run_folder: Path, rewrite: Rewrite) -> None:
    parts = {"accuracy": 0.25, "format": 1.0, "structure": 0.5}
    changes = {"parts": parts, "completion": "my answer", "accuracy": 0.25, "reward": 1.75, "advantage": -0.75, "finished": True}
    rewrite(run_folder / "completions.jsonl", 2, changes)  # the second completion of the first general_vqa prompt of step 1
    name = json_lines(run_folder / "completions.jsonl")[1]["prompt_id"]
    (run_folder / "images").mkdir()
    picture = next((run_folder / "heldout" / "images").iterdir()).read_bytes()
    (run_folder / "images" / f"{name.replace('/', '-')}-0.png").write_bytes(picture)
    training = part(page_of(run_folder), "training")
    card = training.all("article")[0]
    assert (name in card.text, len(card.all("img")), len(card.all(kind="answer"))) == (True, 1, 4)
    answer = card.all(kind="answer")[1]
    assert (answer.attributes["data-verdict"], answer.one("pre").text.strip()) == ("partly right", "my answer")
    assert answer.one(kind="facts").text == ("advantage -0.75 · reward 1.75 · accuracy 0.25 · format 1.00 · structure 0.50 · 14 tokens")
    steps = [int(re.search(r"step (\d+)", card.text)[1]) for card in training.all("article")]  # type: ignore[index]
    assert sorted(set(steps)) == [1, 2, 4, 8, 16, 32, 60]
    assert len(steps) == 7 * 6 * 2  # two prompts of each task


def test_completions_can_be_searched_and_filtered_by_task_and_verdict(finished_page: Element) -> None:
    for section in ("gallery", "training"):
        form = part(finished_page, section).one("form", kind="filter")
        assert [field.attributes["name"] for field in form.all() if "name" in field.attributes] == ["words", "task", "verdict"]
        options = [[option.text for option in select.all("option")] for select in form.all("select")]
        assert options[0] == ["all tasks", *TASKS]
        shown = {
            element.attributes["data-verdict"] for element in part(finished_page, section).all() if "data-verdict" in element.attributes
        }
        assert shown <= set(options[1])


def test_text_from_a_model_or_a_data_set_cannot_become_markup_or_code(run_folder: Path, rewrite: Rewrite) -> None:
    text = HOSTILE + "x" * 100_000 + HOSTILE
    judged = {"completion": text, "accuracy": 0.0, "format": 0.0, "completion_tokens": 3}
    fields = {key: text for key in ("prompt", "answer", "prompt_id")}
    for when in ("before", "after"):
        rewrite(run_folder / "heldout" / f"{when}.jsonl", 1, {**fields, "answer_type": HOSTILE, "samples": [judged], "greedy": judged})
    rewrite(run_folder / "completions.jsonl", 1, {**fields, "completion": text, "parts": {HOSTILE: 1.0}})
    (run_folder / ".hydra" / "overrides.yaml").write_text(json.dumps([HOSTILE]))
    summary = json.loads((run_folder / "summary.json").read_text())
    summary |= {"versions": {HOSTILE: HOSTILE}, "benchmarks": {HOSTILE: {"score": 0.5, "protocol": HOSTILE}}, "stage_s": {HOSTILE: 1.0}}
    (run_folder / "summary.json").write_text(json.dumps(summary))
    page = page_of(run_folder)
    assert_only_own_scripts(page)
    assert loaded(page) == []
    assert page.text.count(HOSTILE) >= 20
    assert "49" not in {cell for row in page.rows() for cell in row}
    assert part(page, "time").figures()["Stages of the run"]["data"][0]["y"] == [HOSTILE]
    assert part(page, "gallery").text.count("characters left out") >= 2


def assert_only_own_scripts(page: Element) -> None:
    """Scripts are data, or those whose hashes the content policy lists; nothing else runs and nothing is fetched."""
    (policy,) = [meta.attributes["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes]
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data: blob:")
    scripts = [script for script in page.all("script") if script.attributes.get("type") != "application/json"]
    hashes = ["'sha256-" + b64encode(sha256(str(script.children[0]).encode()).digest()).decode() + "'" for script in scripts]
    assert rules["script-src"].split() == hashes
    assert len(hashes) == 2  # plotly.js and the page's own
    assert not {"iframe", "object", "link", "embed", "base"} & {element.tag for element in page.walk()}
    assert not any(name.startswith("on") for element in page.walk() for name in element.attributes)


def test_the_page_loads_nothing(finished_page: Element) -> None:
    assert_only_own_scripts(finished_page)
    assert loaded(finished_page) == []
    assert len(finished_page.all("img")) >= 18  # the pictures of the gallery
    style = finished_page.one("style").text
    assert "@import" not in style
    assert "url(" not in style


def test_the_page_has_a_light_and_a_dark_mode_with_a_color_for_every_task(finished_page: Element) -> None:
    style = finished_page.one("style").text
    assert "color-scheme: light dark" in style
    for task in TASKS:
        light, dark = re.search(rf"--{task}: light-dark\((#\w+), (#\w+)\)", style).groups()  # type: ignore[union-attr]
        assert light != dark
        assert f".chip.{task} {{ background: var(--{task}); }}" in style
    assert finished_page.one("button", id="theme")


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
    by_task = [statistics.mean(s["accuracy"] for row in before if row["task"] == task for s in row["samples"]) for task in TASKS]
    assert page.all(kind="tile")[0].one("b").text == f"{statistics.mean(by_task):.3f} → -"
    assert "not there yet" in html


def test_the_error_that_ended_a_run_is_repeated(run_folder: Path) -> None:
    (run_folder / "summary.json").unlink()
    (run_folder / "error.txt").write_text("Traceback (most recent call last):\n  ...\nRuntimeError: loss became nan at step 31\n")
    assert "The run ended with an error: RuntimeError: loss became nan at step 31" in page_of(run_folder).text


def test_a_term_that_is_switched_off_has_no_plot(run_folder: Path) -> None:
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text(
        "\n".join([f"{header},loss/kl,loss/entropy_band", *(f"{row},0.0,{0.0 if i else 0.002}" for i, row in enumerate(rows))]) + "\n"
    )
    figures = part(page_of(run_folder), "optimization").figures()
    assert "Penalty to the reference" not in figures
    assert "entropy band" in {trace["name"] for trace in figures["Loss"]["data"]}


def test_a_folder_with_only_a_configuration_gets_a_page(run_folder: Path) -> None:
    for path in sorted(run_folder.rglob("*"), reverse=True):
        if ".hydra" not in path.parts:
            path.rmdir() if path.is_dir() else path.unlink()
    assert "advantage g2rpo" in page_of(run_folder).text


def test_without_the_configuration_curves_are_drawn_without_bands(run_folder: Path) -> None:
    for path in (run_folder / ".hydra").iterdir():
        path.unlink()
    page = page_of(run_folder)
    assert ".hydra/config.yaml is missing" in page.text
    figure = part(page, "entropy").figures()["Entropy by task"]
    assert figure["layout"]["shapes"] == []
    assert len(curve(figure, TASKS[0])) == 60


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
    html = page_of(run_folder).text
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
    page = page_of(run_folder)
    assert f"summary.json says {right + 0.05:.4f} for chart (sampled, after), heldout/after.jsonl gives {right:.4f}." in page.text
    assert part(page, "scores").rows()[TASKS.index("chart")][3] == f"{right + 0.05:.3f}"


def test_an_unreadable_summary_is_named(run_folder: Path) -> None:
    (run_folder / "summary.json").write_text('{"status": ')
    with pytest.raises(ValueError, match=r"summary.json: expected a JSON object, got"):
        write_report(run_folder)


def test_gradients_of_tasks_are_shown_only_if_they_were_measured(run_folder: Path) -> None:
    assert page_of(run_folder).all("section", id="equity") == []
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    measured = [f"{row},{0.5 if i % 5 == 0 else ''}" for i, row in enumerate(rows)]
    path.write_text("\n".join([f"{header},equity/min_cosine", *measured]) + "\n")
    figure = part(page_of(run_folder), "equity").figures()["Smallest cosine between two tasks' gradients"]
    assert curve(figure, "cosine") == [(step, 0.5) for step in range(1, 61, 5)]


def test_cosines_of_tasks_are_a_matrix_of_means_over_the_steps_that_have_them(run_folder: Path) -> None:
    path = run_folder / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    measured = [f"{row},{[0.5, -0.1][i % 2] if i < 2 else ''},{-0.7 if i == 0 else ''}" for i, row in enumerate(rows)]
    path.write_text("\n".join([f"{header},equity/cosine/math/chart,equity/cosine/general_vqa/chart", *measured]) + "\n")
    (trace,) = part(page_of(run_folder), "equity").figures()["Cosine between two tasks' gradients, mean"]["data"]
    cells = {(a, b): value for a, row in zip(trace["y"], trace["z"], strict=True) for b, value in zip(trace["x"], row, strict=True)}
    assert (cells["math", "chart"], cells["chart", "math"], cells["general_vqa", "chart"]) == (0.2, 0.2, -0.7)
    assert (cells["math", "math"], cells["math", "document"]) == (1.0, None)


def test_two_runs_are_put_side_by_side(run_folder: Path, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert part(page, "configuration").rows() == [["loss._target_", "g2rpo.loss.clip.ClipLoss", HOSTILE], ["seed", "-", "7"]]
    rows = {row[0]: row for row in part(page, "scores").rows()}
    assert rows["math"][3] == "+0.100"
    assert rows["chart"][3] == "+0.000"
    assert (rows["chartqa"], rows["mmmu"]) == (["chartqa", "0.438", "0.438", "+0.000"], ["mmmu", "-", "0.250", "-"])
    names = [str(finished_run), str(run_folder)]  # both are called 2026-03-01/14-05-12
    figures = part(page, "curves").figures()
    assert [trace["name"] for trace in figures["Accuracy, math"]["data"] if "customdata" in trace] == names
    assert len(curve(figures["Accuracy, mean of the tasks"], names[1])) == 60
    assert_only_own_scripts(page)


def test_a_broken_run_among_several_is_named(run_folder: Path, finished_run: Path, tmp_path: Path) -> None:
    (run_folder / "summary.json").write_text("[")
    with pytest.raises(SystemExit, match=re.escape(f"{run_folder}: summary.json: expected a JSON object")):
        main([str(finished_run), str(run_folder), "--out", str(tmp_path / "both.html")])
    assert not (tmp_path / "both.html").exists()
