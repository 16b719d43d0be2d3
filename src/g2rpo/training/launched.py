"""What a Trainer and the launcher of its processes must agree on."""

import os
from dataclasses import replace
from datetime import timedelta

import lightning as L

from g2rpo.launch.marks import Stopped, StoppedTogether
from g2rpo.launch.meeting import meet, meeting
from g2rpo.launch.member import member

SLACK_S = 120.0
"""Seconds by which a collective operation may outlast the watch for hanging ranks."""


def wait_longer_than(trainer: L.Trainer, hang_s: float | None) -> None:
    """Let collective operations wait until the monitor has named the rank that hangs."""
    strategy = trainer.strategy
    default: timedelta | None = getattr(strategy, "_timeout", None)
    if default is not None and hang_s is not None:
        strategy._timeout = max(default, timedelta(seconds=hang_s + SLACK_S))


def meet_launched(trainer: L.Trainer) -> None:
    """Prepare to meet the processes that Lightning will start on this machine.

    Args:
        trainer: It starts them with its first `validate` or `fit`.

    Raises:
        ConnectionError: if MASTER_PORT is in use.
    """
    me = member()
    if me.launcher != "none" or trainer.world_size == 1 or meeting() is not None:
        return
    cluster = trainer.strategy.cluster_environment
    os.environ["MASTER_ADDR"] = cluster.main_address
    os.environ["MASTER_PORT"] = str(cluster.main_port)
    meet(replace(me, world_size=trainer.world_size, launcher="lightning"))


def leave(stopped: Stopped) -> int:
    """Tell the other ranks that a signal has stopped this one, unless all stop together.

    Returns:
        The exit code of this process.
    """
    met = meeting()
    if met is None:
        return stopped.exit_code
    if isinstance(stopped, StoppedTogether):
        met.monitor.leave()
        if not met.me.is_first and met.me.launcher == "lightning":
            return 0  # otherwise Lightning kills rank 0, which writes its report
    else:
        met.monitor.fail(str(stopped), echo=True, code=stopped.exit_code)
    return stopped.exit_code
