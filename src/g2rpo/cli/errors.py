"""How a failed program ends: one sentence, exit code 1, and the traceback in a file."""

import errno
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from g2rpo.cli.ending import resume_line
from g2rpo.files import DiskError, refusal
from g2rpo.launch.meeting import is_first, meeting, own_member
from g2rpo.redaction import redacted


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """End a failed run with one sentence and exit code 1; the traceback goes to `error.txt` in the
    run folder.

    Each rank of a distributed run has a file of its own, and rank 0 shows the error of the rank
    that failed first.
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
        text = f"{sentence(error)}\n(traceback: {_write_traceback(folder)})"
        if not failed(text, error):
            show_error(text, folder)
        sys.exit(1)
    except Exception as error:
        if meeting() is not None:
            failed(
                f"{type(error).__name__}: {redacted(str(error))}\n"
                f"(traceback: {_write_traceback(folder)})",
                error,
            )
        raise


def failed(text: str, error: BaseException) -> bool:
    """Tell the other ranks of an error, so that all end. Return whether there are others.

    Rank 0 then shows the text of the rank that failed first. torchrun shows the traceback as well.
    """
    met = meeting()
    if met is None:
        return False
    from g2rpo.ranks import is_echo

    echo = is_echo(error)
    if not echo:
        _tell_torchrun(error)
    # `raise_on_all_ranks` has put the rank before the message, as the monitor does
    met.monitor.fail(text.removeprefix(f"rank {met.me.rank}: "), echo=echo)
    return True


def _tell_torchrun(error: BaseException) -> None:
    """Write the error where torchrun looks for the first one; it shows it at the end."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file is not None and not Path(file).exists():
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)


def show_error(text: str, folder: Path) -> None:
    """Log an error, and print the command that resumes the run, if it left a checkpoint."""
    logging.getLogger("g2rpo").error(text)
    if line := resume_line(folder):
        sys.stderr.write(f"to go on from the last checkpoint: {line}\n")


def quiet_log_files() -> None:
    """Say once, and without a traceback, that a log file cannot be written; the run goes on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = partial(_say_once, handler)  # type: ignore[method-assign]


_silent_logs: set[str] = set()


def _say_once(handler: logging.FileHandler, record: logging.LogRecord) -> None:
    if handler.baseFilename not in _silent_logs:
        _silent_logs.add(handler.baseFilename)
        sys.stderr.write(f"{handler.baseFilename}: cannot be written: {sys.exception()}\n")


def forget_errors(folder: Path) -> None:
    """Remove what an earlier run in this folder wrote when it failed.

    Rank 0 calls this before the others know the folder.
    """
    for pattern in ("error.txt", "error_rank*.txt", "stack_rank*.txt"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)


def show_failed_rank(text: str, folder: Path) -> None:
    """Show why all ranks end; `error.txt` says it too, unless this rank's own error is there."""
    path = folder / "error.txt"
    if not path.exists():
        with suppress(OSError):  # the text is shown in any case
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n", encoding="utf-8")
    show_error(text, folder)
    try:
        raise RuntimeError(text)  # torchrun shows the exception that is being handled
    except RuntimeError as error:
        _tell_torchrun(error)
    if not is_first():  # rank 0 is gone, and the log of another rank does not reach the terminal
        sys.stderr.write(f"{text}\n")


def _write_traceback(folder: Path) -> str:
    """Write the traceback and return where it is: in the temporary folder if the run folder is full
    or gone.
    """
    me = own_member()
    name = "error.txt" if me.is_first else f"error_rank{me.rank}.txt"
    text = redacted(traceback.format_exc())
    gone = isinstance(sys.exception(), DiskError) and not folder.exists()
    other = Path(tempfile.gettempdir()) / f"g2rpo_{os.getpid()}_{name}"
    for path in (other,) if gone else (folder / name, other):
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return str(path)
    return "not written, because no disk takes it"


def sentence(error: BaseException) -> str:
    """Return the cause of an error without Hydra's wrapping, but with the configuration key.

    An error of the operating system about a file becomes a sentence with the free space.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        where = Path(str(error.filename)) if error.filename else Path("a file").absolute()
        return redacted(refusal(where, os.strerror(error.errno)))
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
    text = redacted("\n".join(kept))
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
