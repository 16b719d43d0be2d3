"""Shows how far something that takes long has come.

On a terminal it is a live bar; elsewhere (CI, a log file) a plain line every few seconds.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

REFRESH_PER_S = 4


class Display:
    """Progress display of something that takes `total` steps, between `start` and `stop`.

    Args:
        name: Name of a step in the line, such as `step` or `held-out prompt`.
        total: Number of steps; None if it is not known.
        every_s: Seconds between two plain lines, at least 0.
        console: Console to write to; stdout by default.
        done: Number of steps done before the start.

    Raises:
        ValueError: if `every_s` is negative.
    """

    def __init__(
        self,
        *,
        name: str,
        total: int | None,
        every_s: float,
        console: Console | None = None,
        done: int = 0,
    ) -> None:
        if every_s < 0:
            raise ValueError(
                f"progress.every_s: expected 0 or more (seconds between two lines), got {every_s}"
            )
        self.name = name
        self.total = total
        self.every_s = every_s
        self.console = console or Console()
        self.done = done
        self.numbers = ""
        self._first = done
        self._started_s = self._printed_s = time.monotonic()
        self._printed_done = done - 1
        self._live: Live | None = None
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bar_id = self._bar.add_task(name, total=total, completed=done, left="")

    def start(self) -> None:
        """Show the bar on a terminal."""
        if self.console.file.isatty() and not self.console.is_dumb_terminal:
            self._live = Live(
                console=self.console,
                refresh_per_second=REFRESH_PER_S,
                get_renderable=self._renderable,
            )
            self._live.start()

    def update(self, done: int, numbers: str = "") -> None:
        """Show that `done` steps are done, and `numbers` of the last one."""
        self.done, self.numbers = done, numbers
        self._bar.update(self._bar_id, completed=done, left=self.left())
        if self._live is None and (
            self._printed_done < self._first or time.monotonic() - self._printed_s >= self.every_s
        ):
            self._print()

    def stop(self) -> None:
        """End the display; the last state stays visible."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self.done != self._printed_done and self.done > self._first:
            self._print()

    def left(self) -> str:
        """Return the remaining time at the mean speed so far; empty if it is not known."""
        steps = self.done - self._first
        if self.total is None or steps <= 0:
            return ""
        step_s = (time.monotonic() - self._started_s) / steps
        return f"{timedelta(seconds=round(step_s * max(0, self.total - self.done)))} left"

    def line(self) -> str:
        """Return the whole state in one line."""
        count = f"{self.name} {self.done}" + ("" if self.total is None else f"/{self.total}")
        return " | ".join(part for part in (count, self.numbers, self.left()) if part)

    def _renderable(self) -> Group:
        return (
            Group(self._bar, Text(self.numbers, overflow="ellipsis", no_wrap=True))
            if self.numbers
            else Group(self._bar)
        )

    def _print(self) -> None:
        self._printed_s, self._printed_done = time.monotonic(), self.done
        self.console.print(self.line(), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(
    name: str, total: int | None = None, *, every_s: float = 10.0, console: Console | None = None
) -> Iterator[Callable[[int], None]]:
    """Show the progress of a stage other than training.

    `with progress_bar("held-out prompts", total=384) as advance: ... advance(64)` shows
    `held-out prompts 64/384 | 0:00:25 left`.

    Yields:
        A function to call with the number of further steps that are done.
    """
    display = Display(name=name, total=total, every_s=every_s, console=console)
    display.start()
    try:
        yield lambda count: display.update(display.done + count)
    finally:
        display.stop()
