"""What completions.jsonl holds: numbers of every completion, and the prompts that pages show."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, MutableSequence
from dataclasses import dataclass, field

from g2rpo.report.error_kinds import verdict
from g2rpo.report.file_rows import Row
from g2rpo.training.showcase import PROMPTS_PER_TASK, is_shown

COMPLETIONS_SHOWN = 8
"""Maximum number of completions shown per group."""


@dataclass(frozen=True, slots=True)
class Draws:
    """What one task's completions earned in training, one entry each, in the order of the file."""

    steps: MutableSequence[int] = field(default_factory=lambda: array("q"))
    rewards: MutableSequence[float] = field(default_factory=lambda: array("d"))
    advantages: MutableSequence[float] = field(default_factory=lambda: array("d"))
    staleness: Counter[int] = field(default_factory=Counter)
    """Number of completions by the updates since their oldest token, if the engine says it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCompletion:
    """One completion of a group; `parts` are the parts of its reward by name."""

    text: str
    verdict: str
    reward: float
    advantage: float
    parts: Mapping[str, float]
    tokens: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPrompt:
    """A training prompt at one step, with its group."""

    step: int
    task: str
    id: str
    text: str
    answer: str
    group: list[TrainingCompletion] = field(default_factory=list)

    @property
    def completions(self) -> list[TrainingCompletion]:
        """The completions that are shown: the first of the group."""
        return self.group[:COMPLETIONS_SHOWN]

    @property
    def left_out(self) -> int:
        """Number of completions that are not shown."""
        return len(self.group) - len(self.completions)


def read_training(rows: Iterable[Row]) -> tuple[dict[str, Draws], list[TrainingPrompt]]:
    """Read rows in the order of the file; keep their numbers and the prompts that pages show."""
    draws: dict[str, Draws] = {}
    kept: list[TrainingPrompt] = []
    current: dict[str, TrainingPrompt] = {}
    step, batch = None, 0
    for row in rows:
        task, now = row.task(), row.whole("step")
        own = draws.setdefault(task, Draws())
        own.steps.append(now)
        own.rewards.append(row.number("reward"))
        own.advantages.append(row.number("advantage"))
        if "staleness" in row.fields:
            own.staleness[row.whole("staleness")] += 1
        if now != step:
            kept += current.values() if is_shown(batch) else ()
            step, batch, current = now, batch + 1, {}
        name = row.text("prompt_id")
        if (
            name not in current
            and sum(prompt.task == task for prompt in current.values()) < PROMPTS_PER_TASK
        ):
            current[name] = TrainingPrompt(
                step=now, task=task, id=name, text=row.text("prompt"), answer=row.text("answer")
            )
        if name in current:
            current[name].group.append(_completion(row))
    return draws, [*kept, *current.values()]


def _completion(row: Row) -> TrainingCompletion:
    accuracy, form = row.number("accuracy"), row.number("format", optional=True)
    parts = row.inner("parts") if "parts" in row.fields else None
    return TrainingCompletion(
        text=row.text("completion"),
        verdict=verdict(accuracy, form, finished=row.fields.get("finished") is not False),
        reward=row.number("reward"),
        advantage=row.number("advantage"),
        parts={"accuracy": accuracy, "format": form}
        if parts is None
        else {key: parts.number(key) for key in parts.fields},
        tokens=row.number("completion_tokens"),
    )
