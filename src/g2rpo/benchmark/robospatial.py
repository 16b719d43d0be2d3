"""RoboSpatial-Home (arXiv 2411.16537): yes-or-no questions on relations, and points in free space.

The gold region of a point is a polygon. Protocols:

paper     VLMEvalKit: yes or no at the beginning; the first point by its even-odd rule, which finds
          nothing inside upright boxes
official  RoboSpatial-Eval: yes or no at the beginning; the first point as written, in fractions of
          the image
robust    yes or no as stated; the first point in fractions or thousandths of the image; the edge
          counts as inside
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import identity, needed, needed_image, size_px
from g2rpo.benchmark.demo import box_shares, center_point, named_object
from g2rpo.benchmark.published import Published
from g2rpo.benchmark.refspatial import POINT_INSTRUCTION
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.extract import clean, finite_numbers
from g2rpo.scoring.points import Point, first_point, leading_point, whole_value
from g2rpo.scoring.regions import covers, crosses_odd, crosses_odd_unguarded
from g2rpo.scoring.spoken import spoken
from g2rpo.scoring.vlmevalkit_points import Area, parser_places
from g2rpo.scoring.yes_no import leading_yes_no, stated_yes_no

FORMAT_HINT = "Your answer should"
"""Where the data set's own words on the format of points begin."""
SLANT = 0.02
"""How far the sides of a demo polygon lean, as a fraction of the image's width.

VLMEvalKit's rule finds nothing inside upright boxes.
"""


class RoboSpatial(BenchmarkBase):
    """350 questions: 105 compatibility and 123 configuration (yes or no), 122 points."""

    name = "robospatial"
    task = "spatial"
    protocols = ("paper", "official", "robust")
    published = Published(
        row=15,
        title="RoboSpatial",
        base=60.6,
        onethinker=61.7,
        grpo=61.7,
        gdpo=61.7,
        openvlthinker_v2=63.2,
    )
    demo_task = "grounding"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read a record of the Hub or of a TSV."""
        image = needed_image(self.name, record, "img", "image", "image_path")
        answer = str(needed(self.name, record, "answer")).strip()
        binary = answer.lower() in ("yes", "no")
        if not binary and _polygon(answer) is None:
            raise ValueError(
                f"answer: expected yes, no or a list of at least three (x, y), got {answer[:100]!r}"
            )
        width, height = size_px(image)
        category = str(needed(self.name, record, "category", "split")).lower()
        return {
            "id": f"{category}/{identity(record)}",
            "question": str(needed(self.name, record, "question")),
            "images": [image],
            "answer": answer.lower() if binary else answer,
            "binary": binary,
            "width": width,
            "height": height,
            "category": category,
        }

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return `yes or no` or `point`."""
        return "yes or no" if row["binary"] else "point"

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return the question; for points, with VLMEvalKit's words on the format."""
        if row["binary"] or protocol == "official":
            return str(row["question"])
        return f"{str(row['question']).partition(FORMAT_HINT)[0].rstrip()}\n\n{POINT_INSTRUCTION}"

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
        text = clean(completion) if protocol == "robust" else spoken(completion)
        if row["binary"]:
            word = (stated_yes_no if protocol == "robust" else leading_yes_no)(text)
            return Judgment(
                score=float(word == str(row["answer"]).strip().lower()),
                parsed=word is not None,
                answer=word or "",
            )
        polygon = _polygon(row["answer"])
        if polygon is None:
            raise ValueError(
                f"row {row.get('id')}: answer: expected a list of at least three (x, y), got"
                f" {row['answer']!r}"
            )
        point = _point(text, row, protocol)
        contains = {"paper": crosses_odd_unguarded, "official": crosses_odd, "robust": covers}[
            protocol
        ]
        inside = point is not None and contains(point, polygon)
        return Judgment(
            score=float(inside),
            parsed=point is not None,
            answer="" if point is None else f"({point[0]:.4g}, {point[1]:.4g})",
        )

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return a record in the Hub's columns; every third has a polygon."""
        name, (x0, y0, x1, y1) = named_object(prompt), box_shares(prompt.answer)
        if number % 3 == 2:
            corners = ((x0, y0 + SLANT), (x1 - SLANT, y0), (x1, y1 - SLANT), (x0 + SLANT, y1))
            written = ", ".join(f"({x:.3f}, {y:.3f})" for x, y in corners)
            hint = (
                "Your answer should be formatted as a list of tuples, i.e. [(x1, y1), (x2, y2),"
                " ...]."
            )
            return [
                _demo_record(
                    "context", f"Point within the {name}. {hint}", f"[{written}]", prompt, number
                )
            ]
        sides = ("left", "right") if (x0 + x1) / 2 < 0.5 else ("right", "left")
        side = sides[number // 3 % 2]
        question = f"Is the {name} in the {side} half of the image? Answer yes or no."
        category = ("compatibility", "configuration")[number % 3]
        return [
            _demo_record(category, question, "yes" if side == sides[0] else "no", prompt, number)
        ]

    def gold_completion(self, row: Mapping[str, Any]) -> str:
        """Return yes or no, or the mean of the polygon's corners as a point in JSON."""
        corners = _polygon(row["answer"])
        if row["binary"] or corners is None:
            return str(row["answer"])
        means = [round(1000 * sum(axis) / len(axis)) for axis in zip(*corners, strict=True)]
        return json.dumps([{"point_2d": means}])

    def said(self, row: Mapping[str, Any], answer: str) -> str:
        """Return the answer that a box implies: yes or no for an asked half, else its center."""
        if not row["binary"]:
            return center_point(answer)
        x0, _, x1, _ = box_shares(answer)
        side = "left" if (x0 + x1) / 2 < 0.5 else "right"
        return "yes" if f"the {side} half" in row["question"] else "no"


def _point(text: str, row: Mapping[str, Any], protocol: str) -> Point | None:
    if protocol == "official":
        return leading_point(text)
    if protocol == "robust":
        return first_point(text)
    # The size of the image matters only for coordinates in pixels.
    width, height = float(row.get("width") or 1), float(row.get("height") or 1)
    place = next(iter(parser_places(text, width, height)), None)
    return (place.x0 / width, place.y0 / height) if isinstance(place, Area) else place


def _polygon(answer: Any) -> list[tuple[float, ...]] | None:
    """Return the vertices of the gold region; None if the answer is not a polygon."""
    corners = whole_value(answer) if isinstance(answer, str) else answer
    if not isinstance(corners, list | tuple) or len(corners) < 3:
        return None
    points = [
        finite_numbers(list(corner) if isinstance(corner, list | tuple) else corner, 2)
        for corner in corners
    ]
    return None if None in points else [point for point in points if point is not None]


def _demo_record(
    category: str, question: str, answer: str, prompt: Prompt, number: int
) -> dict[str, Any]:
    return {
        "category": category,
        "question": question,
        "answer": answer,
        "img": prompt.images[0],
        "depth_image": None,
        "mask": None,
        "index": number,
    }
