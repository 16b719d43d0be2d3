"""Answers in JSON as OpenVLThinker-v2 judges them: boxes, intervals, tracks, segmentation prompts.

    spatial grounding            {"boxes": [x0, y0, x1, y1]}
    temporal grounding           {"time": [start, end]}
    spatial-temporal grounding   {"time": [start, end], "boxes": {"frame": [x0, y0, x1, y1], ...}}
    tracking                     {"boxes": {"frame": [x0, y0, x1, y1], ...}}
    segmentation                 {"boxes": [x0, y0, x1, y1], "positive_points": [[x, y] x 3],
                                  "negative_points": [[x, y] x 3]}
                                 and for videos "time": seconds

Every part is read on its own: a missing part costs its share and not the others'.
"""

from typing import Any, NamedTuple

from g2rpo.prompt import Prompt
from g2rpo.reward.by_type import AnswerType, Verdict
from g2rpo.scoring.boxes import box_iou, frame_iou, point_similarity, read_points, shared_frame_iou
from g2rpo.scoring.extract import finite_numbers, json_object
from g2rpo.scoring.spans import moment_similarity, read_moment, span_iou

Json = dict[str, Any]
NOTHING = Verdict(0.0, 0.0)


class Mask(NamedTuple):
    """A segmentation prompt.

    It holds the object's box, points inside and outside the object, and for a video the moment in
    seconds.
    """

    box: list[Any]
    inside: list[tuple[float, ...]]
    outside: list[tuple[float, ...]]
    moment: float | None


def _box(answer: str, gold: list[float]) -> Verdict:
    found = json_object(answer)
    if found is None:
        return NOTHING
    box = found.get("boxes")
    return Verdict(box_iou(box, gold), float(finite_numbers(box, 4) is not None))


def _span(answer: str, gold: list[float]) -> Verdict:
    found = json_object(answer)
    if found is None:
        return NOTHING
    span = found.get("time")
    return Verdict(span_iou(span, gold), float(finite_numbers(span, 2) is not None))


def _tracked_span(answer: str, gold: Json) -> Verdict:
    found = json_object(answer)
    if found is None:
        return NOTHING
    span, boxes = found.get("time"), _frames(found)
    accuracy = 0.5 * span_iou(span, gold["time"]) + 0.5 * shared_frame_iou(boxes, gold["boxes"])
    complete = isinstance(span, list) and len(span) == 2 and _all_boxes(found)
    return Verdict(accuracy, 0.5 * complete + 0.5 * _named_share(boxes, gold["boxes"]))


def _track(answer: str, gold: Json) -> Verdict:
    found = json_object(answer)
    if found is None:
        return NOTHING
    boxes = _frames(found)
    return Verdict(
        frame_iou(boxes, gold["boxes"]),
        0.5 * _all_boxes(found) + 0.5 * _named_share(boxes, gold["boxes"]),
    )


def _mask(answer: str, gold: Mask) -> Verdict:
    found = json_object(answer)
    if found is None:
        return NOTHING
    inside, outside = (
        read_points(found.get("positive_points")),
        read_points(found.get("negative_points")),
    )
    moment = read_moment(found.get("time"))
    if inside is None or outside is None or (gold.moment is not None and moment is None):
        return NOTHING
    box = found.get("boxes")
    parts = (
        box_iou(box, gold.box),
        point_similarity(inside, gold.inside),
        point_similarity(outside, gold.outside),
    )
    if gold.moment is None or moment is None:
        accuracy = 0.5 * parts[0] + 0.25 * parts[1] + 0.25 * parts[2]
    else:
        accuracy = (
            0.3 * parts[0]
            + 0.3 * moment_similarity(moment, gold.moment)
            + 0.2 * parts[1]
            + 0.2 * parts[2]
        )
    return Verdict(accuracy, float(finite_numbers(box, 4) is not None))


def _frames(found: Json) -> Json:
    boxes = found.get("boxes")
    return boxes if isinstance(boxes, dict) else {}


def _all_boxes(found: Json) -> bool:
    boxes = found.get("boxes")
    return isinstance(boxes, dict) and all(
        finite_numbers(box, 4) is not None for box in boxes.values()
    )


def _named_share(boxes: Json, gold: Json) -> float:
    """Return the share of the gold frames for which the answer has an entry, right or wrong."""
    return len(boxes.keys() & gold.keys()) / len(gold)


def _gold_box(text: str, prompt: Prompt) -> list[Any] | None:
    box = (json_object(text) or {}).get("boxes")
    return (
        box if box_iou(box, box) else None
    )  # a box without area overlaps nothing, not even itself


def _gold_span(text: str, prompt: Prompt) -> list[Any] | None:
    span = (json_object(text) or {}).get("time")
    return span if span_iou(span, span) else None


def _gold_track(text: str, prompt: Prompt) -> Json | None:
    found = json_object(text) or {}
    return found if _frames(found) and _all_boxes(found) else None


def _gold_tracked(text: str, prompt: Prompt) -> Json | None:
    return _gold_track(text, prompt) if _gold_span(text, prompt) else None


def _gold_mask(text: str, prompt: Prompt) -> Mask | None:
    found = json_object(text) or {}
    box = _gold_box(text, prompt)
    inside, outside = (
        read_points(found.get("positive_points")),
        read_points(found.get("negative_points")),
    )
    moment = read_moment(found.get("time")) if prompt.media == "video" else None
    if (
        box is None
        or inside is None
        or outside is None
        or (prompt.media == "video" and moment is None)
    ):
        return None
    return Mask(box, inside, outside, moment)


_BOX = '"boxes": [x0, y0, x1, y1] with x0 < x1 and y0 < y1'
_SPAN = '"time": [start, end] with start < end'
_FRAMES = '"boxes": {"frame": [x0, y0, x1, y1], ...}, not empty'
_POINTS = (
    '"positive_points" and "negative_points" of three [x, y] each, and "time": seconds if media is'
    " video"
)
TYPES = {
    "spatial grounding": AnswerType(expected=f"JSON with {_BOX}", read_gold=_gold_box, judge=_box),
    "temporal grounding": AnswerType(
        expected=f"JSON with {_SPAN}", read_gold=_gold_span, judge=_span
    ),
    "spatial temporal grounding": AnswerType(
        expected=f"JSON with {_SPAN}, {_FRAMES}", read_gold=_gold_tracked, judge=_tracked_span
    ),
    "tracking": AnswerType(expected=f"JSON with {_FRAMES}", read_gold=_gold_track, judge=_track),
    "segmentation": AnswerType(
        expected=f"JSON with {_BOX}, {_POINTS}", read_gold=_gold_mask, judge=_mask
    ),
}
