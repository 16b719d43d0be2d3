import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from g2rpo.benchmark.rows.demo import DemoRows
from g2rpo.data.gym.source import GymSource
from g2rpo.records import Prompt

ROOT = Path(__file__).parents[3]
NAMES = sorted(file.stem for file in (ROOT / "conf" / "benchmark").glob("*.yaml"))
JUDGED = ("charxiv_rq",)
"""Benchmarks that no rule scores under `paper`."""


@pytest.fixture(scope="session")
def build() -> Callable[[str], Any]:
    return lambda name: instantiate(OmegaConf.load(ROOT / "conf" / "benchmark" / f"{name}.yaml"))


def _gold(row: dict[str, Any]) -> str:
    """What a model writes that knows the answer."""
    if "mask" in row:
        left, top, right, bottom = row["mask"].getbbox()
        x, y = (left + right) / 2 / row["width"], (top + bottom) / 2 / row["height"]
        return json.dumps([{"point_2d": [round(1000 * x), round(1000 * y)]}])
    if row.get("binary") is False:
        corners = [
            tuple(map(float, pair.split(","))) for pair in row["answer"].strip("[()]").split("), (")
        ]
        middle = [round(1000 * sum(axis) / len(corners)) for axis in zip(*corners, strict=True)]
        return json.dumps([{"point_2d": middle}])
    if "box_format" in row:
        return json.dumps({"boxes": row["answer"]})
    return row["answer"][0] if isinstance(row["answer"], list) else str(row["answer"])


def test_every_benchmark_draws_from_a_place_of_its_own(build: Callable[[str], Any]) -> None:
    rows = DemoRows(prompts=GymSource(), rows_per_benchmark=1)
    places = {next(iter(rows.records(build(name))))[0] for name in NAMES}
    assert len(places) == len(NAMES) == 18


def test_a_benchmark_without_demo_rows_says_what_to_define(build: Callable[[str], Any]) -> None:
    benchmark = build("mmstar")
    benchmark.demo_task = None
    with pytest.raises(
        ValueError,
        match=r"eval\.rows=demo: benchmark mmstar defines no demo rows \(demo_task and demo\)",
    ):
        next(iter(DemoRows(prompts=GymSource()).records(benchmark)))


@pytest.mark.parametrize("name", NAMES)
def test_the_gold_answer_of_every_demo_row_scores_1(name: str, build: Callable[[str], Any]) -> None:
    benchmark = build(name)
    rows = [
        benchmark.row(record)
        for _, record in DemoRows(prompts=GymSource(), rows_per_benchmark=24).records(benchmark)
    ]
    assert len(rows) == 24
    protocols = [protocol for protocol in benchmark.protocols if protocol in ("paper", "robust")]
    assert protocols == ["paper", "robust"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(benchmark.group(row), []).append(row)
    for group in groups.values():
        answers = [_gold(row) for row in group]
        if name not in JUDGED:
            assert benchmark.score_group(answers, group, protocol="paper") == 1.0, (group, answers)
        assert benchmark.score_group(answers, group, protocol="robust") == 1.0, (group, answers)
        tagged = [f"<thinking>I look.</thinking><answer>{answer}</answer>" for answer in answers]
        assert benchmark.score_group(tagged, group, protocol="robust") == 1.0, (group, tagged)
        wrong = ["<answer>something else</answer>"] * len(group)
        assert benchmark.score_group(wrong, group, protocol="robust") == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_demo_rows_become_prompts_of_small_pictures(name: str, build: Callable[[str], Any]) -> None:
    benchmark = build(name)
    rows = [
        benchmark.row(record)
        for _, record in DemoRows(prompts=GymSource(), rows_per_benchmark=8).records(benchmark)
    ]
    prompts = [benchmark.prompt(row) for row in rows]
    assert len({prompt.id for prompt in prompts}) == len(prompts) >= 8
    assert {prompt.task for prompt in prompts} == {benchmark.task}
    assert {image.size for prompt in prompts for image in prompt.images} == {(64, 64)}
    assert all(len(prompt.images) == 1 for prompt in prompts)


def test_words_of_the_gym_are_right_where_options_have_them(build: Callable[[str], Any]) -> None:
    for name in ("mmmu", "mmbench", "mmstar", "embspatial"):
        benchmark = build(name)
        for _, record in DemoRows(prompts=GymSource(), rows_per_benchmark=8).records(benchmark):
            row = benchmark.row(record)
            word = row["choices"][row["answer"]] if row.get("choices") else row["answer"]
            assert benchmark.score(f"<answer>{word}</answer>", row, protocol="robust") == 1.0


def test_the_same_rows_come_in_every_run_and_no_two_benchmarks_share_a_picture(
    build: Callable[[str], Any],
) -> None:
    def drawn(name: str) -> list[tuple[str, str]]:
        found = DemoRows(prompts=GymSource(), rows_per_benchmark=6).records(build(name))
        return [
            (
                place,
                repr(
                    {
                        key: value
                        for key, value in record.items()
                        if not isinstance(value, Image.Image)
                    }
                ),
            )
            for place, record in found
        ]

    places = {name: drawn(name) for name in ("refcoco", "refcocog", "mmbench")}
    assert places["mmbench"] == drawn("mmbench")
    assert not {place for place, _ in places["refcoco"]} & {
        place for place, _ in places["refcocog"]
    }
    assert all(place.startswith("gym/heldout/") for found in places.values() for place, _ in found)


def test_passes_of_a_question_stay_together_and_move_the_answer(
    build: Callable[[str], Any],
) -> None:
    mmbench = build("mmbench")
    rows = [
        mmbench.row(record)
        for _, record in DemoRows(prompts=GymSource(), rows_per_benchmark=10).records(mmbench)
    ]
    assert len(rows) == 12
    for start in range(0, 12, 4):
        group = rows[start : start + 4]
        assert len({mmbench.group(row) for row in group}) == 1
        assert sorted(row["answer"] for row in group) == ["A", "B", "C", "D"]
        assert len({row["choices"][row["answer"]] for row in group}) == 1


def test_the_whole_suite_is_drawn_in_seconds(build: Callable[[str], Any]) -> None:
    benchmarks, start = [build(name) for name in NAMES], time.perf_counter()
    rows = [
        b.row(record) for b in benchmarks for _, record in DemoRows(prompts=GymSource()).records(b)
    ]
    assert len(rows) == 18 * 24
    assert time.perf_counter() - start < 10


def test_a_source_that_ends_begins_again(build: Callable[[str], Any]) -> None:
    class Three:
        def size(self, task: str, split: str) -> int:
            return 3

        def get(self, task: str, index: int, split: str) -> Prompt:
            assert index < 3
            image = Image.new("RGB", (64, 64))
            return Prompt(
                id=f"{index}",
                task=task,
                text="how many?",
                images=(image,),
                answer=str(7 + index),
                answer_type="numerical",
            )

    found = DemoRows(prompts=Three(), rows_per_benchmark=4, split="train").records(
        build("mathvision")
    )
    assert [record["answer"] for _, record in found] == ["8", "9", "7", "8"]


@pytest.mark.parametrize("rows", [0, 2000])
def test_a_number_of_rows_out_of_range_is_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=r"eval\.rows\.rows_per_benchmark: expected 1 to 991 rows"):
        DemoRows(prompts=GymSource(), rows_per_benchmark=rows)


def _demo(benchmark: Any, count: int = 48) -> list[dict[str, Any]]:
    source = DemoRows(prompts=GymSource(), rows_per_benchmark=count)
    return [benchmark.row(record) for _, record in source.records(benchmark)]


@pytest.mark.parametrize("name", ["mmmu", "mmbench", "mmstar", "ai2d", "mathverse", "embspatial"])
def test_every_letter_is_right_equally_often(name: str, build: Callable[[str], Any]) -> None:
    rows = [row for row in _demo(build(name)) if row.get("choices")]
    letters = Counter(row["answer"] for row in rows)
    assert set(letters) == set("ABCD")
    assert max(letters.values()) - min(letters.values()) <= 4, letters


@pytest.mark.parametrize("name", ["ai2d", "mathverse"])
def test_the_size_of_a_number_does_not_tell_the_right_option(
    name: str, build: Callable[[str], Any]
) -> None:
    rows = [row for row in _demo(build(name), 96) if row.get("choices")]
    ranks = Counter(
        sorted(row["choices"], key=lambda letter: float(row["choices"][letter])).index(
            row["answer"]
        )
        for row in rows
    )
    assert max(ranks.values()) <= 0.5 * len(rows), ranks


def test_yes_and_no_are_right_equally_often(build: Callable[[str], Any]) -> None:
    rows = [row for row in _demo(build("robospatial")) if row["binary"]]
    words = Counter(row["answer"] for row in rows)
    assert words["yes"] == words["no"] == 16
    sides = Counter((row["answer"], "left half" in row["question"]) for row in rows)
    assert len(sides) == 4  # the side that is asked does not give the answer away


@pytest.mark.parametrize("name", ["mathvista", "mathvision", "chartqa", "docvqa", "ocrbench"])
def test_no_open_answer_is_right_in_more_than_a_quarter_of_the_rows(
    name: str, build: Callable[[str], Any]
) -> None:
    benchmark = build(name)
    golds = Counter(benchmark.gold_completion(row) for row in _demo(benchmark))
    assert golds.most_common(1)[0][1] <= 48 / 4, golds
