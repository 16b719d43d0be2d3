"""Writes the report of a run into its folder."""

import os
from pathlib import Path

from g2rpo.report.folder import read_run
from g2rpo.report.page import page


def write_report(folder: Path) -> Path:
    """Writes `report.html` into a run folder, whole or not at all, and returns its path.

    Works on a run that has not finished: what is missing is said on the page. Raises `ValueError` for a folder that is no run
    folder, and for a broken row with its file and line.
    """
    html = page(read_run(folder))
    target = folder / "report.html"
    unfinished = folder / f".report.html.{os.getpid()}"
    unfinished.write_text(html, encoding="utf-8", errors="replace")
    unfinished.replace(target)
    return target
