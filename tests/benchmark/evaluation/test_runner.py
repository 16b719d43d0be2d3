"""A benchmark worked off: every row asked once, also over kills; judged again only where that is
asked for.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo.benchmark.evaluation.plan import make_plan
from g2rpo.benchmark.evaluation.runner import BenchmarkRun, Generation, Outcome, Scoring
from g2rpo.records import Sampling

ANSWERS = {"q1?": "1", "q2?": "half", "q3?": "1.", "q4?": "1", "q5?": "cut", "q6?": "1"}
"""All golds are 1: right, half, wrong, right, wrong and cut, right."""


@pytest.fixture
def run(world: Any, tmp_path: Path) -> Callable[..., Outcome]:
    """`run(engine)`: the six rows, the fourth and fifth of which count together, two at a time."""

    def start(
        engine: Any,
        *,
        benchmark: Any = None,
        judge: Any = None,
        protocol: str = "paper",
        **options: Any,
    ) -> Outcome:
        benchmark = benchmark or world.Sums()
        records = options.pop(
            "records",
            [
                world.record(i, block="x" if i in (4, 5) else f"r{i}", category="ab"[i % 2])
                for i in range(1, 7)
            ],
        )
        plan = make_plan(
            benchmark,
            world.Listed(sums=records),
            limit=options.pop("limit", None),
            seed=0,
            max_unusable_frac=options.get("max_unusable_frac", 0),
        )
        generation = Generation(
            **{
                "engine": engine,
                "encoder": world.IdEncoder(),
                "device": "cpu",
                "sampling": Sampling(group_size=1, max_new_tokens=4, temperature=0),
                "batch_rows": 2,
                "make_prompt": benchmark.prompt,
                "seed": 0,
                "max_unusable_frac": 0.0,
            }
            | options
        )
        heard: list[int] = []
        found = BenchmarkRun(
            plan=plan,
            generation=generation,
            scoring=Scoring(protocol=protocol, judge=judge),
            folder=tmp_path,
        ).run(heard.append)
        assert sum(heard) == found.numbers["rows"]
        return found

    return start


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "sums.jsonl").read_text().splitlines()]


def test_scores_are_means_over_groups_and_rates_over_rows(
    world: Any, run: Callable[..., Outcome]
) -> None:
    engine = world.Answering(ANSWERS)
    numbers = run(engine).numbers
    # groups: 1, 0.5, 0, min(1, 0), 1; odd rows are category b: 1, 0 and the group, even ones a:
    # 0.5, the group and 1
    assert numbers["score"] == 0.5
    assert (numbers["sub/category/a"], numbers["sub/category/b"]) == pytest.approx((0.5, 1 / 3))
    assert [numbers[name] for name in ("rows", "groups", "parsed", "truncated", "tokens")] == [
        6,
        5,
        5,
        1,
        18,
    ]
    # whole groups, two rows at a time, with the evaluation's own sampling
    assert [[id.removeprefix("sums/") for id in batch] for batch in engine.asked] == [
        ["1", "2"],
        ["3"],
        ["4", "5"],
        ["6"],
    ]
    assert {(s.group_size, s.temperature, s.max_new_tokens) for s in engine.samplings} == {
        (1, 0, 4)
    }


def test_every_row_has_a_position_of_its_own_which_a_resumed_run_has_too(
    world: Any, run: Callable[..., Outcome]
) -> None:
    killed, resumed = world.Answering(ANSWERS, dies_at=3), world.Answering(ANSWERS)
    with pytest.raises(KeyboardInterrupt):
        run(killed, seed=5)
    run(resumed, seed=5)
    assert [*killed.positions, *resumed.positions] == [[0, 1], [2], [3, 4], [5]]


def test_every_row_is_written_with_all_that_judges_it(
    world: Any, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    run(world.Answering(ANSWERS))
    rows = lines(tmp_path)
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert rows[4] == {
        "id": "5",
        "group": "x",
        "task": "math",
        "question": "q5?",
        "gold": "1",
        "completion": "cut",
        "tokens": 3,
        "truncated": True,
        "prompted_as": "paper",
        "subscores": ["category/b"],
        "score": 0.0,
        "group_score": 0.0,
        "parsed": False,
        "answer": "cut",
        "by": "rule",
        "protocol": "paper",
        "judge": None,
        "prediction": "cut",
        "row": {"id": 5, "question": "q5", "answer": "1", "block": "x", "category": "b"},
    }


@pytest.mark.parametrize("torn", [False, True])
def test_a_killed_run_goes_on_and_generates_nothing_twice(
    world: Any, run: Callable[..., Outcome], tmp_path: Path, torn: bool
) -> None:
    killed = world.Answering(ANSWERS, dies_at=3)
    with pytest.raises(KeyboardInterrupt):
        run(killed)
    assert len(lines(tmp_path)) == 3
    if torn:
        text = (tmp_path / "sums.jsonl").read_text()
        (tmp_path / "sums.jsonl").write_text(text[:-40])
    resumed = world.Answering(ANSWERS)
    found = run(resumed)
    again = ["sums/3"] if torn else []
    asked = [id for batch in (*killed.asked, *resumed.asked) for id in batch]
    assert sorted(asked) == sorted([f"sums/{i}" for i in range(1, 7)] + again)
    whole = lines(tmp_path)
    (tmp_path / "sums.jsonl").unlink()
    assert run(world.Answering(ANSWERS)).numbers == found.numbers
    assert lines(tmp_path) == whole


def test_a_group_of_which_a_part_was_lost_is_completed(
    world: Any, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    numbers = run(world.Answering(ANSWERS)).numbers
    whole = lines(tmp_path)
    (tmp_path / "sums.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in whole if row["id"] != "4")
    )
    engine = world.Answering(ANSWERS)
    assert run(engine).numbers == numbers
    assert engine.asked == [["sums/4"]]
    assert lines(tmp_path) == whole


def test_another_protocol_or_judge_judges_again_and_generates_nothing(
    world: Any, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    run(world.Answering(ANSWERS))
    engine = world.Answering({})
    assert run(engine, protocol="robust").numbers["score"] == 0.7
    assert {row["protocol"] for row in lines(tmp_path)} == {"robust"}
    judged = run(
        engine, protocol="robust", judge=lambda text: "yes" if text == "half" else "no"
    ).numbers
    assert (judged["score"], judged["by_judge"]) == (0.2, 6)
    assert engine.asked == []


def test_what_failed_is_judged_again(world: Any, run: Callable[..., Outcome]) -> None:
    calls = iter(["down"] * 6)

    def judge(text: str) -> str:
        if next(calls, None):
            raise ConnectionError("no answer")
        return "yes"

    engine = world.Answering(ANSWERS)
    first = run(engine, judge=judge).numbers
    assert (first["score"], first["failed"], first["parsed"]) == (0.0, 6, 0)
    second = run(engine, judge=judge).numbers
    assert (second["failed"], second["parsed"], second["by_judge"]) == (0, 6, 6)
    assert sum(map(len, engine.asked)) == 6


def test_an_answer_to_another_prompt_is_not_taken_over(
    world: Any, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    run(world.Answering(ANSWERS))
    records = [
        world.record(i, block="x" if i in (4, 5) else f"r{i}", category="ab"[i % 2])
        for i in range(1, 7)
    ]
    records[1]["question"] = "q1"
    engine = world.Answering(ANSWERS)
    run(engine, records=records)
    assert engine.asked == [["sums/2"]]
    assert [(row["question"], row["completion"]) for row in lines(tmp_path)][:2] == [
        ("q1?", "1")
    ] * 2


def test_rows_that_are_no_longer_asked_for_are_refused(
    world: Any, run: Callable[..., Outcome]
) -> None:
    run(world.Answering(ANSWERS))
    with pytest.raises(
        ValueError,
        match=(
            r"sums\.jsonl holds 4 rows that this evaluation does not use, the first is '1':"
            r" eval\.limit, eval\.seed or"
        ),
    ):
        run(world.Answering(ANSWERS), records=[world.record(4), world.record(5)])


def test_a_larger_limit_asks_only_what_is_new(world: Any, run: Callable[..., Outcome]) -> None:
    engine = world.Answering(ANSWERS)
    assert run(engine, limit=3).numbers["rows"] <= 3
    assert run(engine).numbers["rows"] == 6
    assert sorted(id for batch in engine.asked for id in batch) == [
        f"sums/{i}" for i in range(1, 7)
    ]


def test_a_row_whose_image_cannot_be_read_leaves_with_its_group_and_is_named(
    world: Any, run: Callable[..., Outcome], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = [world.record(i, block="x" if i in (4, 5) else f"r{i}") for i in range(1, 7)]
    records[3]["images"] = ("broken.png",)
    found = run(world.Answering(ANSWERS), records=records, max_unusable_frac=0.2)
    assert found.unusable == ["prompt 'sums/4': image broken.png cannot be read"]
    assert [row["id"] for row in lines(tmp_path)] == ["1", "2", "3", "6"]
    assert (found.numbers["score"], found.numbers["groups"]) == (2.5 / 4, 4)
    assert "sums: left out prompt 'sums/4': image broken.png cannot be read" in caplog.text
    with pytest.raises(
        RuntimeError,
        match=r"sums: 1 of 6 rows cannot be used.*First: prompt 'sums/4': image broken\.png",
    ):
        run(world.Answering(ANSWERS), records=records, max_unusable_frac=0.1)


def test_images_are_forgotten_once_they_are_answered_unless_they_are_needed_again(
    world: Any, tmp_path: Path
) -> None:
    for keep in (False, True):
        plan = make_plan(
            world.Sums(),
            world.Listed(sums=[world.record(1)]),
            limit=None,
            seed=0,
            max_unusable_frac=0,
        )
        generation = Generation(
            engine=world.Answering(ANSWERS),
            encoder=world.IdEncoder(),
            device="cpu",
            sampling=Sampling(group_size=1, max_new_tokens=4),
            batch_rows=2,
            make_prompt=plan.benchmark.prompt,
            seed=0,
            max_unusable_frac=0,
            keep_images=keep,
        )
        BenchmarkRun(
            plan=plan,
            generation=generation,
            scoring=Scoring(protocol="paper"),
            folder=tmp_path / str(keep),
        ).run(lambda count: None)
        assert bool(plan.groups[0][0]["images"]) == keep


@pytest.mark.process
@pytest.mark.slow
def test_two_ranks_share_the_rows_and_agree_on_every_number(
    world: Any, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    records = [
        world.record(i, block="x" if i in (4, 5) else f"r{i}", category="ab"[i % 2])
        for i in range(1, 8)
    ]
    alone = run(
        world.Answering({f"q{i}?": "1" if i % 3 else "half" for i in range(1, 8)}), records=records
    ).numbers
    written = lines(tmp_path)
    # two of the rows are there already: rank 0 takes them over for both
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "sums.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in written[:2])
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = str(Path(__file__).with_name("runner_ranks.py"))
    started = [
        subprocess.Popen(
            [sys.executable, script, str(rank), port, str(tmp_path / "two")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert found[0]["numbers"] == found[1]["numbers"] == alone
    assert [sorted(one["asked"]) for one in found] == [
        ["sums/3", "sums/6"],
        ["sums/4", "sums/5", "sums/7"],
    ]
    assert [
        json.loads(line) for line in (tmp_path / "two" / "sums.jsonl").read_text().splitlines()
    ] == written
