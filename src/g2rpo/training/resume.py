"""Where a killed run goes on."""

from pathlib import Path


def resume_checkpoint(resume: str | None, folder: Path) -> Path | None:
    """The last checkpoint of the run that is resumed, or None for a new run.

    Raises:
        ValueError: when the folder holds no checkpoint, or the new run would write somewhere else.
    """
    if resume is None:
        return None
    last = Path(resume) / "checkpoints" / "last.ckpt"
    if not last.is_file():
        raise ValueError(f"resume: expected a run folder with checkpoints/last.ckpt, got {resume!r}; start anew without resume")
    if Path(resume).resolve() != folder.resolve():
        raise ValueError(f"resume={resume} goes on in its own folder; add hydra.run.dir={resume}")
    return last
