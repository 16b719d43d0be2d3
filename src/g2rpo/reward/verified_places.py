"""Boxes, intervals of time, tracks and segmentation prompts as `reward=verifier` judges them.

The formulas and the structure are the release's (`g2rpo.reward.grounding`). The accuracy reads
every notation in which models name a place: `bbox_2d` and other keys, code fences, bare and nested
lists, corner points, Qwen's box tokens, swapped corners, single quotes, words around the JSON. The
structure still pays for the asked JSON alone.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from g2rpo.prompt import Prompt
from g2rpo.reward import grounding
from g2rpo.reward.by_type import AnswerType, Verdict
from g2rpo.reward.grounding import Mask
from g2rpo.scoring.boxes import (
    box_iou,
    first_box,
    frame_iou,
    in_order,
    point_similarity,
    read_points,
    shared_frame_iou,
)
from g2rpo.scoring.extract import unboxed
from g2rpo.scoring.places import as_box, as_span, as_time, mapping_in, span_in
from g2rpo.scoring.spans import moment_similarity, span_iou

Judge = Callable[[str, Any], Verdict]
Reader = Callable[[str, Any], float]


def _judge(answer: str, gold: Any, *, release: Judge, accuracy: Reader) -> Verdict:
    """Return the release's verdict, with the accuracy of our reader if that is higher."""
    answer = unboxed(answer)
    verdict = release(answer, gold)
    if verdict.accuracy == 1 or not answer:
        return verdict
    return Verdict(max(verdict.accuracy, accuracy(answer, gold)), verdict.structure)


def _box(answer: str, gold: list[float]) -> float:
    box = first_box(answer)
    return 0.0 if box is None else box_iou(list(in_order(box)), gold)


def _span(answer: str, gold: list[float]) -> float:
    span = span_in(answer)
    return 0.0 if span is None else span_iou(list(span), gold)


def _track(answer: str, gold: Mapping[str, Any]) -> float:
    return frame_iou(_frames(mapping_in(answer), gold["boxes"]), gold["boxes"])


def _tracked_span(answer: str, gold: Mapping[str, Any]) -> float:
    found = mapping_in(answer)
    span = as_span(found)
    in_time = 0.0 if span is None else span_iou(list(span), gold["time"])
    return 0.5 * in_time + 0.5 * shared_frame_iou(_frames(found, gold["boxes"]), gold["boxes"])


def _frames(found: Mapping[str, Any], gold: Mapping[str, Any]) -> dict[str, object]:
    """Return the predicted boxes of the gold frames, found under `boxes` or at the top level."""
    boxes = found.get("boxes", found)
    if not isinstance(boxes, Mapping):
        return {}
    named = {str(frame): as_box(box) for frame, box in boxes.items()}
    return {frame: list(box) for frame in gold if (box := named.get(frame)) is not None}


def _mask(answer: str, gold: Mask) -> float:
    found = mapping_in(answer)
    inside, outside = _points(found.get("positive_points")), _points(found.get("negative_points"))
    moment = as_time(found.get("time"))
    if inside is None or outside is None or (gold.moment is not None and moment is None):
        return 0.0
    box = as_box(found)
    overlap = 0.0 if box is None else box_iou(list(box), gold.box)
    points = point_similarity(inside, gold.inside) + point_similarity(outside, gold.outside)
    if gold.moment is None or moment is None:
        return 0.5 * overlap + 0.25 * points
    return 0.3 * overlap + 0.3 * moment_similarity(moment, gold.moment) + 0.2 * points


def _points(value: Any) -> list[tuple[float, ...]] | None:
    items = list(value) if isinstance(value, list | tuple) else []
    points = [
        list(item)
        if isinstance(item, tuple)
        else item.get("point_2d")
        if isinstance(item, Mapping)
        else item
        for item in items
    ]
    return read_points(points)


def _gold_box(text: str, prompt: Prompt) -> list[float] | None:
    return _read_gold_box(text)


def _gold_span(text: str, prompt: Prompt) -> list[float] | None:
    return _read_gold_span(text)


@lru_cache(maxsize=4096)
def _read_gold_box(text: str) -> list[float] | None:
    """Return the gold box, or None. Cached, because a group shares it; callers do not change it."""
    box = first_box(text)
    corners = None if box is None else list(in_order(box))
    return corners if box_iou(corners, corners) else None


@lru_cache(maxsize=4096)
def _read_gold_span(text: str) -> list[float] | None:
    """Return the gold interval of time in seconds, or None. Cached like the gold box."""
    span = span_in(text)
    times = None if span is None else list(span)
    return times if span_iou(times, times) else None


def _type(
    name: str, accuracy: Reader, read_gold: Callable[[str, Prompt], Any] | None = None
) -> AnswerType:
    release = grounding.TYPES[name]
    judge = partial(_judge, release=release.judge, accuracy=accuracy)
    return AnswerType(
        expected=release.expected, read_gold=read_gold or release.read_gold, judge=judge
    )


TYPES = {
    "spatial grounding": _type("spatial grounding", _box, _gold_box),
    "temporal grounding": _type("temporal grounding", _span, _gold_span),
    "spatial temporal grounding": _type("spatial temporal grounding", _tracked_span),
    "tracking": _type("tracking", _track),
    "segmentation": _type("segmentation", _mask),
}
