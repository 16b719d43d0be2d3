"""Writes the report of a run into its folder."""

from pathlib import Path
from typing import Any

from g2rpo.files import write_whole
from g2rpo.report.folder import read_run
from g2rpo.report.page import page


def write_report(folder: Path, summary: dict[str, Any] | None = None) -> Path:
    """Writes `report.html` into a run folder, whole or not at all, and returns its path.

    `summary` is what a run is about to write into `summary.json`, which comes last; None reads the file. Works on a run that has
    not finished: what is missing is said on the page. Raises `ValueError` for a folder that is no run folder, and for a broken row
    with its file and line.
    """
    target = folder / "report.html"
    write_whole(target, page(read_run(folder, summary)))
    return target
