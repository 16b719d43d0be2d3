"""Writes the report of a run again: `python -m g2rpo.report outputs/2026-03-01/14-05-12`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from g2rpo.report.run import write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the path of the report to stdout; a broken or missing folder ends the process with one sentence and status 1."""
    parser = argparse.ArgumentParser(prog="python -m g2rpo.report", description="Write report.html into a run folder.")
    parser.add_argument("folder", type=Path, help="folder of one run, outputs/<date>/<time>")
    folder = parser.parse_args(arguments).folder
    try:
        sys.stdout.write(f"{write_report(folder)}\n")
    except ValueError as error:
        sys.exit(f"{folder}: {error}" if str(folder) not in str(error) else str(error))


if __name__ == "__main__":
    main()
