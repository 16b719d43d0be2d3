"""The three tries: in the tags and the form that the prompt asks for, and what is said of their
verdicts.
"""

from typing import Any

import pytest

from g2rpo.data.gold_tries import ASKED, GOLD, WRONG, asked_form, fault_of, golds_of, tries_of
from g2rpo.data.template import PromptTemplate
from g2rpo.prompt import Failed, Prompt

THINK = "Think between <thinking> and </thinking>, answer between <answer> and </answer>."
HINTS = {
    "math": "Answer with one expression in LaTeX, between dollar signs.",
    "multiple choice": "Answer with the letter of one option.",
    "spatial grounding": 'Answer with JSON: {"boxes": [x0, y0, x1, y1]}, on a grid.',
}


def asked(
    answer: str,
    kind: str = "math",
    *,
    instruction: str = THINK,
    hint: str | None = None,
    **meta: Any,
) -> Prompt:
    hints = HINTS if hint is None else {kind: hint}
    tag = "think" if "<think>" in instruction else "thinking"
    text = PromptTemplate(instruction=instruction, hints=hints, think_tag=tag).text(
        "How many dollar signs?", (), kind
    )
    return Prompt(
        id="1", task="math", text=text, images=(), answer=answer, answer_type=kind, meta=meta
    )


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        (r"2\sqrt{3}", "math", r"$2\sqrt{3}$"),
        (r"$2\sqrt{3}$", "math", r"$2\sqrt{3}$"),
        (r"\(x\)", "math", r"\(x\)"),
        ("50%", "math", r"$50\%$"),
        (r"50\%", "math", r"$50\%$"),
        ("no solution", "math", "no solution"),
        ("C. tall girl", "multiple choice", "C"),
        ("tall girl", "multiple choice", "tall girl"),
        ("AC", "multiple choice", "A, C"),
        ("[1, 2, 3, 4]", "bbox", '{"boxes": [1, 2, 3, 4]}'),
        ('{"boxes": [1, 2, 3, 4]}', "spatial grounding", '{"boxes": [1, 2, 3, 4]}'),
        ("3", "numerical", "3"),
    ],
)
def test_the_asked_form_is_that_of_the_hint(answer: str, kind: str, expected: str) -> None:
    assert asked_form(asked(answer, kind), answer) == expected


def test_a_template_that_asks_for_a_box_or_for_nothing_is_followed() -> None:
    boxed = asked("3", hint="Put your answer in \\boxed{}.")
    assert asked_form(boxed, "3") == r"\boxed{3}"
    assert asked_form(asked("3", hint=""), "3") == "3"  # the question itself speaks of dollar signs


def test_completions_have_the_tags_of_the_prompt() -> None:
    instruction = "Reason in <think> and </think>, then <answer> and </answer>."
    other = tries_of(asked("3", instruction=instruction))
    assert other[0].completion == "<think>...</think><answer>3</answer>"
    plain = tries_of(asked("3", instruction="Answer."))
    assert plain[0].completion == "<thinking>...</thinking><answer>3</answer>"


def test_a_prompt_is_tried_by_its_gold_answers_the_asked_form_and_wrong_ones() -> None:
    tries = tries_of(asked("<answer>x+1</answer>"))
    assert [(tried.name, tried.answer, tried.right) for tried in tries] == [
        (GOLD, "x+1", True),
        (ASKED, "$x+1$", True),
        (WRONG, "$7922$", False),
        (WRONG, "$x+10$", False),
    ]
    several = asked("3", "numerical", alternatives=["3", "4"])
    assert golds_of(several) == ["3", "4"]
    assert [(tried.name, tried.answer) for tried in tries_of(several)] == [
        (GOLD, "3"),
        (GOLD, "4"),
        (ASKED, "3"),
        (WRONG, "7931"),
    ]


def verdicts(prompt: Prompt, *accuracies: float | Failed) -> list[Any]:
    outcomes = [
        value if isinstance(value, Failed) else {"accuracy": value, "format": 1.0, "total": value}
        for value in accuracies
    ]
    return list(zip(tries_of(prompt), outcomes, strict=True))


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ((1, 1, 0, 0), ""),
        ((1, 1, 0.5, 0), ""),  # graded, but less than the right answer
        ((1 - 1e-9, 1, 0, 0), ""),
        (
            (0, 0, 0, 0),
            "the gold answer itself gets accuracy 0 instead of 1; no answer can meet it",
        ),
        (
            (1, 0.5, 0, 0),
            "in the form that the prompt asks for, '$x+1$', gets accuracy 0.5 instead of 1",
        ),
        ((1, 1, 0, 1), "the wrong answer '$x+10$' gets accuracy 1 like the right one"),
        ((float("nan"), 1, 0, 0), "the gold answer itself gets accuracy nan"),
        (
            (1, Failed(reason="TimeoutError: slow"), 0, 0),
            "the reward cannot judge it: TimeoutError: slow",
        ),
    ],
)
def test_verdicts_become_words(accuracies: tuple[Any, ...], words: str) -> None:
    prompt = asked("x+1")
    found = fault_of(prompt, verdicts(prompt, *accuracies))
    assert words in found
    assert bool(found) == bool(words)


def test_an_alternative_that_is_not_accepted_is_named() -> None:
    prompt = asked("3", "numerical", alternatives=["3", "4"])
    found = fault_of(prompt, verdicts(prompt, 1, 0, 1, 0))
    assert found == "'4', one of 2 gold answers, gets accuracy 0 instead of 1"


@pytest.mark.parametrize(
    ("gold", "found"),
    [("D", True), ("A, D", True), ("A, B", False), ("I", False), ("ii", False), ("a thing", False)],
)
def test_an_option_that_does_not_exist_is_named_whatever_the_reward_says(
    gold: str, found: bool
) -> None:
    prompt = asked(gold, "multiple choice", options={"A": "I", "B": "II"})
    assert fault_of(prompt, verdicts(prompt, 1, 1, 0)) == (
        "it is none of the options A, B" if found else ""
    )
