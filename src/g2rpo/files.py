"""Atomic file writes: a reader sees the old file until the new one is complete."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Replace a file by `text` in UTF-8 atomically, and create its folder.

    Lone surrogates become question marks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8", errors="replace", newline="")
    unfinished.replace(path)
