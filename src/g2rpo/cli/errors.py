"""How a failed program ends: one sentence, exit code 1, and the traceback in a file."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g2rpo.cli.ending import resume_line


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """End a failed run with one sentence and exit code 1; the traceback goes to `error.txt` in the
    run folder.

    Each process of a distributed run writes its own file, because the others fail soon after.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (
        HydraException,
        OmegaConfBaseException,
        ValueError,
        RuntimeError,
        OSError,
        ImportError,
    ) as error:
        folder.mkdir(parents=True, exist_ok=True)
        rank = os.environ.get("LOCAL_RANK", "0")
        path = folder / ("error.txt" if rank == "0" else f"error_rank{rank}.txt")
        path.write_text(traceback.format_exc(), encoding="utf-8")
        logging.getLogger("g2rpo").error("%s\n(traceback: %s)", sentence(error), path)
        if rank == "0" and (line := resume_line(folder)):
            sys.stderr.write(f"to go on from the last checkpoint: {line}\n")
        sys.exit(1)


def sentence(error: BaseException) -> str:
    """Return the cause of an error without Hydra's wrapping, but with the configuration key."""
    lines = [line.strip() for line in str(error).splitlines()]
    key = next(
        (line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), ""
    )
    cause = error
    while cause.__cause__ is not None and type(error).__name__ == "InstantiationException":
        cause = cause.__cause__
        if type(cause).__name__ != "InstantiationException":
            break
    kept = [
        line
        for line in str(cause).strip().splitlines()
        if not line.strip().startswith(("full_key: ", "object_type="))
    ]
    text = "\n".join(kept)
    return f"{key}: {text}" if key and not text.startswith(key) else text


FULL = "HYDRA_FULL_ERROR"
_given: list[str | None] = []


def take_errors_from_hydra() -> bool:
    """Let exceptions of the composition reach the caller instead of Hydra's printer.

    Returns:
        False if the user asked for tracebacks.
    """
    if os.environ.get(FULL) == "1":
        return False
    _given[:] = [os.environ.get(FULL)]
    os.environ[FULL] = "1"
    return True


def give_errors_back() -> None:
    """Undo `take_errors_from_hydra`, so that the task and its child processes see the user's own
    setting.
    """
    if _given:
        before = _given.pop()
        os.environ.pop(FULL, None)
        if before is not None:
            os.environ[FULL] = before
