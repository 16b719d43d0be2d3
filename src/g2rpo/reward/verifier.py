"""The default reward: the formula of `reward=openvlthinker`, and answers read as a person does.

    total = (1 - format_weight) * accuracy + format_weight * format + structure

What is read of a completion is its first answer block after the thinking, or the text after the
thinking if there is no block. Thinking that never ended, an empty block, or no text is no answer:
accuracy 0. Rules by answer type: docs/rewards.md.

A gold answer is `prompt.answer`. Further accepted answers are `prompt.meta["alternatives"]`, a list
of texts; it may repeat `prompt.answer`. The best verdict over all of them counts, and each must be
readable. `prompt.meta["options"]` holds the texts of a multiple-choice question by letter, and may
be missing.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from g2rpo.prompt import Prompt
from g2rpo.reward import verified_places
from g2rpo.reward.by_type import (
    AnswerType,
    JudgedByType,
    Verdict,
    gold_text,
    tolerance_of,
    untagged,
)
from g2rpo.scoring.chart import TOLERANCE, same_chart_answer
from g2rpo.scoring.expression import read_quantity, same_expression, same_number
from g2rpo.scoring.extract import (
    THINK_TAGS,
    clean,
    keeps_format,
    tagged,
    tidy_tags,
    unboxed,
    without_thinking,
)
from g2rpo.scoring.letters import answer_letters, bare, gold_letters
from g2rpo.scoring.number import mean_relative_accuracy
from g2rpo.scoring.option import read_option
from g2rpo.scoring.text import readable, reading_accuracy, wording_similarity

USUAL_LETTERS = "ABCDEFGHIJ"
"""Option letters of a question whose options are not known."""
LONGEST_CHOICE = 2000


class VerifierReward:
    """Reward by the prompt's answer type. It can be sent to a worker process.

    Args:
        format_weight: Share of the total, in [0, 1], that the format takes from the accuracy.
        structure_weight: Reward, at least 0, for an answer in the right format that has the whole
            asked structure.
        think_tag: Name of the tags around the thinking that the format asks for: `thinking` or
            `think`. Both are recognized as thinking when the answer is looked for.
    """

    def __init__(
        self,
        *,
        format_weight: float = 0.1,
        structure_weight: float = 0.5,
        think_tag: str = "thinking",
    ) -> None:
        if think_tag not in THINK_TAGS:
            raise ValueError(
                f"reward.think_tag: expected one of {', '.join(THINK_TAGS)}, got {think_tag!r}"
            )
        self.by_type = JudgedByType(
            TYPES, format_weight=format_weight, structure_weight=structure_weight
        )
        self.think_tag = think_tag

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """Return `accuracy`, `format`, `structure` and `total`.

        `accuracy` and `format` are in [0, 1], `structure` in [0, structure_weight]; `total` is the
        module's formula.

        Raises:
            ValueError: The prompt is broken: unknown answer type, or a gold answer that its type
                cannot read.
        """
        judge = self.by_type.type_of(prompt).judge
        golds = self.golds(prompt)
        answer = tagged(without_thinking(completion.replace("\x00", "")))
        verdicts = [judge(answer, gold) for gold in golds]
        return self.weighed(completion, max(verdicts, key=lambda verdict: verdict.accuracy))

    def golds(self, prompt: Prompt) -> list[Any]:
        """Return every accepted answer as its answer type reads it.

        Raises `ValueError` for one that cannot be read.
        """
        golds = [self.by_type.gold(prompt, gold_text(prompt))]
        if "alternatives" in prompt.meta:
            others = prompt.meta["alternatives"]
            if (
                not isinstance(others, Sequence)
                or isinstance(others, str)
                or not all(isinstance(o, str) for o in others)
            ):
                raise ValueError(
                    f"prompt {prompt.id!r}, field meta.alternatives: expected a list of texts, got"
                    f" {others!r}. Correct the record."
                )
            golds += [
                self.by_type.gold(prompt, untagged(text), "meta.alternatives")
                for text in others
                if text != prompt.answer
            ]
        return golds

    def given_answer(self, completion: str) -> str:
        """Return the answer that is judged; empty if the completion gives none."""
        return clean(completion)

    def weighed(self, completion: str, verdict: Verdict) -> dict[str, float]:
        """Return the four numbers for a verdict on the answer, whoever gave it."""
        return self.by_type.weighed(
            keeps_format(tidy_tags(completion, self.think_tag), self.think_tag), verdict
        )

    def prepare(self) -> None:
        """Read one expression, so that the first completion does not pay for caches and imports."""
        same_expression("1", "2")


class Choice(NamedTuple):
    """The gold letters and the option texts by letter; the gold text if there are no letters."""

    letters: frozenset[str]
    options: Mapping[str, str]
    text: str


def _choice(answer: str, gold: Choice) -> Verdict:
    answer = unboxed(answer)
    if not answer:
        return Verdict(0.0)
    if len(gold.letters) > 1:
        return Verdict(float(answer_letters(answer, gold.options) == gold.letters))
    if gold.letters:
        return Verdict(float(read_option(answer, gold.options) in gold.letters))
    got = bare(answer) if len(answer) <= LONGEST_CHOICE else ""
    return Verdict(
        float(got == gold.text or got.endswith((f"answer is {gold.text}", f"answer: {gold.text}")))
    )


def _gold_choice(text: str, prompt: Prompt) -> Choice | None:
    options = prompt.meta.get("options") or {}
    return _read_choice(
        text, tuple((str(letter), str(option)) for letter, option in options.items())
    )


@lru_cache(maxsize=4096)
def _read_choice(text: str, known: tuple[tuple[str, str], ...]) -> Choice | None:
    """Return the gold letters and the options. Cached, because a group shares them."""
    options = dict(known)
    letters = gold_letters(text, options)
    if (
        letters is None
    ):  # options without letters, as in the gym: the gold answer is the text of one
        return Choice(frozenset(), {}, bare(text)) if not options and bare(text) else None
    if not options:
        own = text.partition(".")[2] if len(letters) == 1 else ""
        options = dict.fromkeys(sorted({*USUAL_LETTERS, *letters}), "") | dict.fromkeys(
            letters, own.strip()
        )
    return Choice(letters, options, "")


def _numerical(answer: str, gold: str) -> Verdict:
    return Verdict(float(same_number(answer, gold)))


def _regression(answer: str, gold: float) -> Verdict:
    number = read_quantity(answer)
    return Verdict(mean_relative_accuracy(number, gold) if number is not None else 0.0)


def _relaxed(answer: str, gold: tuple[str, float]) -> Verdict:
    return Verdict(float(same_chart_answer(unboxed(answer), *gold)))


def _ocr(answer: str, gold: str) -> Verdict:
    return Verdict(_best(reading_accuracy, answer, gold))


def _open_ended(answer: str, gold: str) -> Verdict:
    return Verdict(_best(wording_similarity, answer, gold))


def _math(answer: str, gold: str) -> Verdict:
    return Verdict(float(same_expression(answer, gold)))


def _best(similarity: Any, answer: str, gold: str) -> float:
    """Return the best similarity of the text and of the content of its last box.

    An empty answer is worth 0.
    """
    texts = {answer, unboxed(answer)} - {""}
    return max((similarity(text, gold) for text in texts), default=0.0)


@lru_cache(maxsize=8192)
def _accepts_itself(same: Callable[[str, str], bool], gold: str) -> bool:
    """Return whether a gold answer can be read, that is, whether it is judged right as an answer.

    Cached, because a group shares it.
    """
    return same(gold, gold)


def _gold_text(text: str, prompt: Prompt) -> str | None:
    return text if readable(text).strip() else None


def _gold_expression(text: str, prompt: Prompt) -> str | None:
    return text if _accepts_itself(same_expression, text) else None


def _gold_number_text(text: str, prompt: Prompt) -> str | None:
    return text if _accepts_itself(same_number, text) else None


def _gold_number(text: str, prompt: Prompt) -> float | None:
    return read_quantity(text)


def _gold_relaxed(text: str, prompt: Prompt) -> tuple[str, float] | None:
    gold = text, tolerance_of(prompt, TOLERANCE)
    return gold if _accepts_itself(same_chart_answer, text) else None


TYPES: Mapping[str, AnswerType] = {
    "multiple choice": AnswerType(
        expected="letters or the text of an option", read_gold=_gold_choice, judge=_choice
    ),
    "numerical": AnswerType(
        expected="a finite number", read_gold=_gold_number_text, judge=_numerical
    ),
    "regression": AnswerType(expected="a finite number", read_gold=_gold_number, judge=_regression),
    "relaxed": AnswerType(expected="a number or words", read_gold=_gold_relaxed, judge=_relaxed),
    "ocr": AnswerType(expected="text", read_gold=_gold_text, judge=_ocr),
    "open ended": AnswerType(expected="text", read_gold=_gold_text, judge=_open_ended),
    "math": AnswerType(expected="an expression", read_gold=_gold_expression, judge=_math),
    **verified_places.TYPES,
}
