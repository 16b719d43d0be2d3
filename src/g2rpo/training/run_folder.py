"""In which folder a run that goes on writes: that of the run it continues."""

from pathlib import Path

LAST = "last"
OUTPUTS = "outputs"


def run_folder(resume: str | None, new: str) -> str:
    """The folder of the run: a resumed run goes on in its own. Hydra calls this as the resolver
    `run_folder`.

    Args:
        resume: The value of `resume`: None, a run folder, or `last`.
        new: The folder of a new run; also returned if `last` finds no unfinished run, which
            `resume_checkpoint` then reports.
    """
    if resume in (None, "None", ""):
        return new
    if resume == LAST:
        found = newest_unfinished(Path(OUTPUTS))
        return new if found is None else str(found)
    return str(resume)


def newest_unfinished(outputs: Path) -> Path | None:
    """The run folder below `outputs` whose last checkpoint is the newest, of those without a
    `summary.json`.
    """
    found = [
        path
        for path in outputs.glob("*/*/checkpoints/last.ckpt")
        if not (path.parents[1] / "summary.json").exists()
    ]
    return max(found, key=lambda path: path.stat().st_mtime).parents[1] if found else None
