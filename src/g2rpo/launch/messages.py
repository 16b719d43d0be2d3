"""What ranks and rank 0 tell each other: dataclasses, sent as JSON with the name of their class."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from g2rpo.launch.member import Member


@dataclass(frozen=True)
class Failed:
    """A rank ends with an error.

    Args:
        text: What went wrong.
        echo: Whether another rank probably failed first: the error came from a collective.
        code: Exit code of all ranks.
    """

    text: str
    echo: bool = False
    code: int = 1


@dataclass(frozen=True)
class Stuck:
    """Where a rank is.

    Args:
        marks: Its number of marks of progress.
        where: Function, file and line of its main thread.
        waits: Whether it waits in a collective operation.
        silent_s: Seconds since its last mark.
    """

    marks: int
    where: str
    waits: bool
    silent_s: float


@dataclass(frozen=True)
class Working:
    """What a rank works on.

    Args:
        tasks: Names of the tasks of its prompts, separated by commas; empty without prompts.
    """

    tasks: str

    @property
    def words(self) -> str:
        """What is added to a message about the rank."""
        return f" (last on tasks {self.tasks})" if self.tasks else ""


@dataclass(frozen=True)
class Stop:
    """A signal has asked a rank, and thereby all ranks, to stop.

    Args:
        signum: The number of the signal.
    """

    signum: int


@dataclass(frozen=True)
class Left:
    """A rank has finished its part."""


@dataclass(frozen=True)
class Report:
    """Rank 0 asks every rank where it is."""


@dataclass(frozen=True)
class Closed:
    """Rank 0 has finished and no longer watches the other ranks."""


@dataclass(frozen=True)
class Verdict:
    """Why all ranks end.

    Args:
        text: The message for the user.
        speaker: The rank that shows it.
        code: Exit code of all ranks.
        silent: Ranks that do not answer and have to be killed by the others on their machine.
    """

    text: str
    speaker: int = 0
    code: int = 1
    silent: tuple[Member, ...] = ()


Message = Member | Failed | Stuck | Working | Stop | Left | Report | Closed | Verdict
KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind
    for kind in (Member, Failed, Stuck, Working, Stop, Left, Report, Closed, Verdict)
}


def packed(message: Message) -> dict[str, Any]:
    """Return a message as plain values for JSON."""
    return {"kind": type(message).__name__} | asdict(message)


def unpacked(plain: Any) -> Message:
    """Undo `packed`.

    Raises:
        ConnectionAbortedError: for anything else.
    """
    try:
        fields = dict(plain)
        kind = KINDS[fields.pop("kind")]
        if kind is Verdict:
            fields["silent"] = tuple(Member(**own) for own in fields["silent"])
        return kind(**fields)
    except (TypeError, ValueError, KeyError) as error:
        raise ConnectionAbortedError(f"expected a message of a rank, got {plain!r:.100}") from error
