"""Writes the report of a run, or of a sweep, again: `python -m g2rpo.report outputs/2026-03-01/14-05-12`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from g2rpo.report.sweep.folder import is_multirun
from g2rpo.report.sweep.write import write_sweep_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the path of the report to stdout; a broken or missing folder ends the process with one sentence and status 1."""
    parser = argparse.ArgumentParser(prog="python -m g2rpo.report", description="Write the report of a run or of a sweep into its folder.")
    parser.add_argument("folder", type=Path, help="folder of one run (report.html) or of a multirun (sweep.html, sweep.csv)")
    parser.add_argument("--against", metavar="VARIANT", help="of a multirun: what the others are compared with; the first by default")
    given = parser.parse_args(arguments)
    folder: Path = given.folder
    try:
        sys.stdout.write(f"{_write(folder, given.against)}\n")
    except ValueError as error:
        sys.exit(f"{folder}: {error}" if str(folder) not in str(error) else str(error))


def _write(folder: Path, against: str | None) -> Path:
    if is_multirun(folder):
        return write_sweep_report(folder, against)
    from g2rpo.report.run import write_report

    return write_report(folder)


if __name__ == "__main__":
    main()
