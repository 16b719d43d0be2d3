"""One's own scores beside the paper's: the right columns, the right means, and what has to be said
beside a number.
"""

import csv
import io
from typing import Any

import pytest
from rich.console import Console

from g2rpo.benchmark.evaluation.by_name import benchmark_names, benchmark_settings
from g2rpo.benchmark.evaluation.results import macro, remarks
from g2rpo.benchmark.evaluation.suite import built
from g2rpo.benchmark.evaluation.table import caption, cells, csv_text, html_text, lines, show
from g2rpo.benchmark.published import COLUMNS, NOT_COMPARABLE, Published


def found(task: str, score: float, **other: Any) -> dict[str, Any]:
    return {
        "task": task,
        "score": score,
        "low": score - 0.05,
        "high": score + 0.05,
        "chance": 0.125,
        "parse_rate": 0.875,
        "rows": 40,
        "groups": 40,
        "protocol": "paper",
        "prompted_as": "paper",
        "judge": None,
        "rows_by_judge": 0,
        "rows_from": "hub",
        "limit": None,
        "rows_available": 40,
        "rows_unusable": 0,
        "rows_failed": 0,
        "truncated_frac": 0.0,
        "completion_tokens": 9.5,
        "subscores": {},
    } | other


def in_paper(name: str) -> dict[str, Any]:
    paper = BENCHMARKS[name].published
    return {
        "published": {
            "row": paper.row,
            "title": paper.title,
            "full": paper.full,
            "scores": paper.scores(),
        }
    }


BENCHMARKS = {name: built(benchmark_settings(name), name) for name in benchmark_names()}
ENTRIES = {
    "ocrbench": found(
        "document",
        0.911,
        **in_paper("ocrbench"),
        subscores={"category/hme": {"score": 0.5, "groups": 4}},
    ),
    "mmbench": found("general_vqa", 0.6, **in_paper("mmbench")),
    "docvqa": found("document", 0.9, **in_paper("docvqa")),
    "theirs": found("chart", 0.3),
    "mmmu": found(
        "general_vqa", 0.5, **in_paper("mmmu"), limit=40, truncated_frac=0.25, rows_failed=2
    ),
}


def test_the_macro_score_is_the_mean_over_benchmarks_and_not_over_tasks() -> None:
    means = macro(ENTRIES)
    assert means == pytest.approx(
        {"macro": 3.211 / 5, "general_vqa": 0.55, "chart": 0.3, "document": 0.9055}
    )
    assert macro({}) == {}


def test_the_paper_has_18_benchmarks_three_for_each_task() -> None:
    rows = {name: benchmark.published for name, benchmark in BENCHMARKS.items()}
    assert all(isinstance(row, Published) for row in rows.values())
    assert sorted(row.row for row in rows.values()) == list(range(1, 19))
    tasks = [benchmark.task for benchmark in BENCHMARKS.values()]
    assert {task: tasks.count(task) for task in tasks} == dict.fromkeys(
        ["general_vqa", "math", "chart", "document", "spatial", "grounding"], 3
    )
    assert rows["ocrbench"].scores()["openvlthinker_v2"] == 0.911


def test_the_papers_means_are_those_of_its_ablation_table() -> None:
    # Table 4 of the paper: averages of each task for the base model and for the whole method,
    # OCRBench divided by ten
    table4 = {
        "general_vqa": (71.3, 77.9),
        "math": (59.2, 66.2),
        "chart": (69.9, 76.0),
        "grounding": (87.1, 90.7),
        "document": (86.8, 91.4),
    }
    table4["spatial"] = (60.9, 63.6)
    for task, means in table4.items():
        own = [
            benchmark.published.scores()
            for benchmark in BENCHMARKS.values()
            if benchmark.task == task
        ]
        for column, mean in zip(("base", "openvlthinker_v2"), means, strict=True):
            assert 100 * sum(scores[column] for scores in own) / 3 == pytest.approx(mean, abs=0.11)


def test_lines_follow_the_paper_with_a_mean_after_each_task_of_several() -> None:
    names = [line.name for line in lines(ENTRIES)]
    assert names == [
        "mmmu",
        "mmbench",
        "mean/general_vqa",
        "docvqa",
        "ocrbench",
        "mean/document",
        "theirs",
        "mean/all",
    ]


def test_ocrbench_is_in_points_of_1000_and_its_means_in_percent() -> None:
    text = {line.name: cells(line) for line in lines(ENTRIES)}
    assert text["ocrbench"][:3] == ["OCRBench", "911", "861 - 961"]
    assert text["ocrbench"][8:13] == ["819", "833", "875", "897", "911"]
    assert text["mean/document"][1] == "90.5"
    # DocVQA and OCRBench of the base model: (95.3 + 81.9) / 2
    assert text["mean/document"][8] == "88.6"


def test_a_benchmark_that_is_not_in_the_paper_leaves_its_means_open() -> None:
    text = {line.name: cells(line) for line in lines(ENTRIES)}
    assert text["theirs"][8:13] == text["mean/all"][8:13] == ["-"] * 5


def test_what_makes_a_number_another_one_is_said_beside_it() -> None:
    assert remarks(ENTRIES["mmmu"]) == ["limit 40", "2 failed", "25% cut"]
    assert remarks(
        found("math", 0.5, rows_from="demo", prompted_as="vlmevalkit", rows_unusable=3)
    ) == [
        "demo rows",
        "prompted as vlmevalkit",
        "3 unusable",
    ]
    assert remarks(ENTRIES["docvqa"]) == []


def test_the_caption_says_protocol_judge_and_rows_and_warns_of_demo_rows() -> None:
    assert caption(ENTRIES) == "Protocol paper; no judge, rules alone decide; rows: hub."
    judged = {"mmmu": found("general_vqa", 0.5, judge="qwen", rows_from="demo")}
    assert caption(judged) == f"Protocol paper; judge qwen; rows: demo. {NOT_COMPARABLE}"


def test_the_csv_holds_scores_in_0_to_1() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(ENTRIES))))
    assert [row["benchmark"] for row in rows] == [line.name for line in lines(ENTRIES)]
    assert (rows[0]["score"], rows[0]["limit"], rows[0]["paper_base"], rows[0]["judge"]) == (
        "0.5",
        "40",
        "0.602",
        "",
    )
    assert float(rows[4]["paper_openvlthinker_v2"]) == 0.911


def test_the_page_stands_alone_and_trusts_no_name() -> None:
    page = html_text(
        ENTRIES | {"<script>x": found("math", 0.1, subscores={"<b>": {"score": 0.1, "groups": 3}})}
    )
    assert "<script" not in page
    assert "&lt;script&gt;x" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "category/hme" in page
    assert all(name.replace("+", "+") in page for name in COLUMNS.values())


def test_the_terminal_shows_every_line_whole_also_where_it_is_none() -> None:
    file = io.StringIO()
    show(ENTRIES, Console(file=file))
    text = file.getvalue()
    assert "861 - 961" in text
    assert "limit 40, 2 failed, 25% cut" in text
    assert "…" not in text


def test_a_narrow_terminal_is_shown_less() -> None:
    file = io.StringIO()
    show(ENTRIES, Console(file=file, width=100, force_terminal=True))
    text = file.getvalue()
    assert "OpenVL" in text
    assert "GDPO" not in text
