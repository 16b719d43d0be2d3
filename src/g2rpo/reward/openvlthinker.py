"""The multi-task reward of OpenVLThinker-v2: one formula, a judge per answer type.

    total = (1 - format_weight) * accuracy + format_weight * format + structure

`format` is 1 for `<thinking>...</thinking><answer>...</answer>` and nothing else, `structure` the
share of the asked JSON structure times `structure_weight` (the whole weight for answers that need
none), 0 where the format fails. With the released weights the total lies in [0, 1.5], and a broken
format costs 0.6. Rules, examples and deviations from the release: docs/rewards.md.
"""

from collections.abc import Mapping
from functools import partial

from g2rpo.prompt import Prompt
from g2rpo.reward import grounding
from g2rpo.reward.by_type import AnswerType, JudgedByType, Verdict, gold_text, tolerance_of
from g2rpo.scoring import math
from g2rpo.scoring.choice import option, same_option
from g2rpo.scoring.extract import final_answer, keeps_format, tidy_tags
from g2rpo.scoring.number import (
    equal_to_two_decimals,
    mean_relative_accuracy,
    read_number,
    relaxed_match,
)
from g2rpo.scoring.text import rouge, word_accuracy

CHARTQA_TOLERANCE = 0.05


class OpenVLThinkerReward:
    """Reward by the prompt's answer type, as released. It can be sent to a worker process."""

    def __init__(
        self, *, format_weight: float = 0.1, structure_weight: float = 0.5, bare_latex: bool = False
    ) -> None:
        """Set the weights.

        Args:
            format_weight: share of the total, in [0, 1], that the format takes from the accuracy.
            structure_weight: reward, at least 0, for an answer that has the whole of the asked
                structure in the right format.
            bare_latex: read a `math` answer or gold answer that is LaTeX without dollar signs,
                where the release reads nothing.
        """
        equal = AnswerType(
            expected="an expression",
            read_gold=_gold_text,
            judge=partial(_math, bare_latex=bare_latex),
        )
        types = {**PLAIN_TYPES, **grounding.TYPES, "math": equal}
        self.by_type = JudgedByType(
            types, format_weight=format_weight, structure_weight=structure_weight
        )

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """Return `accuracy`, `format`, `structure` and `total`.

        `accuracy` and `format` are in [0, 1], `structure` in [0, structure_weight]; `total` is the
        module's formula.

        Raises:
            ValueError: the prompt is broken: unknown answer type, or a gold answer that its type
                cannot read.
        """
        gold = self.by_type.gold(prompt, gold_text(prompt))
        return self.weighed(
            completion, self.by_type.type_of(prompt).judge(self.given_answer(completion), gold)
        )

    def given_answer(self, completion: str) -> str:
        """Return the text in the first pair of `<answer>` tags, or the whole completion."""
        return final_answer(tidy_tags(completion))

    def weighed(self, completion: str, verdict: Verdict) -> dict[str, float]:
        """Return the four numbers for a verdict on the answer, whoever gave it."""
        return self.by_type.weighed(keeps_format(tidy_tags(completion)), verdict)

    def prepare(self) -> None:
        """Import what mathematics needs."""
        math.load()


def _choice(answer: str, gold: str) -> Verdict:
    return Verdict(float(same_option(answer, gold)))


def _numerical(answer: str, gold: float) -> Verdict:
    number = read_number(answer)
    return Verdict(float(number is not None and equal_to_two_decimals(number, gold)))


def _regression(answer: str, gold: float) -> Verdict:
    number = read_number(answer)
    return Verdict(mean_relative_accuracy(number, gold) if number is not None else 0.0)


def _relaxed(answer: str, gold: tuple[str, float]) -> Verdict:
    return Verdict(float(relaxed_match(answer, *gold)))


def _ocr(answer: str, gold: str) -> Verdict:
    return Verdict(word_accuracy(answer, gold))


def _open_ended(answer: str, gold: str) -> Verdict:
    return Verdict(rouge(answer, gold))


def _math(answer: str, gold: str, *, bare_latex: bool) -> Verdict:
    return Verdict(float(math.same_mathematics(answer, gold, bare_latex=bare_latex)))


def _gold_text(text: str, prompt: Prompt) -> str | None:
    return text or None


def _gold_option(text: str, prompt: Prompt) -> str | None:
    return text if option(text) else None


def _gold_number(text: str, prompt: Prompt) -> float | None:
    return read_number(text)


def _gold_relaxed(text: str, prompt: Prompt) -> tuple[str, float] | None:
    gold = text, tolerance_of(prompt, CHARTQA_TOLERANCE)
    return gold if text else None


PLAIN_TYPES: Mapping[str, AnswerType] = {
    "multiple choice": AnswerType(
        expected="an option letter", read_gold=_gold_option, judge=_choice
    ),
    "numerical": AnswerType(expected="a finite number", read_gold=_gold_number, judge=_numerical),
    "regression": AnswerType(expected="a finite number", read_gold=_gold_number, judge=_regression),
    "relaxed": AnswerType(expected="a number or words", read_gold=_gold_relaxed, judge=_relaxed),
    "ocr": AnswerType(expected="text", read_gold=_gold_text, judge=_ocr),
    "open ended": AnswerType(expected="text", read_gold=_gold_text, judge=_open_ended),
}
