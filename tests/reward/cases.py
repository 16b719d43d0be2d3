"""Prompts, answers and a gold answer of every answer type, for the tests of the rewards."""

import json
from typing import Any

from g2rpo.records import Prompt

BOX = '{"boxes": [100, 200, 500, 600]}'
SPAN = '{"time": [2, 8]}'
TRACK = '{"boxes": {"0": [0, 0, 10, 10], "5": [5, 5, 20, 20]}}'
TRACKED = '{"time": [2, 8], "boxes": {"0": [0, 0, 10, 10], "5": [5, 5, 20, 20]}}'
MASK: dict[str, Any] = {
    "boxes": [10, 10, 110, 110],
    "positive_points": [[20, 20], [50, 50], [90, 90]],
    "negative_points": [[5, 5], [120, 120], [130, 20]],
}
GOLDS = {
    "multiple choice": "B",
    "numerical": "12.5",
    "regression": "2.5",
    "relaxed": "14",
    "OCR": "Invoice No. 4821",
    "open-ended": "two dogs are playing",
    "math": "12",
    "spatial grounding": BOX,
    "temporal grounding": SPAN,
    "spatial-temporal grounding": TRACKED,
    "tracking": TRACK,
    "segmentation": json.dumps(MASK),
}


def prompt_of(answer_type: str, answer: str, media: str = "image", **meta: Any) -> Prompt:
    return Prompt(
        id="t/7",
        task="math",
        text="?",
        images=(),
        answer=answer,
        answer_type=answer_type,
        media=media,
        meta=meta,
    )


def tagged(answer: str, tag: str = "thinking") -> str:
    return f"<{tag}>so</{tag}><answer>{answer}</answer>"
