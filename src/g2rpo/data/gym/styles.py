"""How demonstrations of the cold start are written: four styles of unequal worth, drawn at random.

A network of this size cannot learn to see by reinforcement; what it can learn is which of its
habits pays. So it is shown several, and only some of them are good:

    look      reads the picture, reasons, answers in tags           right and to the point
    ramble    lists everything in the picture before it reasons     right and long
    blurt     answers at once                                       wrong more often than right
    sloppy    reasons, but forgets the tags                         cannot be judged, earns nothing

A cold-started policy therefore acts in all four ways, and training on the reward elicits the good
one. How often it takes which may depend on what is asked, so that its most likely answers, those of
greedy decoding, are good in some prompts and bad in others.
"""

import re
from collections.abc import Mapping, Sequence
from random import Random

from g2rpo.data.gym.canvas import COLORS, SHAPES
from g2rpo.records import Prompt

STYLES = ("look", "ramble", "blurt", "sloppy")
SUBJECTS = (*SHAPES, *COLORS, "text")
"""What a question may be about; the first one that it names counts."""
_SUBJECT = re.compile(rf"\b({'|'.join(SUBJECTS)})(?:e?s)?\b")


class StyledSolutions:
    """Writes a demonstration for a gym prompt.

    Args:
        shares: Weights of the styles.
        hasty: Weights of the styles for prompts about `hasty_about`; None for the same.
        hasty_about: Some of `SUBJECTS`.
        blurt_right: Share of blurted answers that are right; the others are believable but wrong.
        seed: Seeds the choice of styles.
    """

    def __init__(
        self,
        *,
        shares: Mapping[str, float],
        hasty: Mapping[str, float] | None = None,
        hasty_about: Sequence[str] = (),
        blurt_right: float = 0.35,
        seed: int = 0,
    ) -> None:
        if not 0 <= blurt_right <= 1:
            raise ValueError(
                f"demonstrations.blurt_right: expected a share in [0, 1], got {blurt_right}"
            )
        unknown = sorted(set(hasty_about) - set(SUBJECTS))
        if unknown:
            raise ValueError(
                f"demonstrations.hasty_about: expected some of {', '.join(SUBJECTS)}, got"
                f" {', '.join(unknown)}"
            )
        self.shares = _weights(shares, "shares")
        self.hasty = self.shares if hasty is None else _weights(hasty, "hasty")
        self.hasty_about = frozenset(hasty_about)
        self.blurt_right = blurt_right
        self.seed = seed

    def demonstrate(self, prompt: Prompt) -> str:
        """Return the completion to imitate; it is the same for the same prompt id."""
        rng = Random(f"{self.seed}/{prompt.id}")  # noqa: S311
        subject = _SUBJECT.search(prompt.text)
        hasty = subject is not None and subject[1] in self.hasty_about
        shares = self.hasty if hasty else self.shares
        style = rng.choices(list(shares), weights=list(shares.values()))[0]
        look, answer = prompt.meta["look"], prompt.meta.get("says", prompt.answer)
        if style == "look":
            return _tagged(look, answer)
        if style == "ramble":
            return _tagged(f"let me see. {prompt.meta['scene']} {look}", answer)
        if style == "sloppy":
            return f"{look} so it is {answer}"
        right = rng.random() < self.blurt_right
        return _tagged("easy.", answer if right else rng.choice(prompt.meta["wrong"]))


def _weights(shares: Mapping[str, float], key: str) -> dict[str, float]:
    unknown = set(shares) - set(STYLES)
    if unknown or not 0 < sum(shares.values()) < float("inf") or min(shares.values()) < 0:
        raise ValueError(
            f"demonstrations.{key}: expected weights >= 0 for {', '.join(STYLES)}, got"
            f" {dict(shares)}"
        )
    return dict(shares)


def _tagged(thinking: str, answer: str) -> str:
    return f"<thinking>{thinking}</thinking><answer>{answer}</answer>"
