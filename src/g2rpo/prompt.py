"""What a reward reads and says. Without torch, so that a process that only judges is there at once
and small; see `records.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

TASKS = ("general_vqa", "math", "chart", "spatial", "document", "grounding")
"""The one axis along which everything is told apart: data, mixture, rewards, advantages, shaping,
logs, evaluation.
"""


_OTHER_KINDS = {
    "bbox": "spatial grounding",
    "box": "spatial grounding",
    "boxes": "spatial grounding",
    "numeric": "numerical",
}

MARKER = "<image>"
"""Stands for an image in the text of a prompt."""


@cache
def answer_kind(answer_type: str) -> str:
    """An answer type's plain name: `OCR` and `multiple_choice` are `ocr` and `multiple choice`,
    `bbox` is `spatial grounding`.

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
    """The user's turn, without chat template. Each `<image>` in it is the place of the next image;
    without any, images come first.
    """
    images: Sequence[Any]
    """PIL images, or paths that are opened when the prompt is encoded."""
    answer: str
    """The gold answer, with or without `<answer>` tags."""
    answer_type: str
    """How an answer is judged: `multiple choice`, `numerical`, `regression`, `OCR`, `math`,
    `spatial grounding`, ...
    """
    media: str = "image"
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else goes with the prompt: `file` and `line`, `options` (capital letter to text),
    `alternatives` (all gold answers).
    """
    system: str = ""
    """The system prompt; without one, the chat template's own."""
    history: Sequence[tuple[str, str]] = ()
    """Earlier turns as (`user` or `assistant`, text), in their order. Their images come before
    those of `text`.
    """


def chat_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Return a prompt as messages for a chat template, with one part of type `image` at the place
    of each image.

    Raises:
        ValueError: When the texts have another number of `<image>` than the prompt has images.
            Without images, `<image>` is text.

    >>> ask = Prompt(id="1", task="math", text="Is <image> a cat?", images=["a.png"], answer="yes", answer_type="open ended")
    >>> [part["type"] for part in chat_messages(ask)[0]["content"]]
    ['text', 'image', 'text']
    """
    turns = [*prompt.history, ("user", prompt.text)]
    count, markers = len(prompt.images), sum(text.count(MARKER) for _, text in turns)
    if count and markers not in (0, count):
        raise ValueError(
            f"prompt {prompt.id!r}: expected one {MARKER} for each of its {count} images, or none,"
            f" got {markers}"
        )
    pieces = [(role, text.split(MARKER) if count else [text]) for role, text in turns]
    if not markers:
        first = next(place for place, (role, _) in enumerate(turns) if role == "user")
        pieces[first] = ("user", [""] * count + pieces[first][1])
    system = (
        [{"role": "system", "content": [{"type": "text", "text": prompt.system}]}]
        if prompt.system
        else []
    )
    return system + [{"role": role, "content": _parts(texts)} for role, texts in pieces]


def _parts(texts: Sequence[str]) -> list[dict[str, str]]:
    """Text and image parts in turns; an image stands between any two texts."""
    parts: list[dict[str, str]] = []
    for place, text in enumerate(texts):
        if place:
            parts.append({"type": "image"})
        if text:
            parts.append({"type": "text", "text": text})
    return parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A completion that could not be judged."""

    reason: str
