"""RefCOCO (arXiv 1608.00272): find the box of what a sentence describes.

An answer is right if its overlap (IoU) with the gold box is at least one half. Protocols:

paper       OneThinker: JSON with `boxes`, in thousandths of the image, taken unchanged
vlmevalkit  the first four numbers; the unit is guessed from their size, the box is clipped to the
            image, and corners are put in order
robust      the first box, in the unit the model is known to use, with corners put in order
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import first, identity, needed, needed_image, size_px, text_of
from g2rpo.benchmark.demo import named_object
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.boxes import (
    GRID,
    Box,
    first_box,
    guessed_pixels,
    hits,
    in_order,
    loose_box,
    scaled,
    strict_box,
)
from g2rpo.scoring.extract import clean, finite_numbers, json_object
from g2rpo.scoring.points import NORMALISED_UP_TO, whole_value
from g2rpo.scoring.spoken import spoken

COORDINATES = ("permille", "pixel", "unit")
BOX_FORMATS = ("0-1000", "pixels")
ASKED = "Please provide the bounding box coordinate of the region this sentence describes: {}."
FORMAT = 'Answer with the box alone, as JSON with the key boxes: {"boxes": [35, 227, 437, 932]}'
_SENTENCE = re.compile(r"sentence describes:\s*+(?:<ref>)?(.*?)(?:</ref>)?\.?$", re.S)


class RefCoco(BenchmarkBase):
    """One row for each sentence of val, testA and testB.

    `coordinates` is the unit of the model's boxes under `robust`: thousandths of the image, pixels,
    or
    fractions of the image.
    """

    name = "refcoco"
    task = "grounding"
    protocols = ("paper", "vlmevalkit", "robust")
    reads_thinking = ("paper",)
    answer_type = "spatial grounding"
    parts = ("split",)
    # The paper does not say whether its RefCOCO scores are of the val split or means over splits.
    published = Published(
        row=16,
        title="RefCOCO",
        base=89.9,
        onethinker=92,
        grpo=92.1,
        gdpo=92.2,
        openvlthinker_v2=93.4,
    )
    demo_task = "grounding"

    def __init__(
        self,
        *,
        coordinates: str = "permille",
        sources: Mapping[str, Mapping[str, Any]] | None = None,
        quick: bool = False,
    ) -> None:
        super().__init__(sources=sources, quick=quick)
        if coordinates not in COORDINATES:
            raise ValueError(
                f"benchmark.coordinates: expected one of {', '.join(COORDINATES)}, got"
                f" {coordinates!r}"
            )
        self.coordinates = coordinates

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read OneThinker's JSON, VLMEvalKit's TSV, or the Hub's tables of objects."""
        image = needed_image(self.name, record, "image", "images", "path", "image_path")
        width, height = size_px(image)
        read = _problem if "problem" in record else _table_row
        box, box_format, sentence = read(self.name, record, width, height)
        corners = finite_numbers(list(box) if isinstance(box, list | tuple) else box, 4)
        if corners is None or not (corners[0] < corners[2] and corners[1] < corners[3]):
            raise ValueError(f"answer: expected a box [x0, y0, x1, y1], got {box!r}")
        split, number = _split(record), text_of(first(record, "problem_id")) or identity(record)
        return {
            "id": f"{split}/{number}" if split else number,  # OneThinker counts each split from 0
            "question": sentence.strip(),
            "images": [image],
            "answer": list(corners),
            "box_format": box_format,
            "width": width,
            "height": height,
            "split": split,
        }

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return OneThinker's question; VLMEvalKit marks the sentence instead."""
        if protocol == "vlmevalkit":
            return ASKED.format(f"<ref>{row['question']}</ref>").removesuffix(".")
        return f"{ASKED.format(row['question'])}\n{FORMAT}"

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score one completion."""
        self.check_protocol(protocol)
        width, height, gold = _gold(row)
        if protocol == "paper":
            box = strict_box(completion)
            compared = box
        elif protocol == "vlmevalkit":
            box = loose_box(spoken(completion))
            pixels = None if box is None else guessed_pixels(box, width, height)
            compared = None if pixels is None else scaled(pixels, GRID / width, GRID / height)
        else:
            box = first_box(clean(completion))
            compared = None if box is None else in_order(self._permille(box, width, height))
        hit = compared is not None and hits(compared, gold)
        return Judgment(
            score=float(hit),
            parsed=box is not None,
            answer="" if box is None else str([round(value, 4) for value in box]),
        )

    def gold_completion(self, row: Mapping[str, Any]) -> str:
        """Return the gold box as JSON in thousandths of the image."""
        return json.dumps({"boxes": [round(value) for value in _gold(row)[2]]})

    def _permille(self, box: Box, width: float, height: float) -> Box:
        if self.coordinates == "pixel":
            return scaled(box, GRID / width, GRID / height)
        return scaled(box, GRID, GRID) if self.coordinates == "unit" else box

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in OneThinker's columns."""
        return [
            {
                "problem_id": number,
                "problem": f"<image>{ASKED.format(named_object(prompt))}",
                "data_type": "image",
                "problem_type": "spatial grounding",
                "options": [],
                "solution": f"<answer>{prompt.answer}</answer>",
                "images": [prompt.images[0]],
                "split": "val",
            }
        ]


def _gold(row: Mapping[str, Any]) -> tuple[float, float, Box]:
    """Return width, height and the gold box in thousandths of the image.

    If the box is in thousandths already, the size need not be known.
    """
    box_format = row.get("box_format", "0-1000")
    if box_format not in BOX_FORMATS:
        raise ValueError(
            f"box_format: expected one of {', '.join(BOX_FORMATS)}, got {box_format!r}"
        )
    x0, y0, x1, y1 = (float(value) for value in row["answer"])
    if box_format == "0-1000":
        return float(row.get("width") or GRID), float(row.get("height") or GRID), (x0, y0, x1, y1)
    width, height = float(needed("refcoco", row, "width")), float(needed("refcoco", row, "height"))
    return width, height, scaled((x0, y0, x1, y1), GRID / width, GRID / height)


def _problem(name: str, record: Mapping[str, Any], width: int, height: int) -> tuple[Any, str, str]:
    """Return box, box format and sentence of a record of OneThinker."""
    answer = needed(name, record, "solution", "answer")
    box = (json_object(clean(str(answer))) or {}).get("boxes")
    question = str(needed(name, record, "problem")).replace("<image>", "").strip()
    return box, "0-1000", _sentence(question)


def _table_row(
    name: str, record: Mapping[str, Any], width: int, height: int
) -> tuple[Any, str, str]:
    """Return box, box format and sentence of a table's row."""
    # One object with all of its sentences, and its box as x, y, width, height.
    if record.get("bbox") is not None:
        x, y, w, h = finite_numbers(list(record["bbox"]), 4) or (0.0, 0.0, 0.0, 0.0)
        sentences = needed(name, record, "answer")
        return (
            [x, y, x + w, y + h],
            "pixels",
            sentences if isinstance(sentences, str) else " / ".join(sentences),
        )
    if record.get("bbox_x1") not in (None, ""):
        value: Any = [record.get(f"bbox_{corner}") for corner in ("x1", "y1", "x2", "y2")]
    else:
        answer = needed(name, record, "answer")
        value = whole_value(answer) if isinstance(answer, str) else answer
    box = finite_numbers(list(value) if isinstance(value, list | tuple) else value, 4)
    if box and max(box) <= NORMALISED_UP_TO:
        value = scaled((box[0], box[1], box[2], box[3]), width, height)
    return value, "pixels", _sentence(str(needed(name, record, "question")))


def _sentence(question: str) -> str:
    """Return what is described, without the request around it."""
    match = _SENTENCE.search(question)
    return match[1] if match else question


def _split(record: Mapping[str, Any]) -> str:
    """Return the split from a column `split`, or from a category such as `RefCOCO+ testA`."""
    words = str(record.get("split") or record.get("category") or "").replace("_", " ").split()
    return words[-1] if words else ""
