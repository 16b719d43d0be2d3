"""What the judge of one answer type must know: how to read the gold answer, and what it says of an
answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from g2rpo.prompt import Prompt


class Verdict(NamedTuple):
    """Both in [0, 1]. `structure` is the share of the asked JSON structure; plain answers have none
    to miss.
    """

    accuracy: float
    structure: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerType:
    """One way of judging. `read_gold(text, prompt)` gives None where the gold answer is not what
    `expected` says.
    """

    expected: str
    """What a gold answer looks like, for the message about one that does not."""
    read_gold: Callable[[str, Prompt], Any]
    judge: Callable[[str, Any], Verdict]
    """(answer, what `read_gold` gave) -> verdict. Never raises."""


@runtime_checkable
class Rules(Protocol):
    """What a reward that wraps another one needs of it: `reward=verifier` and
    `reward=openvlthinker` have it.
    """

    def prepare(self) -> None:
        """Loads what judging needs."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """`accuracy`, `format`, `structure` and `total` of a completion."""

    def given_answer(self, completion: str) -> str:
        """The part of a completion that is judged; empty if there is no answer."""

    def weighed(self, completion: str, verdict: Verdict) -> dict[str, float]:
        """The four numbers for a verdict that somebody else gave on the completion's answer."""
