"""How a program ends after a signal: what was saved, the command to go on, and the exit code."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from g2rpo.launch.marks import Stopped
from g2rpo.launch.meeting import is_first
from g2rpo.training.interrupt import StopOnSignal
from g2rpo.training.launched import leave
from g2rpo.training.run_folder import command_again


@contextmanager
def ended_by_signals(
    stop: StopOnSignal, folder: Path, left: Callable[[Stopped], list[str]]
) -> Iterator[None]:
    """Run the block; a signal ends the program with exit code 128 + its number.

    Args:
        stop: Hears the signals.
        folder: The run folder.
        left: Returns lines about what the run has left there.
    """
    try:
        with stop.listening():
            yield
    except Stopped as stopped:
        code = leave(stopped)
        if is_first():
            console = Console(soft_wrap=True, highlight=False)
            again = command_again(folder, resume=stopped.checkpoint is not None)
            for line in (*left(stopped), f"next: {again}"):
                console.print(line, markup=False)
        sys.exit(code)


def checkpoint_line(stopped: Stopped) -> str:
    """Say which signal came and where the checkpoint is."""
    found = stopped.checkpoint
    return f"{stopped}: checkpoint: {found.resolve() if found else 'none yet'}"
