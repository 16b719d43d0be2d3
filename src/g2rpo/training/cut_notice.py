"""A line on the console if many completions of a task are cut: they score 0, whatever they were
about to say.
"""

import logging
from collections.abc import Mapping

log = logging.getLogger("g2rpo")
METRIC = "rollout/truncated_frac/"
MOST_CUT = 0.5
"""Share of a task's completions of one rollout batch above which the line appears."""
REPEAT_AFTER = 25
"""Rollout batches before the line appears again."""


class CutNotice:
    """Watches the metrics of each rollout batch and says which setting to raise."""

    def __init__(self) -> None:
        self._silent_until = 0

    def watch(self, rollout_batch: int, metrics: Mapping[str, float], max_new_tokens: int) -> None:
        """Log one warning that names the tasks of which more than half was cut, at most once in
        `REPEAT_AFTER` rollout batches.
        """
        cut = {
            name.removeprefix(METRIC): share
            for name, share in metrics.items()
            if name.startswith(METRIC) and share > MOST_CUT
        }
        if not cut or rollout_batch < self._silent_until:
            return
        self._silent_until = rollout_batch + REPEAT_AFTER
        log.warning(
            "step %d: %s of completions reached rollout.max_new_tokens=%d and were cut before they"
            " ended; raise it",
            rollout_batch,
            ", ".join(f"{task} {share:.0%}" for task, share in cut.items()),
            max_new_tokens,
        )
