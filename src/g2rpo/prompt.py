"""The input and output of a reward. This module needs no torch, so reward workers start fast.

`records.py` has the records with tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

_OTHER_KINDS = {
    "bbox": "spatial grounding",
    "box": "spatial grounding",
    "boxes": "spatial grounding",
    "numeric": "numerical",
}

LOGGED = "log/"
"""Begins the names of numbers that a reward returns only to be logged, not as parts of itself."""

MARKER = "<image>"
"""Marks the place of an image in the text of a prompt."""


@cache
def answer_kind(answer_type: str) -> str:
    """Return the normalized name of an answer type: lower case, with spaces, without synonyms.

    >>> answer_kind("Spatial_Grounding"), answer_kind("numeric")
    ('spatial grounding', 'numerical')
    """
    name = " ".join(answer_type.lower().replace("_", " ").replace("-", " ").split())
    return _OTHER_KINDS.get(name, name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One question about zero or more images, with the data that a reward needs."""

    id: str
    """Unique in its source and equal in every run: `gym/train/chart/17`."""
    task: str
    """Any name; data, mixtures, advantages, shaping, metrics and scores are split by it."""
    text: str
    """The user turn, without chat template. Each `<image>` marks the place of the next image;
    without any marker, images come first.
    """
    images: Sequence[Any]
    """PIL images, or paths that are opened when the prompt is encoded."""
    answer: str
    """The gold answer, with or without `<answer>` tags."""
    answer_type: str
    """Selects how an answer is scored: `multiple choice`, `numerical`, `regression`, `OCR`, ..."""
    media: str = "image"
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Other data: `file` and `line`, `options` (capital letter to text), `alternatives` (golds)."""
    system: str = ""
    """The system prompt; if empty, the default of the chat template."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the record as its author named them, for reward functions; without images."""
    history: Sequence[tuple[str, str]] = ()
    """Earlier turns as (`user` or `assistant`, text); their images come before those of `text`."""


def chat_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Return a prompt as chat messages, with one part of type `image` at the place of each image.

    In a prompt without images, `<image>` is ordinary text.

    Raises:
        ValueError: If the number of `<image>` markers is neither 0 nor the number of images.

    >>> text = "Is <image> a cat?"
    >>> prompt = Prompt(
    ...     id="1", task="math", text=text, images=["a.png"], answer="yes", answer_type="open ended"
    ... )
    >>> [part["type"] for part in chat_messages(prompt)[0]["content"]]
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
    """Return the texts as parts, with an image part between any two of them."""
    parts: list[dict[str, str]] = []
    for place, text in enumerate(texts):
        if place:
            parts.append({"type": "image"})
        if text:
            parts.append({"type": "text", "text": text})
    return parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """The outcome of a completion that could not be scored."""

    reason: str


def accuracy_in(outcome: Mapping[str, float]) -> float:
    """Return the accuracy among what a reward returned: a part of it, or a number to be logged."""
    logged = outcome.get(LOGGED + "accuracy")
    return outcome["accuracy"] if logged is None else logged
