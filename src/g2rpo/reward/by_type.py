"""The formula that rewards share, applied to the verdict of the answer type.

    total = (1 - format_weight) * accuracy + format_weight * format + structure

`structure` is `structure_weight` times the share of the asked JSON structure. It is 0 if the format
fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from g2rpo.prompt import Prompt, answer_kind
from g2rpo.scoring.extract import tagged_answer


class Verdict(NamedTuple):
    """Accuracy and structure of an answer, both in [0, 1].

    `structure` is the share of the asked JSON structure; it is 1 for answer types without one.
    """

    accuracy: float
    structure: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerType:
    """How answers of one type are judged.

    `read_gold(text, prompt)` returns None if the gold answer is not what `expected` says.
    """

    expected: str
    """What a gold answer looks like, for the message about one that does not."""
    read_gold: Callable[[str, Prompt], Any]
    judge: Callable[[str, Any], Verdict]
    """(answer, what `read_gold` gave) -> verdict. Never raises."""


@runtime_checkable
class Rules(Protocol):
    """Reward that another reward can wrap, such as `reward=verifier` and `reward=openvlthinker`."""

    def prepare(self) -> None:
        """Load what judging needs."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """Return `accuracy`, `format`, `structure` and `total` of a completion."""

    def given_answer(self, completion: str) -> str:
        """Return the part of a completion that is judged; empty if there is no answer."""

    def weighed(self, completion: str, verdict: Verdict) -> dict[str, float]:
        """Return the four numbers for a verdict that came from elsewhere."""


class JudgedByType:
    """Judges an answer by its prompt's answer type, and weighs the verdict.

    Args:
        types: How answers of each type are judged. The keys are names as `g2rpo.prompt.answer_kind`
            gives them.
        format_weight: Share of the total, in [0, 1], that the format takes from the accuracy.
        structure_weight: Reward, at least 0, for an answer in the right format that has the whole
            asked structure.
    """

    def __init__(
        self, types: Mapping[str, AnswerType], *, format_weight: float, structure_weight: float
    ) -> None:
        if not 0 <= format_weight <= 1:
            raise ValueError(
                f"reward.format_weight: expected a share in [0, 1], got {format_weight}"
            )
        if not 0 <= structure_weight < float("inf"):
            raise ValueError(
                f"reward.structure_weight: expected a number of at least 0, got {structure_weight}"
            )
        self.types = dict(types)
        self.format_weight = format_weight
        self.structure_weight = structure_weight

    def type_of(self, prompt: Prompt) -> AnswerType:
        """Return how the prompt's answers are judged.

        Raises `ValueError` for an unknown answer type.
        """
        name = answer_kind(prompt.answer_type)
        if name not in self.types:
            known = ", ".join(sorted(self.types))
            raise ValueError(
                f"prompt {prompt.id!r}, field answer_type: expected one of {known}; got"
                f" {prompt.answer_type!r}. Correct the record, or choose a reward that judges this"
                " type, such as reward=functions."
            )
        return self.types[name]

    def gold(self, prompt: Prompt, text: str, field: str = "answer") -> Any:
        """Return the gold answer as its answer type reads it.

        Raises `ValueError` with the prompt and the field if the gold answer cannot be read.
        """
        answer_type = self.type_of(prompt)
        gold = answer_type.read_gold(text, prompt)
        if gold is None:
            raise ValueError(
                f"prompt {prompt.id!r}, field {field}: expected {answer_type.expected} (answer type"
                f" {prompt.answer_type!r}), got {text[:200]!r}. Correct the record or leave it out."
            )
        return gold

    def weighed(self, keeps_format: bool, verdict: Verdict) -> dict[str, float]:
        """Return `accuracy`, `format`, `structure` and `total`, by the module's formula."""
        form = float(keeps_format)
        structure = self.structure_weight * verdict.structure * form
        total = (1 - self.format_weight) * verdict.accuracy + self.format_weight * form + structure
        return {
            "accuracy": verdict.accuracy,
            "format": form,
            "structure": structure,
            "total": total,
        }


def gold_text(prompt: Prompt) -> str:
    """Return the gold answer without its tags."""
    return untagged(prompt.answer)


def untagged(text: str) -> str:
    """Return a gold answer without its `<answer>` tags, of which one may be missing."""
    return (
        tagged_answer(text)
        or text.strip().removeprefix("<answer>").removesuffix("</answer>").strip()
    )


def tolerance_of(prompt: Prompt, default: float) -> float:
    """Return the relative tolerance of a prompt: `prompt.meta["tolerance"]` or the default.

    Raises:
        ValueError: If it is not a finite number of at least 0.
    """
    found = prompt.meta.get("tolerance", default)
    if not isinstance(found, int | float) or not 0 <= found < float("inf"):
        raise ValueError(
            f"prompt {prompt.id!r}, field meta.tolerance: expected a relative tolerance of at least"
            f" 0, got {found!r}. Correct the record."
        )
    return float(found)
