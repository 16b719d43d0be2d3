"""Mutants of `src/g2rpo/training/tracking/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "W&B: any rows of a task",
        "training/tracking/table_rows.py",
        "(-advantages[row], row)",
        "row",
        "training/tracking/test_wandb_tracker.py training/tracking/test_identity.py",
    ),
    Mutant(
        "W&B: pictures as they are",
        "training/tracking/table_rows.py",
        "copy.thumbnail((longest_px, longest_px))",
        "pass",
        "training/tracking/test_wandb_tracker.py training/tracking/test_identity.py",
    ),
    Mutant(
        "W&B: a resumed run is a new one",
        "training/tracking/identity.py",
        "if resumed and",
        "if not resumed and",
        "training/tracking/test_wandb_tracker.py training/tracking/test_identity.py",
    ),
    Mutant(
        "W&B: a step ends before its benchmarks",
        "training/tracking/wandb_tracker.py",
        "step=step)\n",
        "step=step, commit=True)\n",
        "training/tracking/test_wandb_tracker.py training/tracking/test_identity.py",
    ),
    Mutant(
        "W&B: artifacts in the home folder",
        "training/tracking/wandb_tracker.py",
        'STAGING = "WANDB_DATA_DIR"',
        'STAGING = "ELSEWHERE"',
        "training/tracking/test_wandb_tracker.py training/tracking/test_identity.py",
    ),
    Mutant(
        "W&B: one summary for all",
        "training/tracking/wandb_tracker.py",
        "summary=metric.summary",
        'summary="last"',
        "training/tracking/test_wandb_tracker.py training/tracking/test_identity.py",
    ),
    Mutant(
        "W&B: bands swapped",
        "training/tracking/bands.py",
        "_, low, high, _ =",
        "low, _, _, high =",
        "training/tracking/test_wandb_tracker.py training/tracking/test_identity.py",
    ),
    Mutant(
        "W&B: every rank writes",
        "training/tracking/wandb_tracker.py",
        "    @rank_zero_only\n    def log_metrics",
        "    def log_metrics",
        "training/tracking/test_wandb_tracker.py training/tracking/test_identity.py",
    ),
)
