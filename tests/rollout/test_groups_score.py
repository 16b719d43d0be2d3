import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from g2rpo.records import Prompt, PromptBatch, Rollouts, Scores
from g2rpo.rollout.groups import Scored, score_rollouts


class LengthReward:
    """Accuracy is the length of the completion over ten; some completions break it."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, Any]:
        scores = {
            "accuracy": len(completion) / 10,
            "format": 1.0,
            "structure": 0.5,
            "total": len(prompt.id) + len(completion) / 10,
        }
        spoilt: dict[str, Callable[[], dict[str, Any]]] = {
            "boom": lambda: scores | {"total": 1 / 0},
            "nan": lambda: scores | {"total": float("nan")},
            "inf": lambda: scores | {"accuracy": float("inf")},
            "text": lambda: scores | {"format": "good"},
            "no total": lambda: {"accuracy": 1.0, "format": 1.0},
            "none": lambda: None,
            "extra": lambda: scores | {"politeness": 0.75},
        }
        return spoilt.get(completion, lambda: scores)()


def _rollouts(*texts: str, prompt: list[int]) -> Rollouts:
    blank = torch.zeros(len(texts), 1)
    return Rollouts(
        completion_ids=blank.long(),
        completion_mask=blank == 0,
        old_logprobs=blank,
        prompt=torch.tensor(prompt),
        finished=torch.ones(len(texts), dtype=torch.bool),
        texts=texts,
    )


@pytest.fixture
def score(made: Callable[..., PromptBatch]) -> Callable[..., Scored]:
    def of(*texts: str, budget: float = 1.0) -> Scored:
        batch = made(("a", "math", 0), ("b", "chart", 1))
        return score_rollouts(
            LengthReward(),
            batch.prompts,
            _rollouts(*texts, prompt=[0, 0, 1, 1][: len(texts)]),
            budget,
        )

    return of


def test_every_completion_is_judged_for_its_prompt(score: Callable[..., Scored]) -> None:
    scored = score("aa", "", "ccccc", "d", budget=0.0)
    assert scored.scores.parts.keys() == {"accuracy", "format", "structure"}
    assert scored.scores.parts["accuracy"].tolist() == pytest.approx([0.2, 0.0, 0.5, 0.1])
    assert scored.scores.total.tolist() == pytest.approx([1.2, 1.0, 1.5, 1.1])
    assert not scored.failed.any()


def test_the_reward_gets_the_prompt_that_a_completion_answers(
    made: Callable[..., PromptBatch],
) -> None:
    class Owner:
        def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
            return dict.fromkeys(
                ("accuracy", "format", "structure", "total"), float(ord(prompt.id))
            )

    prompts = made(("a", "math", 0), ("b", "chart", 1), ("c", "math", 0)).prompts
    scored = score_rollouts(
        Owner(), prompts, _rollouts("u", "v", "w", "x", prompt=[2, 0, 1, 1]), 0.0
    )
    assert scored.scores.total.tolist() == [99.0, 97.0, 98.0, 98.0]


@pytest.mark.parametrize("trouble", ["boom", "nan", "inf", "text", "no total", "none"])
def test_a_completion_that_cannot_be_judged_counts_zero_and_is_marked(
    trouble: str, score: Callable[..., Scored]
) -> None:
    scored = score("aa", trouble, "cccc", "", budget=0.25)
    assert scored.failed.tolist() == [False, True, False, False]
    assert scored.scores.total.tolist() == pytest.approx([1.2, 0.0, 1.4, 1.0])
    assert scored.scores.parts["accuracy"].tolist() == pytest.approx([0.2, 0.0, 0.4, 0.0])
    assert scored.scores.parts["format"].tolist() == [1.0, 0.0, 1.0, 1.0]


def test_more_failures_than_the_budget_stop_the_run_with_the_first_record(
    score: Callable[..., Scored],
) -> None:
    message = (
        r"reward: 2 of 4 completions could not be judged, more than reward_failures=0\.49 allows\. "
        r"First: prompt 'a': ZeroDivisionError: .*; completion 'boom'"
    )
    with pytest.raises(RuntimeError, match=message):
        score("aa", "boom", "nan", "d", budget=0.49)
    assert score("aa", "boom", "nan", "d", budget=0.5).failed.sum() == 2


def test_a_record_from_a_file_is_named_with_its_line() -> None:
    prompt = Prompt(
        id="rows/4",
        task="math",
        text="?",
        images=(),
        answer="1",
        answer_type="numerical",
        meta={"file": "data/rows.jsonl", "line": 5},
    )
    with pytest.raises(
        RuntimeError, match=r"First: prompt 'rows/4' \(data/rows.jsonl, line 5\): ZeroDivisionError"
    ):
        score_rollouts(LengthReward(), [prompt], _rollouts("boom", prompt=[0]), 0.0)


def test_a_nan_is_named(score: Callable[..., Scored]) -> None:
    with pytest.raises(
        RuntimeError,
        match=(
            r"prompt 'b': ValueError: reward returned total=nan, expected a finite number;"
            r" completion 'nan'"
        ),
    ):
        score("aa", "b", "nan", budget=0.0)


def test_a_part_that_only_some_completions_have_is_absent_elsewhere(
    score: Callable[..., Scored],
) -> None:
    absent, polite, failed, other = (
        score("aa", "extra", "boom", "d").scores.parts["politeness"].tolist()
    )
    assert (math.isnan(absent), polite, math.isnan(other)) == (True, 0.75, True)
    assert math.isnan(failed)  # of another task than the polite one


def test_a_failed_completion_gets_zero_in_the_parts_of_its_task(
    score: Callable[..., Scored],
) -> None:
    assert score("boom", "extra", "c").scores.parts["politeness"].tolist()[:2] == [0.0, 0.75]


def test_an_accuracy_that_is_only_logged_is_the_accuracy() -> None:
    parts = {
        "brevity": torch.tensor([3.0, 4.0, 5.0]),
        "accuracy": torch.tensor([math.nan, 0.25, 0.0]),
        "log/accuracy": torch.tensor([1.0, math.nan, 0.5]),
    }
    scores = Scores(total=torch.zeros(3), parts=parts)
    assert scores.accuracy.tolist() == [1.0, 0.25, 0.5]
    assert Scores(total=torch.zeros(3), parts={"accuracy": parts["brevity"]}).accuracy.tolist() == [
        3.0,
        4.0,
        5.0,
    ]


def test_when_nothing_could_be_judged_all_scores_are_zero(score: Callable[..., Scored]) -> None:
    scored = score("boom", "nan", budget=1.0)
    assert scored.failed.tolist() == [True, True]
    assert scored.scores.parts["accuracy"].tolist() == [0.0, 0.0]
    assert scored.scores.total.tolist() == [0.0, 0.0]


def test_no_exception_of_the_user_is_swallowed(made: Callable[..., PromptBatch]) -> None:
    class Stopped:
        def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_rollouts(Stopped(), made(("a", "math", 0)).prompts, _rollouts("x", prompt=[0]), 1.0)
