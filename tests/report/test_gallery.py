"""Which held-out prompts are shown, how they are judged, and what is drawn into their images."""

import base64
import io
import math
from pathlib import Path

import pytest
from PIL import Image

from g2rpo.report.error_kinds import VERDICTS, verdict
from g2rpo.report.gallery import choose
from g2rpo.report.inline_picture import boxes_of, pictures
from g2rpo.report.render import shorten_middle
from g2rpo.report.run_data import Completion, HeldoutPrompt, paired


def judged(accuracy: float, format: float = 1.0) -> Completion:
    return Completion(text="B", accuracy=accuracy, format=format, tokens=3)


def heldout(name: str, *accuracies: float) -> HeldoutPrompt:
    samples = tuple(judged(accuracy) for accuracy in accuracies)
    return HeldoutPrompt(
        id=name,
        task="math",
        text="?",
        answer="3",
        answer_type="numerical",
        samples=samples,
        greedy=judged(0.0),
    )


def prompts(*scores: float) -> list[HeldoutPrompt]:
    return [heldout(str(i), score) for i, score in enumerate(scores)]


def test_the_worst_and_the_best_after_training_and_the_most_changed_are_shown() -> None:
    pairs = paired(prompts(0.5, 0.5, 0.2, 0.9, 0.1, 0.6), prompts(0.5, 1.0, 0.9, 0.4, 0.0, 0.6))
    chosen = [(pair[0].id, why) for pair, why in choose(pairs) if pair[0] is not None]
    assert chosen == [
        ("4", "worst, 0.00"),
        ("1", "best, 1.00"),
        ("2", "largest gain, +0.70"),
        ("3", "largest loss, -0.50"),
        ("0", "worst, 0.50"),
        ("5", "best, 0.60"),
    ]


def test_before_training_has_ended_the_scores_before_count() -> None:
    chosen = [why for _, why in choose(paired(prompts(0.5, 0.1, 0.2, 0.3, 0.4), None))]
    assert chosen == ["worst, 0.10", "best, 0.50", "worst, 0.20", "best, 0.40", "worst, 0.30"]


def test_prompts_are_paired_by_id_and_not_by_place() -> None:
    pairs = paired([heldout("a", 0.1), heldout("b", 0.2)], [heldout("b", 0.7), heldout("c", 0.9)])
    assert [(b and b.id, a and a.id) for b, a in pairs] == [("a", None), ("b", "b"), (None, "c")]


@pytest.mark.parametrize(
    ("accuracy", "form", "flags", "word"),
    [
        (1.0, 1.0, {}, "right"),
        (0.0, 1.0, {}, "wrong"),
        (0.634, 1.0, {}, "partly right"),
        (1.0, 0.0, {}, "format"),
        (1.0, 1.0, {"finished": False}, "truncated"),
        (0.0, 0.0, {"finished": False, "failed": True}, "unreadable"),
        (math.nan, 1.0, {}, "unreadable"),
    ],
)
def test_a_verdict_is_the_first_kind_that_applies(
    accuracy: float, form: float, flags: dict[str, bool], word: str
) -> None:
    assert verdict(accuracy, form, **flags) == word
    assert word in VERDICTS


def test_boxes_are_read_from_tagged_answers_and_only_beside_a_gold_box() -> None:
    tagged = 'the box is <answer>{"boxes": [10, 20, 300.5, "400"]}</answer>'
    assert boxes_of({"gold": '{"boxes": [1, 2, 3, 4]}', "before": tagged, "after": "B"}) == {
        "gold": (1, 2, 3, 4),
        "before": (10, 20, 300.5, 400),
    }
    assert boxes_of({"gold": "B", "before": tagged}) == {}


def test_small_pictures_are_carried_unchanged_and_large_ones_scaled_down(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "#123456").save(tmp_path / "gym-math-7-0.png")
    Image.new("RGB", (2048, 1024), "#654321").save(tmp_path / "gym-math-7-1.png")
    small, large = (
        base64.b64decode(found.uri.partition("base64,")[2])
        for found in pictures(tmp_path, "gym/math/7")
    )
    assert small == (tmp_path / "gym-math-7-0.png").read_bytes()
    image = Image.open(io.BytesIO(large))
    assert (image.size, image.getpixel((0, 0))) == ((512, 256), (0x65, 0x43, 0x21))


def test_a_broken_picture_is_said_in_its_place_and_a_missing_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "a-0.png").write_bytes(b"no image")
    (found,) = pictures(tmp_path, "a")
    assert found.problem.startswith("picture cannot be read")
    assert pictures(tmp_path, "b") == []


def test_the_end_of_a_long_completion_is_kept_since_the_answer_stands_there() -> None:
    text = shorten_middle("a" * 4000 + "<answer>B</answer>", limit=100)
    assert text.endswith("<answer>B</answer>")
    assert "3918 characters left out" in text  # 4018 - 100
