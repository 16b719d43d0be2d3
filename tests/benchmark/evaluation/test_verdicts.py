"""Verdicts on completions; what a benchmark or a judge raises costs the row and not the run."""

from typing import Any

import pytest
from PIL import Image

from g2rpo.benchmark.evaluation.verdicts import judge_name, judged
from g2rpo.benchmark.refcoco import RefCoco


def test_a_row_alone_has_its_own_score_as_that_of_its_group(world: Any) -> None:
    (verdict,) = judged(world.Sums(), [world.record(1, "7")], ["half"], protocol="paper")
    assert verdict == {
        "score": 0.5,
        "group_score": 0.5,
        "parsed": True,
        "answer": "half",
        "by": "rule",
        "protocol": "paper",
        "judge": None,
        "prediction": "half",
    }


def test_rows_that_count_together_have_the_score_of_the_benchmark(world: Any) -> None:
    rows = [world.record(1, "7"), world.record(2, "8")]
    verdicts = judged(world.Sums(), rows, ["7", "half"], protocol="paper")
    assert [(verdict["score"], verdict["group_score"]) for verdict in verdicts] == [
        (1.0, 0.5),
        (0.5, 0.5),
    ]


def test_the_protocol_reaches_the_benchmark(world: Any) -> None:
    scores = {
        p: judged(world.Sums(), [world.record(1, "7")], ["7."], protocol=p)[0]["score"]
        for p in ("paper", "robust")
    }
    assert scores == {"paper": 0.0, "robust": 1.0}


@pytest.mark.parametrize(
    ("completion", "score", "parsed"),
    [
        ("<thinking>7 or 8?</thinking>\n<answer> 7 </answer>", 1.0, True),
        ("<think>8</think>so \\boxed{7}", 1.0, True),
        ("<thinking>7", 0.0, False),
    ],
)
def test_what_was_thought_is_taken_off_before_a_benchmark_reads_the_answer(
    completion: str, score: float, parsed: bool, world: Any
) -> None:
    for rows in ([world.record(1, "7")], [world.record(1, "7"), world.record(2, "7")]):
        verdict = judged(world.Sums(), rows, [completion] * len(rows), protocol="paper")[0]
        assert (verdict["score"], verdict["group_score"], verdict["parsed"]) == (
            score,
            score,
            parsed,
        )


def test_a_judge_decides_and_is_named(world: Any) -> None:
    def strict(text: str) -> str:
        return "no"

    (verdict,) = judged(world.Sums(), [world.record(1, "7")], ["7"], protocol="paper", judge=strict)
    assert (verdict["score"], verdict["by"], verdict["judge"]) == (0.0, "judge", "strict")
    assert judge_name(None) is None


def test_a_completion_that_breaks_the_benchmark_counts_0_and_its_group_too(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [world.record(1, "7"), world.record(2, "8")]
    verdicts = judged(world.Sums(), rows, ["7", "crash"], protocol="paper")
    assert [(v["score"], v["group_score"], v["parsed"], v["by"]) for v in verdicts] == [
        (1.0, 0.0, True, "rule"),
        (0.0, 0.0, False, "failed"),
    ]
    assert verdicts[1]["error"] == "KeyError: 'crash'"
    assert "sums, row 2 could not be judged and counts 0: KeyError: 'crash'" in caplog.text


def test_a_score_outside_its_range_is_a_failure(world: Any) -> None:
    class Generous(world.Sums):
        def judgment(self, *args: Any, **options: Any) -> Any:
            found = super().judgment(*args, **options)
            return type(found)(score=found.score * 100, parsed=True)

    (verdict,) = judged(Generous(), [world.record(1, "7")], ["7"], protocol="paper")
    assert (verdict["score"], verdict["by"], verdict["error"]) == (
        0.0,
        "failed",
        "ValueError: expected a score in [0, 1], got 100.0",
    )


def test_a_group_is_judged_with_the_judge_and_each_prompt_is_asked_once(world: Any) -> None:
    asked: list[str] = []
    rows = [world.record(1, "7"), world.record(2, "8")]
    verdicts = judged(
        world.Sums(),
        rows,
        ["seven", "eight"],
        protocol="paper",
        judge=lambda prompt: asked.append(prompt) or "yes",
    )
    assert [(verdict["score"], verdict["group_score"]) for verdict in verdicts] == [(1, 1)] * 2
    assert asked == ["seven", "eight"]


def test_a_protocol_may_read_the_whole_completion() -> None:
    row = RefCoco().row(
        {"bbox": [1, 1, 5, 5], "answer": "cat", "image": Image.new("RGB", (10, 10)), "id": 1}
    )
    box = '<answer>{"boxes": [100, 100, 600, 600]}</answer>'
    for text, score in ((f"<think>{box}", 1.0), (f"<think>so</think>{box}", 1.0), ("<think>", 0.0)):
        (verdict,) = judged(RefCoco(), [row], [text], protocol="paper")
        assert (verdict["score"], verdict["prediction"]) == (score, text)
