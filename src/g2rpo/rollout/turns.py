"""Requests that run together, and a change of weights that runs alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets many threads work beside each other, and one alone, between their pieces of work."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._working = 0
        self._changing = False

    @contextmanager
    def beside_others(self) -> Iterator[None]:
        """Work beside others; wait first for whoever is alone or wants to be."""
        with self._free:
            self._free.wait_for(lambda: not self._changing)
            self._working += 1
        try:
            yield
        finally:
            with self._free:
                self._working -= 1
                self._free.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold back new work, and begin when what is under way has ended."""
        with self._free:
            self._free.wait_for(lambda: not self._changing)
            self._changing = True
            self._free.wait_for(lambda: not self._working)
        try:
            yield
        finally:
            with self._free:
                self._changing = False
                self._free.notify_all()
