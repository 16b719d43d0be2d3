"""Write the report of a run or of a sweep again, or compare runs.

`python -m g2rpo.report outputs/2026-03-01/14-05-12`
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from g2rpo.report.sweep.sweep_data import is_multirun
from g2rpo.report.sweep.write import write_sweep_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report of the given folders and print its path; print the timeline of one run.

    A broken folder ends the process with one sentence.
    """
    parser = argparse.ArgumentParser(
        prog="g2rpo report",
        description="Write the report of a run, of a sweep, or of several runs.",
    )
    told = (
        "a run (writes report.html), a multirun (sweep.html and sweep.csv), or several runs (--out)"
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="folder", help=told)
    parser.add_argument(
        "--against",
        metavar="VARIANT",
        help="for a sweep: the variant that the others are compared with; default: the first",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("compare.html"),
        help="for several runs: the page to write; default: compare.html",
    )
    given = parser.parse_args(arguments)
    folders: list[Path] = given.folders
    try:
        lines = _write(folders, given.against, given.out)
    except ValueError as error:
        (folder, *others) = folders
        sys.exit(str(error) if others or str(folder) in str(error) else f"{folder}: {error}")
    sys.stdout.write(f"{lines}\n")


def _write(folders: Sequence[Path], against: str | None, out: Path) -> str:
    """Return what is printed: the path, and for one run the timeline of its last steps."""
    if len(folders) > 1:
        from g2rpo.report.side_by_side import write_comparison

        return str(write_comparison(folders, out))
    if is_multirun(folders[0]):
        return str(write_sweep_report(folders[0], against))
    from g2rpo.report.idle_time import timeline_text
    from g2rpo.report.run_data import read_run
    from g2rpo.report.run_page import write_page

    run = read_run(folders[0])
    return "\n".join(filter(None, (str(write_page(run)), timeline_text(run))))


if __name__ == "__main__":
    main()
