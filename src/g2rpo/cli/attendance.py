"""Takes part in a run of several processes: one run folder, one voice, one end."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from g2rpo.cli.errors import forget_errors, show_failed_rank
from g2rpo.launch.meeting import FOLDER, is_first, meet, meeting, watch
from g2rpo.launch.member import member
from g2rpo.launch.monitor import Watch
from g2rpo.sweep.process import quoted


@contextmanager
def among_ranks() -> Iterator[None]:
    """Meet the other processes of the run, before the configuration is composed.

    All ranks but the first wait for its run folder: a folder that is named after the time would
    differ between them. They write neither the configuration nor the first rank's log.
    """
    me = member()
    try:
        if me.world_size > 1:
            try:
                met = meet(me)
            except ConnectionError as error:
                sys.stderr.write(f"{error}\n")
                sys.exit(1)
            if not me.is_first:
                sys.argv += [
                    f"hydra.run.dir={quoted(met.ask(FOLDER))}",
                    f"hydra.job.name={Path(sys.argv[0]).stem}_rank{me.rank}",
                    "hydra.output_subdir=null",
                ]
        yield
    except BaseException as error:
        if (ending := meeting()) is not None and not _in_order(error):
            ending.monitor.fail(f"ended with {type(error).__name__} {error}")
        raise
    finally:
        if (ending := meeting()) is not None:
            ending.monitor.leave()


def _in_order(error: BaseException) -> bool:
    return isinstance(error, SystemExit) and error.code in (0, None)


def take_part(cfg: DictConfig) -> None:
    """Tell the others the run folder, begin the watch, and silence all ranks but the first."""
    folder = Path(cfg.run_dir)
    if is_first():
        forget_errors(folder)
    watch(
        Watch(
            folder=folder,
            hang_s=OmegaConf.select(cfg, "hang_s"),
            say=partial(show_failed_rank, folder=folder),
        )
    )
    if not is_first():
        logging.captureWarnings(True)
        for handler in logging.getLogger().handlers:
            if type(handler) is logging.StreamHandler:  # the console; a FileHandler is a subclass
                handler.setLevel(logging.CRITICAL + 1)
