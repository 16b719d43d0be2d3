"""The user's functions are tried before weights are loaded."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo.prompt import Prompt
from g2rpo.reward.functions import FunctionsReward
from g2rpo.training.reward_trial import try_functions

FUNCTIONS = """
def right(completion, answer):
    return float(answer in completion)

def negative(completion, answer):
    return -3.0

def needs(completions, level, **kwargs):
    return [1.0] * len(completions)

def only_math(completions, task, **kwargs):
    return [1.0 if t == "math" else None for t in task]

def text(completion, answer):
    return "yes"
"""


class Shelf:
    """One prompt of each task; reading its pictures takes too long."""

    def size(self, task: str, split: str) -> int | None:
        return 1

    def get(self, task: str, index: int, split: str) -> Prompt:
        raise AssertionError("the pictures were read")

    def without_images(self, task: str, index: int, split: str) -> Prompt:
        return Prompt(
            id=f"rows/{index}",
            task=task,
            text="Between <think> and </think>, and <answer> and </answer>.",
            images=(),
            answer="3",
            answer_type="numerical",
            meta={"file": "rows.jsonl", "line": 1},
            columns={"text": "?"},
        )


@pytest.fixture
def tried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """`tried("right", accuracy=...)` returns what is logged."""
    caplog.set_level(logging.INFO)
    (tmp_path / "mine.py").write_text(FUNCTIONS)

    def run(*names: str, **given: Any) -> list[str]:
        places = [f"{tmp_path / 'mine.py'}:{name}" for name in names]
        reward = FunctionsReward(functions=places, **given)
        try_functions(Shelf(), reward, tasks=("math", "chart"), functions=reward)
        return caplog.messages

    return run


def test_the_log_says_which_kind_each_function_is(tried: Callable[..., list[str]]) -> None:
    first, second = tried("right", "only_math", weights=[1.0, 0.5])
    assert first.startswith("reward: right = /")
    assert first.endswith("mine.py:right: plain, called once per completion, weight 1")
    assert second.endswith(
        ":only_math: trl, completions as text, called once per group, weight 0.5"
    )


@pytest.mark.parametrize(
    ("names", "given", "words"),
    [
        (("needs",), {}, r"rows\.jsonl, line 1: prompt 'rows/0': .*takes 'level', and no field"),
        (("text",), {}, r"mine\.py:text returned 'yes' \(str\), expected a number"),
        (("only_math",), {}, "every function returned None for a prompt of the task 'chart'"),
        (("right",), {"accuracy": "rihgt"}, r"^reward\.accuracy: no function returns a part 'rihg"),
    ],
)
def test_what_cannot_work_ends_the_run(
    tried: Callable[..., list[str]], names: tuple[str, ...], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        tried(*names, **given)
    assert "\n" not in str(caught.value)


def test_an_accuracy_outside_of_0_and_1_is_warned_of(tried: Callable[..., list[str]]) -> None:
    assert not any("expect it in [0, 1]" in line for line in tried("right", "negative"))
    assert any("is -3 for rows.jsonl, line 1" in line for line in tried("negative"))
