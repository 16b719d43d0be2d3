"""Reward that adds rare, large errors to another one, to study how estimators take outliers.

For experiments, see sweeps/outliers.yaml. Accuracy, format and structure stay as they are: only the
total, which training sees, errs.
"""

import hashlib
import math

from g2rpo.prompt import Prompt
from g2rpo.reward.by_type import Rules


class OutlierReward:
    """Reward whose total is wrong by `size` for a `share` of the completions, right or wrong.

    Args:
        rules: Reward whose total is moved.
        share: Share of completions that are outliers, in [0, 1]. Prompt and completion alone
            decide which, so they are the same in every process and run.
        size: What is added to their total; any finite number.
    """

    def __init__(self, *, rules: Rules, share: float = 0.05, size: float = 10.0) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"reward.share: expected a share in [0, 1], got {share}")
        if not math.isfinite(size):
            raise ValueError(f"reward.size: expected a finite number, got {size}")
        self.rules, self.share, self.size = rules, share, size

    def prepare(self) -> None:
        """Load what the rules need."""
        self.rules.prepare()

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """Return the rules' scores, with `size` added to `total` if this completion is an outlier.

        Raises what the rules raise.
        """
        scores = self.rules.score(completion, prompt)
        return scores | {"total": scores["total"] + self.size * self.errs(completion, prompt)}

    def errs(self, completion: str, prompt: Prompt) -> bool:
        """Return whether this completion is an outlier."""
        digest = hashlib.sha256(f"{prompt.id}\0{completion}".encode()).digest()
        return int.from_bytes(digest[:8]) < self.share * 2**64
