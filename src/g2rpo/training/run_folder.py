"""Chooses the folder of a run: a resumed run writes to the folder it continues."""

from pathlib import Path

from g2rpo.files import finish_replacing

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
