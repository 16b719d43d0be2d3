"""What a reward reads and says. Without torch, so that a process that only judges is there at once and small; see `records.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

TASKS = ("general_vqa", "math", "chart", "spatial", "document", "grounding")
"""The one axis along which everything is told apart: data, mixture, rewards, advantages, shaping, logs, evaluation."""


_OTHER_KINDS = {"bbox": "spatial grounding", "box": "spatial grounding", "boxes": "spatial grounding", "numeric": "numerical"}


@cache
def answer_kind(answer_type: str) -> str:
    """An answer type's plain name: `OCR` and `multiple_choice` are `ocr` and `multiple choice`, `bbox` is `spatial grounding`.

    >>> answer_kind("Spatial_Grounding"), answer_kind("numeric")
    ('spatial grounding', 'numerical')
    """
    name = " ".join(answer_type.lower().replace("_", " ").replace("-", " ").split())
    return _OTHER_KINDS.get(name, name)


def task_index(task: str) -> int:
    """Position of a task's name in `TASKS`; a `ValueError` names the choices."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; expected one of: {', '.join(TASKS)}")
    return TASKS.index(task)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One question about zero or more images, with what a reward needs to judge an answer."""

    id: str
    """Unique in its source and the same in every run: `gym/train/chart/17`."""
    task: str
    """One of `TASKS`."""
    text: str
    """The user's turn, without chat template and image placeholders; images stand before the text."""
    images: Sequence[Any]
    """PIL images, or paths that are opened when the prompt is encoded."""
    answer: str
    """The gold answer, with or without `<answer>` tags."""
    answer_type: str
    """How an answer is judged: `multiple choice`, `numerical`, `regression`, `OCR`, `math`, `spatial grounding`, ..."""
    media: str = "image"
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A completion that could not be judged."""

    reason: str
