"""Warns if many completions of a task are cut off: they score 0 even if the answer was near."""

import logging
from collections.abc import Mapping

log = logging.getLogger("g2rpo")
METRIC = "rollout/truncated_frac/"
MOST_CUT = 0.5
"""Share of a task's completions in a rollout batch above which the warning appears."""
REPEAT_AFTER = 25
"""Number of rollout batches before the warning can appear again."""


class CutNotice:
    """Watches the metrics of each rollout batch and names the setting to raise."""

    def __init__(self) -> None:
        self._silent_until = 0

    def watch(self, rollout_batch: int, metrics: Mapping[str, float], max_new_tokens: int) -> None:
        """Warn about tasks with more than half of their completions cut off.

        At most one warning appears in `REPEAT_AFTER` rollout batches.
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
            "rollout batch %d: %s of completions reached rollout.max_new_tokens=%d and were cut"
            " before they ended; raise it",
            rollout_batch,
            ", ".join(f"{task} {share:.0%}" for task, share in cut.items()),
            max_new_tokens,
        )
