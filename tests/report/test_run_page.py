"""The whole page: its numbers are those of the files, it loads nothing, and half a run will do."""

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from report.pages import (
    HOSTILE,
    Element,
    assert_only_own_scripts,
    json_lines,
    loaded,
    page_of,
    part,
)

from g2rpo.data.gym.source import TASKS
from g2rpo.report.plots import TASK_COLORS

Rewrite = Callable[[Path, int, dict[str, object]], None]


def test_the_head_shows_the_numbers_of_the_summary(
    finished_run: Path, finished_page: Element
) -> None:
    summary = json.loads((finished_run / "summary.json").read_text())
    values = [tile.one("b").text for tile in finished_page.all(kind="tile")]
    expected = []
    for kind in ("heldout", "heldout_greedy"):
        before, after = (summary[kind][when]["macro"] for when in ("before", "after"))
        expected.append(f"{before:.3f} → {after:.3f} {after - before:+.3f}")
    assert values == [*expected, "60", "3 min 08 s"]  # 188.5 s, half to even
    assert finished_page.one("header").all("span", kind="up")[0].text.startswith("+")


def test_the_title_names_the_run_and_its_choices_and_command_are_shown(
    finished_page: Element,
) -> None:
    assert finished_page.one("title").text == "2026-03-01/14-05-12 - g2rpo run"
    choices = [item.text for item in finished_page.one("ul", kind="choices").all("li")]
    assert choices[:2] == ["advantage g2rpo", "shaping full"]
    assert finished_page.one("header").one("code").text == "python train.py shaping=full seed=3"


def test_the_contents_lead_to_every_section(finished_page: Element) -> None:
    links = [link.attributes["href"] for link in finished_page.one("nav").all("a")]
    assert links == [f"#{section.attributes['id']}" for section in finished_page.all("section")]
    expected = {
        "scores",
        "errors",
        "benchmarks",
        "learning",
        "length",
        "entropy",
        "advantages",
        "gallery",
        "training",
        "configuration",
    }
    assert expected <= {link[1:] for link in links if link}


def test_the_configuration_is_on_the_page(finished_run: Path, finished_page: Element) -> None:
    shown = [pre.text for pre in part(finished_page, "configuration").all("pre")]
    assert shown == ["shaping=full\nseed=3", (finished_run / ".hydra" / "config.yaml").read_text()]


def test_the_table_of_scores_equals_the_held_out_files(
    finished_run: Path, finished_page: Element
) -> None:
    before, after = (
        json_lines(finished_run / "heldout" / f"{when}.jsonl") for when in ("before", "after")
    )
    rows = {row[0]: row for row in part(finished_page, "scores").rows()}
    assert list(rows) == [*TASKS, "mean of the tasks"]
    for task in TASKS:
        own = [
            [
                statistics.mean(s["accuracy"] for s in row["samples"])
                for row in rows_
                if row["task"] == task
            ]
            for rows_ in (before, after)
        ]
        greedy = [
            statistics.mean(row["greedy"]["accuracy"] for row in rows_ if row["task"] == task)
            for rows_ in (before, after)
        ]
        old, new = map(statistics.mean, own)
        differences = [b - a for a, b in zip(*own, strict=True)]
        interval = 1.96 * statistics.stdev(differences) / len(differences) ** 0.5
        assert rows[task][1:6] == [
            "6",
            f"{old:.3f}",
            f"{new:.3f}",
            f"{new - old:+.3f}",
            f"{interval:.3f}",
        ]
        assert rows[task][6:8] == [
            f"{greedy[0]:.3f} → {greedy[1]:.3f}",
            f"{greedy[1] - greedy[0]:+.3f}",
        ]
    spec = part(finished_page, "scores").figures()["Held-out score before and after training"]
    ends = {
        trace["name"]: dict(zip(trace["y"], trace["x"], strict=True))
        for trace in spec["data"]
        if "name" in trace
    }
    assert ends["after"]["math"] == pytest.approx(float(rows["math"][3]), abs=1e-3)
    assert ends["before"]["mean of the tasks"] == pytest.approx(
        float(rows["mean of the tasks"][2]), abs=1e-3
    )


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
    assert [cell.text for cell in table.all("th")] == [
        "task",
        "right",
        "partly right",
        "wrong",
        "format",
        "truncated",
        "unreadable",
    ]
    row = next(row for row in table.rows() if row[0] == "math")
    assert [cell.split(" → ")[1] for cell in row[1:]] == ["25%", "0%", "0%", "25%", "25%", "25%"]


def test_the_gallery_shows_picture_question_gold_answer_and_both_completions(
    finished_run: Path, finished_page: Element
) -> None:
    gallery = part(finished_page, "gallery")
    cards = [card for card in gallery.all("article") if card.attributes["data-task"] == "grounding"]
    rows = {
        when: json_lines(finished_run / "heldout" / f"{when}.jsonl") for when in ("before", "after")
    }
    scores = {
        row["prompt_id"]: statistics.mean(s["accuracy"] for s in row["samples"])
        for row in rows["after"]
        if row["task"] == "grounding"
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
    assert (
        outlines == [f"M{left} {upper}H{right}V{lower}H{left}Z"] * 2
    )  # the line and its white rim


def test_training_completions_are_shown_with_reward_parts_advantage_and_picture(
    run_folder: Path, rewrite: Rewrite
) -> None:
    parts = {"accuracy": 0.25, "format": 1.0, "structure": 0.5}
    changes = {
        "parts": parts,
        "completion": "my answer",
        "accuracy": 0.25,
        "reward": 1.75,
        "advantage": -0.75,
        "finished": True,
    }
    rewrite(
        run_folder / "completions.jsonl", 2, changes
    )  # the second completion of the first general_vqa prompt of step 1
    name = json_lines(run_folder / "completions.jsonl")[1]["prompt_id"]
    (run_folder / "images").mkdir()
    picture = next((run_folder / "heldout" / "images").iterdir()).read_bytes()
    (run_folder / "images" / f"{name.replace('/', '-')}-0.png").write_bytes(picture)
    training = part(page_of(run_folder), "training")
    card = training.all("article")[0]
    assert (name in card.text, len(card.all("img")), len(card.all(kind="answer"))) == (True, 1, 4)
    answer = card.all(kind="answer")[1]
    assert (answer.attributes["data-verdict"], answer.one("pre").text.strip()) == (
        "partly right",
        "my answer",
    )
    assert (
        answer.one(kind="facts").text
        == "advantage -0.75 · reward 1.75 · accuracy 0.25 · format 1.00 · structure 0.50 · 14"
        " tokens"
    )
    steps = [int(re.search(r"step (\d+)", card.text)[1]) for card in training.all("article")]  # type: ignore[index]
    assert sorted(set(steps)) == [1, 2, 4, 8, 16, 32, 60]
    assert len(steps) == 7 * 6 * 2  # two prompts of each task


def test_completions_can_be_searched_and_filtered_by_task_and_verdict(
    finished_page: Element,
) -> None:
    for section in ("gallery", "training"):
        form = part(finished_page, section).one("form", kind="filter")
        assert [field.attributes["name"] for field in form.all() if "name" in field.attributes] == [
            "words",
            "task",
            "verdict",
        ]
        options = [
            [option.text for option in select.all("option")] for select in form.all("select")
        ]
        assert options[0] == ["all tasks", *TASKS]
        shown = {
            element.attributes["data-verdict"]
            for element in part(finished_page, section).all()
            if "data-verdict" in element.attributes
        }
        assert shown <= set(options[1])


def test_text_from_a_model_or_a_data_set_cannot_become_markup_or_code(
    run_folder: Path, rewrite: Rewrite
) -> None:
    text = HOSTILE + "x" * 100_000 + HOSTILE
    judged = {"completion": text, "accuracy": 0.0, "format": 0.0, "completion_tokens": 3}
    fields = {key: text for key in ("prompt", "answer", "prompt_id")}
    for when in ("before", "after"):
        rewrite(
            run_folder / "heldout" / f"{when}.jsonl",
            1,
            {**fields, "answer_type": HOSTILE, "samples": [judged], "greedy": judged},
        )
    rewrite(
        run_folder / "completions.jsonl", 1, {**fields, "completion": text, "parts": {HOSTILE: 1.0}}
    )
    (run_folder / ".hydra" / "overrides.yaml").write_text(json.dumps([HOSTILE]))
    summary = json.loads((run_folder / "summary.json").read_text())
    summary |= {
        "versions": {HOSTILE: HOSTILE},
        "benchmarks": {HOSTILE: {"score": 0.5, "protocol": HOSTILE}},
        "stage_s": {HOSTILE: 1.0},
    }
    (run_folder / "summary.json").write_text(json.dumps(summary))
    page = page_of(run_folder)
    assert_only_own_scripts(page)
    assert loaded(page) == []
    assert page.text.count(HOSTILE) >= 20
    assert "49" not in {cell for row in page.rows() for cell in row}
    assert part(page, "time").figures()["Stages of the run"]["data"][0]["y"] == [HOSTILE]
    assert part(page, "gallery").text.count("characters left out") >= 2


def test_the_page_loads_nothing(finished_page: Element) -> None:
    assert_only_own_scripts(finished_page)
    assert loaded(finished_page) == []
    assert len(finished_page.all("img")) >= 18  # the pictures of the gallery
    style = finished_page.one("style").text
    assert "@import" not in style
    assert "url(" not in style


def test_the_page_has_a_light_and_a_dark_mode_with_a_color_for_every_task(
    finished_page: Element,
) -> None:
    style = finished_page.one("style").text
    assert "color-scheme: light dark" in style
    for place in range(TASK_COLORS):
        light, dark = re.search(rf"--task{place}: light-dark\((#\w+), (#\w+)\)", style).groups()  # type: ignore[union-attr]
        assert light != dark
    chips = {chip.attributes["style"] for chip in finished_page.all("span", kind="chip")}
    assert chips == {f"background: var(--task{place})" for place in range(len(TASKS))}
    assert finished_page.one("button", id="theme")
