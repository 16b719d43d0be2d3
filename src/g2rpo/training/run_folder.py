"""Chooses the folder of a run: a resumed run writes to the folder it continues."""

import shlex
import sys
from pathlib import Path

from g2rpo.files import finish_replacing
from g2rpo.paths import IN_CHECKOUT, SCRIPTS, command

LAST = "last"
OUTPUTS = "outputs"


def run_folder(resume: str | None, new: str) -> str:
    """Return the folder of a run; Hydra calls this as the resolver `run_folder`.

    Args:
        resume: The value of `resume`: None, a run folder, or `last`.
        new: The folder of a new run. It is also returned if `last` finds no unfinished run;
            `resume_checkpoint` then raises an error.
    """
    if resume in (None, "None", ""):
        return new
    if resume == LAST:
        found = newest_unfinished(Path(OUTPUTS))
        return new if found is None else str(found)
    return str(resume)


def newest_unfinished(outputs: Path) -> Path | None:
    """Return the run folder in `outputs` with the newest last checkpoint and no `summary.json`."""
    found = [
        last
        for folder in outputs.glob("*/*/checkpoints")
        if not (folder.parent / "summary.json").exists()
        and (last := finish_replacing(folder / "last.ckpt")).exists()
    ]
    return max(found, key=lambda path: path.stat().st_mtime).parents[1] if found else None


def command_again(folder: Path, *, resume: bool) -> str:
    """Return the command line of this process for another start in the same run folder.

    Args:
        folder: The run folder.
        resume: Whether to continue from its last checkpoint, or to start from the beginning.
    """
    typed = [word for word in sys.argv[1:] if not word.startswith(("resume=", "hydra.run.dir="))]
    where = shlex.quote(str(folder.resolve()))
    return " ".join(
        [
            started(Path(sys.argv[0])),
            *map(shlex.quote, typed),
            *([f"resume={where}"] if resume else []),
            f"hydra.run.dir={where}",
        ]
    )


def started(script: Path) -> str:
    """Return how a user starts a script: by its name in the working directory, else by its path;
    a script of the installed package is `g2rpo <program>`.
    """
    if script.resolve().parent == SCRIPTS.resolve() and not IN_CHECKOUT:
        return command(script.stem)
    here = script.resolve().parent == Path.cwd()
    return f"python {shlex.quote(script.name if here else str(script.resolve()))}"
