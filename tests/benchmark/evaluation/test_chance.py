"""What a blind guess scores: by hand, and by guessing."""

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from g2rpo.benchmark.evaluation.by_name import benchmark_names, benchmark_settings
from g2rpo.benchmark.evaluation.chance import chance
from g2rpo.benchmark.evaluation.plan import make_plan
from g2rpo.benchmark.evaluation.suite import built
from g2rpo.benchmark.rows.demo import DemoRows
from g2rpo.data.gym.source import GymSource

BENCHMARKS = {name: built(benchmark_settings(name), name) for name in benchmark_names()}


def demo_groups(name: str, rows: int = 48) -> list[list[dict[str, Any]]]:
    source = DemoRows(prompts=GymSource(), rows_per_benchmark=rows)
    return make_plan(BENCHMARKS[name], source, limit=None, seed=0, max_unusable_frac=0.0).groups


def choice(letters: str, answer: str = "A") -> dict[str, Any]:
    return {"id": 1, "question": "?", "answer": answer, "choices": dict.fromkeys(letters, "x")}


def test_one_option_in_n_is_guessed_and_a_mean_is_taken_over_questions() -> None:
    groups = [[choice("ABCD")], [choice("AB")], [choice("ABC")]]
    assert chance(BENCHMARKS["mmstar"], groups, "paper") == pytest.approx(
        (1 / 4 + 1 / 2 + 1 / 3) / 3
    )


def test_passes_of_one_question_are_right_as_often_as_one() -> None:
    assert chance(BENCHMARKS["mmbench"], [[choice("ABCD")] * 4], "paper") == 0.25


def test_an_open_question_gets_the_best_fixed_answer() -> None:
    # 40 also passes for 41, which is within 5 %; 75 and 90 do not
    groups = [[{"id": i, "answer": gold}] for i, gold in enumerate(["75", "40", "41", "40", "90"])]
    assert chance(BENCHMARKS["chartqa"], groups, "paper") == pytest.approx(3 / 5)


def test_yes_or_no_and_points_are_guessed_apart() -> None:
    yes, no = ({"answer": word, "binary": True} for word in ("yes", "no"))
    place = {"answer": "[(0.1, 0.12), (0.3, 0.1), (0.3, 0.28), (0.12, 0.3)]", "binary": False}
    other = {"answer": "[(0.6, 0.62), (0.8, 0.6), (0.8, 0.78), (0.62, 0.8)]", "binary": False}
    groups = [[yes], [yes], [yes], [no], [place], [other]]
    assert chance(BENCHMARKS["robospatial"], groups, "paper") == pytest.approx((4 * 0.75 + 1) / 6)


def test_chance_is_unknown_where_only_a_judge_can_score() -> None:
    groups = demo_groups("charxiv_rq", 4)
    assert chance(BENCHMARKS["charxiv_rq"], groups, "paper") is None
    assert chance(BENCHMARKS["charxiv_rq"], groups, "robust") == pytest.approx(0.25, abs=0.26)


@pytest.mark.parametrize("name", ["mmstar", "ai2d", "embspatial", "mmmu"])
def test_letters_drawn_at_random_score_chance(name: str) -> None:
    rng, benchmark = Random(0), BENCHMARKS[name]
    groups = [group for group in demo_groups(name) if group[0].get("choices")]
    tries = [
        benchmark.score(rng.choice("ABCD"), row, protocol="paper")
        for _ in range(40)
        for group in groups
        for row in group
    ]
    # 1,600 draws and more: four standard errors are 0.043
    assert sum(tries) / len(tries) == pytest.approx(chance(benchmark, groups, "paper"), abs=0.045)


def _same_for_all(name: str, answer: str) -> float:
    groups = demo_groups(name)
    return sum(BENCHMARKS[name].score(answer, group[0]) for group in groups) / len(groups)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("mathvista", "2"),
        ("mathvision", "2"),
        ("chartqa", "50"),
        ("docvqa", "4"),
        ("ocrbench", "1"),
        ("refcoco", '{"boxes": [250, 250, 750, 750]}'),
        ("refspatial", '[{"point_2d": [500, 500]}]'),
    ],
)
def test_no_plausible_fixed_answer_beats_chance(name: str, answer: str) -> None:
    found = chance(BENCHMARKS[name], demo_groups(name), "paper")
    assert found is not None
    assert _same_for_all(name, answer) <= found + 1e-9 < 0.5


def test_a_benchmark_that_gives_no_right_completion_has_no_chance() -> None:
    needed = ("row", "prompt", "judgment", "score", "score_group", "group", "subscores")
    theirs = SimpleNamespace(
        name="theirs", task="chart", protocols=("paper",), **dict.fromkeys(needed, len)
    )
    assert chance(theirs, [[{"answer": "4"}]], "paper") is None
