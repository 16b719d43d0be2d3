"""Files that are there whole or not at all: whoever reads one while it is written, or after the
writer was killed, sees the old one.
"""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 in one piece, in place of what was there; the folder is made. Lone
    surrogates become question marks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8", errors="replace", newline="")
    unfinished.replace(path)
