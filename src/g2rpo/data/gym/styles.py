"""How demonstrations of the cold start are written: four styles of unequal worth, drawn at random.

A network of this size cannot learn to see by reinforcement; what it can learn is which of its
habits pays. So it is shown several, and only some of them are good:

    look      reads the picture, reasons, answers in tags           right and to the point
    ramble    lists everything in the picture before it reasons     right and long
    blurt     answers at once                                       wrong more often than right
    sloppy    reasons, but forgets the tags                         cannot be judged, earns nothing

A cold-started policy therefore acts in all four ways, and training on the reward elicits the good
one.
"""

from collections.abc import Mapping
from random import Random

from g2rpo.records import Prompt

STYLES = ("look", "ramble", "blurt", "sloppy")


class StyledSolutions:
    """Writes a demonstration for a gym prompt.

    `shares` weighs the styles; `blurt_right` is the share of blurted answers that are right, the
    others are believable but wrong.
    """

    def __init__(
        self, *, shares: Mapping[str, float], blurt_right: float = 0.35, seed: int = 0
    ) -> None:
        unknown = set(shares) - set(STYLES)
        if unknown or not 0 < sum(shares.values()) < float("inf") or min(shares.values()) < 0:
            raise ValueError(
                f"demonstrations.shares: expected weights >= 0 for {', '.join(STYLES)}, got"
                f" {dict(shares)}"
            )
        if not 0 <= blurt_right <= 1:
            raise ValueError(
                f"demonstrations.blurt_right: expected a share in [0, 1], got {blurt_right}"
            )
        self.shares = dict(shares)
        self.blurt_right = blurt_right
        self.seed = seed

    def demonstrate(self, prompt: Prompt) -> str:
        """Return the completion to imitate; it is the same for the same prompt id."""
        rng = Random(f"{self.seed}/{prompt.id}")  # noqa: S311
        style = rng.choices(list(self.shares), weights=list(self.shares.values()))[0]
        look, answer = prompt.meta["look"], prompt.answer
        if style == "look":
            return _tagged(look, answer)
        if style == "ramble":
            return _tagged(f"let me see. {prompt.meta['scene']} {look}", answer)
        if style == "sloppy":
            return f"{look} so it is {answer}"
        right = rng.random() < self.blurt_right
        return _tagged("easy.", answer if right else rng.choice(prompt.meta["wrong"]))


def _tagged(thinking: str, answer: str) -> str:
    return f"<thinking>{thinking}</thinking><answer>{answer}</answer>"
