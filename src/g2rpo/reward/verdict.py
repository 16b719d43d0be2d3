"""What judging one answer type consists of: reading the gold answer, and judging an answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from g2rpo.prompt import Prompt


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
