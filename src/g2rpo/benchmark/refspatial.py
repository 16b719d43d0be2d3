"""RefSpatial-Bench (arXiv 2506.04308): point at the place a sentence describes.

A point is right if it lies in the gold mask. Protocols:

paper     VLMEvalKit, where two classes claim this benchmark's id: `RefSpatialBench` scores the
          fraction of points inside, `RefSpatialDataset` whether any is. A row's `source` may name
          one of them; otherwise the row gets the higher of the two scores
official  RoboRefer: the fraction of points inside; a box stands for all of its pixels
robust    whether the first point is inside; a point outside the image is not
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import identity, needed, needed_image, size_px
from g2rpo.benchmark.demo import box_shares, center_point, named_object
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.extract import clean
from g2rpo.scoring.points import Point, first_point, pixel_areas
from g2rpo.scoring.regions import Mask
from g2rpo.scoring.spoken import spoken
from g2rpo.scoring.vlmevalkit_points import Area, dataset_points, parser_places

POINT_INSTRUCTION = (
    'Output the point coordinates in JSON format.\nFor example:\n[\n  {"point_2d": [x, y], "label":'
    ' "point_1"}\n]'
)
WITHOUT_UNSEEN = ("location", "placement")
"""The categories used to compare a model that was not trained on RefSpatial."""


class RefSpatial(BenchmarkBase):
    """277 questions: 100 location, 100 placement, 77 unseen (for models trained on RefSpatial)."""

    name = "refspatial"
    task = "spatial"
    protocols = ("paper", "official", "robust")
    answer_type = "point"
    published = Published(
        row=14,
        title="RefSpatial",
        base=43.9,
        onethinker=38.9,
        grpo=43.3,
        gdpo=43,
        openvlthinker_v2=44.6,
    )
    demo_task = "grounding"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read a record of the Hub, of RoboRefer's JSON or of a TSV."""
        image, mask = (
            needed_image(self.name, record, *names)
            for names in (("image", "rgb_path", "image_path"), ("mask", "mask_path"))
        )
        width, height = size_px(image)
        if size_px(mask) != (width, height):
            raise ValueError(
                f"mask: expected {width} x {height} pixels as the image has, got {size_px(mask)}"
            )
        category = str(needed(self.name, record, "category", "split")).lower()
        return {
            "id": f"{category}/{identity(record)}",
            "question": str(needed(self.name, record, "prompt", "question")),
            "suffix": str(record.get("suffix") or ""),
            "images": [image],
            "mask": mask,
            "answer": "",
            "width": width,
            "height": height,
            "category": category,
            "step": record.get("step"),
        }

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return the sentence with the answer instructions of the protocol."""
        return (
            f"{row['question']}"
            f" {row['suffix'] if protocol == 'official' and row['suffix'] else POINT_INSTRUCTION}"
        )

    def subscores(self, row: Mapping[str, Any]) -> Sequence[str]:
        """Return the category, and `set/without_unseen` for the two usually reported together."""
        return [
            *super().subscores(row),
            *(["set/without_unseen"] if row.get("category") in WITHOUT_UNSEEN else []),
        ]

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
        mask, text = _mask(row), clean(completion) if protocol == "robust" else spoken(completion)
        if protocol == "paper":
            return _by_vlmevalkit(text, mask, str(row.get("source") or ""))
        if protocol == "official":
            areas = pixel_areas(text, mask.width, mask.height)
            return Judgment(
                score=mask.share_of(areas or []), parsed=bool(areas), answer=_written(areas or [])
            )
        point = first_point(text)
        return _judged([point] if point else [], float(point is not None and mask.has_share(point)))

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in the Hub's columns.

        The mask is white inside the gold box.
        """
        name, image = named_object(prompt), prompt.images[0]
        mask = Image.new("L", image.size)
        x0, y0, x1, y1 = (
            round(share * side)
            for share, side in zip(box_shares(prompt.answer), image.size * 2, strict=True)
        )
        ImageDraw.Draw(mask).rectangle((x0, y0, x1 - 1, y1 - 1), fill=255)
        return [
            {
                "id": number,
                "split": ("location", "placement", "unseen")[number % 3],
                "image": image,
                "mask": mask,
                "object": f"the {name}",
                "prompt": f"Please point out the {name}.",
                "suffix": (
                    "Your answer should be formatted as a list of tuples, i.e. [(x, y)], of shares"
                    " of the image between 0 and 1."
                ),
                "step": 1,
            }
        ]

    def gold_completion(self, row: Mapping[str, Any]) -> str:
        """Return the center of the smallest box around the mask, as a point in JSON."""
        mask = _mask(row)
        inside = np.frombuffer(mask.pixels, np.uint8).reshape(mask.height, mask.width)
        rows, columns = np.nonzero(inside)
        if not len(rows):
            return ""
        x = (columns.min() + columns.max() + 1) / 2 / mask.width
        y = (rows.min() + rows.max() + 1) / 2 / mask.height
        return json.dumps([{"point_2d": [round(1000 * x), round(1000 * y)]}])

    def said(self, row: Mapping[str, Any], answer: str) -> str:
        """Return the center of a box as a point in JSON."""
        return center_point(answer)


def _by_vlmevalkit(text: str, mask: Mask, source: str) -> Judgment:
    by_share, by_any = parser_places(text, mask.width, mask.height), dataset_points(text)
    inside, total = 0, 0
    for place in by_share:
        if isinstance(place, Area):
            inside += mask.count_clipped(place)
            total += (place.x1 - place.x0) * (place.y1 - place.y0)
        else:
            x, y = mask.clipped(place[0] * mask.width, place[1] * mask.height)
            inside += mask.has(round(x), round(y))
            total += 1
    share = inside / total if total else 0.0
    any_inside = any(
        mask.has(int(x), int(y))
        for x, y in (mask.clipped(int(x * mask.width), int(y * mask.height)) for x, y in by_any)
    )
    if "RefSpatialBench" in source:
        return _judged(by_share, share)
    if "RefSpatialDataset" in source:
        return _judged(by_any, float(any_inside))
    return _judged(
        by_any if any_inside or not by_share else by_share, max(share, float(any_inside))
    )


def _judged(points: Sequence[Point | Area], score: float) -> Judgment:
    return Judgment(score=score, parsed=bool(points), answer=_written(points))


def _written(points: Sequence[Sequence[float]]) -> str:
    return " ".join(f"({', '.join(f'{value:.4g}' for value in point)})" for point in points[:8])


def _mask(row: Mapping[str, Any]) -> Mask:
    """Return the mask of a row: from `mask_rect`, or from the first channel of an image."""
    if row.get("mask_rect") is not None:
        return Mask.rectangle(
            int(row["width"]), int(row["height"]), [int(value) for value in row["mask_rect"]]
        )
    mask = needed("refspatial", row, "mask")
    # A mask holds labels, so its stored values are read without color conversion.
    with mask.copy() if isinstance(mask, Image.Image) else Image.open(mask) as image:
        seen = np.asarray(
            image.convert("RGB") if image.mode in ("P", "CMYK", "YCbCr", "HSV", "LAB") else image
        )
    inside = (seen[..., 0] if seen.ndim == 3 else seen) > 0
    return Mask(inside.shape[1], inside.shape[0], inside.astype(np.uint8).tobytes())
