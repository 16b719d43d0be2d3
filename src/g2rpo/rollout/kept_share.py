"""How many prompts must be answered until the filter has kept enough groups.

A step lasts as long as its longest completions, once for every call of the engine. So a few prompts
more in one call take less time than another call.
"""

import math

DEVIATIONS = 2
"""Safety margin, in standard deviations of the number of kept groups."""
WEIGHT = 0.3
"""Weight of the latest step in the moving average, in (0, 1]."""


class KeptShare:
    """Share of groups that the filter keeps: a moving average over steps.

    It decides how much is answered at once, not which groups a step learns from.
    """

    def __init__(self) -> None:
        self.share: float | None = None
        """A number in [0, 1]; None before the first step."""

    def add(self, kept: int, drawn: int) -> None:
        """Take the groups of a step into account."""
        latest = kept / drawn
        self.share = latest if self.share is None else (1 - WEIGHT) * self.share + WEIGHT * latest

    def prompts_needed(self, groups: int) -> int | None:
        """Return the number of prompts for a number of kept groups; None if it is unknown."""
        return prompts_needed(groups, self.share) if self.share else None


def prompts_needed(groups: int, share: float) -> int:
    """Return the number of prompts that almost surely yields a number of kept groups.

    If the filter keeps a share p of the groups, n prompts yield n p kept groups on average, with a
    variance of n p (1 - p).

    Args:
        groups: Number of groups that have to be kept.
        share: Share of groups that the filter keeps, in (0, 1].
    """
    spread = DEVIATIONS / 2 * math.sqrt(1 - share)
    return math.ceil((spread + math.sqrt(spread**2 + groups)) ** 2 / share)
