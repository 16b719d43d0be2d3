"""Hides messages of libraries that do not concern a user of g2rpo."""

import logging
import warnings

from transformers.utils import logging as transformers_logging

EXPECTED = (
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning with a newer torch
    r".*`IterableDataset` has `__len__` defined.*",  # on purpose, see training/datamodule.py
    # on purpose: no dropout, so that sampler and trainer agree
    r".*module\(s\) in eval mode at the start of training.*",
    r".*does not have many workers.*",
    # the state after an update is what a resumed run needs
    r".*Using ModelCheckpoint with manual optimization.*",
    r".*Checkpoint directory .* exists and is not empty.*",  # true for every resumed run
    # a module that is never validated has no held-out prompts
    r".*Total length of `list` across ranks is zero.*",
    # the stream's state is in the checkpoint, see training/datamodule.py
    r".*your dataloader is not resumable.*",
    r".*`weights_only` was not set.*",
    # scores of a validation are equal on all ranks
    r".*It is recommended to use `self.log.*sync_dist=True.*",
    # a rank may have no group of a small benchmark
    r".*``compute`` method of metric BenchmarkMetric was called before.*",
)


def quieten() -> None:
    """Hide loading bars, hardware notes and the warnings above."""
    transformers_logging.disable_progress_bar()
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.pytorch.accelerators.cuda",
        "lightning.fabric.utilities.seed",
        "lightning.fabric.utilities.distributed",
        "lightning.pytorch.trainer.connectors.signal_connector",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in EXPECTED:
        warnings.filterwarnings("ignore", message=pattern)
