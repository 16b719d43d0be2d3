"""One colour per task, the same in every plot; told apart under the common colour blindnesses (after Okabe and Ito, 2008)."""

from g2rpo.prompt import TASKS

TASK_COLORS = dict(zip(TASKS, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"), strict=True))
INK = "#1f2730"
MUTED = "#5b6672"
GRID = "#e4e8ec"
BEFORE = "#b35c00"
AFTER = "#0060a8"
PLAIN_COLORS = (INK, "#0072b2", "#d55e00")
"""For lines that are no tasks, in order."""
