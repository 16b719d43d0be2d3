"""The page of a preview: what is wrong, a table of tasks, and a card for each prompt."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from g2rpo.prompt import LOGGED
from g2rpo.report.examine import NEARLY, Examined, Marks, Shown, Trial, complaint
from g2rpo.report.inline_picture import Mark, Picture, box_marks
from g2rpo.report.plots import task_palette
from g2rpo.report.render import Cell, render, share_text, shorten_middle, task_cell
from g2rpo.report.settings import Settings

CHOICES = ("model", "data", "task_mix")
QUANTILES = (0.0, 0.5, 0.9, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """All that a preview found."""

    name: str
    prompts: tuple[Examined, ...]
    """Task by task, in the order of training."""
    per_task: int
    seed: int
    sizes: Mapping[str, tuple[int | None, int | None]]
    """Number of prompts for training and held out, by task; None is endless."""
    skipped: Mapping[str, int]
    """Number of records that the source left out, by task."""
    skipped_records: Sequence[str]
    """Why, for as many as the source remembers."""
    settings: Settings
    max_prompt_tokens: int | None

    @property
    def flagged(self) -> tuple[Examined, ...]:
        """Prompts with a problem."""
        return tuple(found for found in self.prompts if found.problems)

    @property
    def too_long(self) -> tuple[Examined, ...]:
        """Prompts that are longer than training accepts."""
        return tuple(found for found in self.prompts if found.too_long)

    def of(self, task: str) -> tuple[Examined, ...]:
        """Return the prompts of a task."""
        return tuple(found for found in self.prompts if found.prompt.task == task)


def preview_page(seen: Seen) -> str:
    """Return the whole page as one string."""
    cards = [_card(found, f"p{number}") for number, found in enumerate(seen.prompts, 1)]
    return render(
        "preview.html.j2",
        title=f"{seen.name} - g2rpo preview",
        seen=seen,
        choices={
            group: seen.settings.choices[group]
            for group in CHOICES
            if group in seen.settings.choices
        },
        tiles=_tiles(seen),
        palette=task_palette([*seen.sizes]),
        tasks=[*seen.sizes],
        rows=[_task_row(seen, task) for task in seen.sizes],
        cards=cards,
        unlisted=sum(seen.skipped.values()) - len(seen.skipped_records),
    )


def _tiles(seen: Seen) -> list[tuple[str, Cell, str]]:
    lengths = [found.tokens for found in seen.prompts if found.tokens is not None]
    limit = f"{len(seen.too_long)} over max_prompt_tokens={seen.max_prompt_tokens}"
    return [
        (
            "Prompts shown",
            str(len(seen.prompts)),
            f"the first {seen.per_task} of each task at most",
        ),
        ("Flagged", str(len(seen.flagged)), "images, gold answer, reward"),
        (
            "Longest prompt",
            f"{max(lengths)} tokens" if lengths else "-",
            "no limit is set" if seen.max_prompt_tokens is None else limit,
        ),
        (
            "Records skipped",
            str(sum(seen.skipped.values())),
            "by the source, listed below" if seen.skipped else "by the source",
        ),
    ]


def _task_row(seen: Seen, task: str) -> list[Cell]:
    own = seen.of(task)
    flagged, long = (
        sum(bool(found.problems) for found in own),
        sum(bool(found.too_long) for found in own),
    )
    types = Counter(found.prompt.answer_type for found in own)
    lengths = [found.tokens for found in own if found.tokens is not None]
    quantiles = np.quantile(lengths, QUANTILES, method="inverted_cdf") if lengths else ()
    share = sum(found.image_tokens for found in own) / sum(lengths) if lengths else math.nan
    return [
        task_cell(task),
        *("endless" if size is None else str(size) for size in seen.sizes[task]),
        str(len(own)),
        ", ".join(f"{kind} {count}" for kind, count in types.most_common()),
        {"text": str(flagged), "kind": "bad" if flagged else ""},
        str(long) if seen.max_prompt_tokens is not None else "-",
        " / ".join(map(str, quantiles)) or "-",
        share_text(share),
        _image_sizes([image for found in own for image in found.images]),
    ]


def _image_sizes(images: Sequence[Shown]) -> str:
    stored = sorted({image.size for image in images if not image.problem}, key=math.prod)
    read = [image.read_size for image in images if image.read_size is not None]
    if not stored:
        return "-"
    span = " to ".join(_by(size) for size in dict.fromkeys((stored[0], stored[-1])))
    return f"{span} → {_by(max(read, key=math.prod))}" if read else span


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _card(found: Examined, anchor: str) -> dict[str, Any]:
    alone = len(found.images) == 1
    meta = found.prompt.meta
    scores = list(dict.fromkeys(score for trial in found.trials for score in trial.scores))
    return {
        "found": found,
        "prompt": found.prompt,
        "anchor": anchor,
        "line": f"{meta['file']}, line {meta['line']}" if "file" in meta else "",
        "pictures": [
            _picture(image, found.marks if alone else Marks(box=None)) for image in found.images
        ],
        "marks": _marks(found.marks) if alone else [],
        "large": "large" if any(image.size[0] > 192 for image in found.images) else "",
        "unclear": not alone and bool(found.images) and bool(found.marks.numbers()),
        "trials": [
            (trial.name, shorten_middle(trial.answer), _verdicts(trial, scores))
            for trial in found.trials
        ],
        "scores": [score.removeprefix(LOGGED) for score in scores],
        "chat": chat_pieces(found),
    }


def _picture(image: Shown, marks: Marks) -> Picture:
    read = (
        f"model sees {_by(image.read_size)}, {image.tokens} tokens"
        if image.read_size
        else "not encoded"
    )
    remarks = [f"{_by(image.size)} px · {read}", *_in_pixels(image.size, marks)]
    return Picture(uri=image.uri, size=image.size, problem=image.problem, remarks=remarks)


def _in_pixels(size: tuple[int, int], marks: Marks) -> list[str]:
    """Return the place of the gold answer in pixels of the stored image."""
    lines = []
    if marks.box:
        corners = (value * size[i % 2] / 1000 for i, value in enumerate(marks.box))
        lines.append(f"gold box in pixels: {', '.join(f'{value:.0f}' for value in corners)}")
    return lines + [
        f"{len(own)} points {name}"
        for name, own in (("inside", marks.inside), ("outside", marks.outside))
        if own
    ]


def _marks(marks: Marks) -> list[Mark]:
    points = [
        (name, point)
        for name, own in (("inside", marks.inside), ("outside", marks.outside))
        for point in own
    ]
    boxes = box_marks({"gold": marks.box}) if marks.box else []
    return boxes + [Mark(f"dot {name}", f"M{x:g} {y:g}h0") for name, (x, y) in points]


def _verdicts(trial: Trial, scores: Sequence[str]) -> list[tuple[str, bool]]:
    """Return each part of the reward as text, and whether it is wrong."""
    if trial.problem:
        return [("not judged", True)]
    wrong = bool(complaint(trial))
    return [
        (_number(trial.scores.get(part)), wrong and part.removeprefix(LOGGED) == "accuracy")
        for part in scores
    ]


def _number(value: float | None) -> str:
    return (
        "-"
        if value is None
        else "0"
        if abs(value) < NEARLY
        else f"{value:.3f}".rstrip("0").removesuffix(".")
    )


def chat_pieces(found: Examined) -> list[tuple[str, bool]]:
    """Return what the model reads in pieces; True marks an image, with its number of tokens."""
    texts = shorten_middle(found.chat).split(found.placeholder)
    counts = [image.tokens for image in found.images]
    whole = (
        len(texts) == len(counts) + 1
    )  # False if the text itself contains the placeholder, or was cut
    pieces = [(texts[0], False)]
    for number, text in enumerate(texts[1:]):
        repeat = (
            f" \N{MULTIPLICATION SIGN} {counts[number]}"
            if whole and counts[number] is not None
            else ""
        )
        pieces += [(f"{found.placeholder}{repeat}", True), (text, False)]
    return pieces
