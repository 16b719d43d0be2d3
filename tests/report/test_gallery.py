"""Which held-out prompts are shown, how they are judged, and what is drawn into their images."""

import base64
import io
import math
import re
from pathlib import Path

import pytest
from PIL import Image

from g2rpo.report.folder import Completion, HeldoutPrompt, paired, read_run
from g2rpo.report.gallery import candidates, choose, shorten_middle, verdict
from g2rpo.report.picture import boxes_of, overlay, picture


def judged(accuracy: float, format: float = 1.0) -> Completion:
    return Completion(text="B", accuracy=accuracy, format=format, tokens=3)


def heldout(name: str, *accuracies: float) -> HeldoutPrompt:
    samples = tuple(judged(accuracy) for accuracy in accuracies)
    return HeldoutPrompt(id=name, task="math", text="?", answer="3", answer_type="numerical", samples=samples, greedy=judged(0.0))


def prompts(*scores: float) -> list[HeldoutPrompt]:
    return [heldout(str(i), score) for i, score in enumerate(scores)]


def test_the_first_two_the_largest_gain_and_the_largest_loss_are_shown() -> None:
    pairs = paired(prompts(0.5, 0.5, 0.2, 0.9, 0.1, 0.6), prompts(0.5, 0.6, 0.9, 0.4, 0.4, 0.6))
    chosen = [(pair[0].id, why) for pair, why in choose(pairs) if pair[0] is not None]
    assert chosen == [
        ("0", "number 1 of its task"),
        ("1", "number 2 of its task"),
        ("2", "largest gain, +0.70"),
        ("3", "largest loss, -0.50"),
    ]


def test_where_nothing_fell_the_next_prompts_fill_up() -> None:
    pairs = paired(prompts(0.5, 0.5, 0.5, 0.5, 0.5), prompts(0.5, 0.5, 0.5, 0.5, 0.9))
    assert [why for _, why in choose(pairs)] == [
        "number 1 of its task",
        "number 2 of its task",
        "largest gain, +0.40",
        "number 3 of its task",
    ]


def test_before_training_has_ended_the_first_four_are_shown() -> None:
    assert [why[:8] for _, why in choose(paired(prompts(0.5, 0.1, 0.2, 0.3, 0.4), None))] == [
        "number 1",
        "number 2",
        "number 3",
        "number 4",
    ]


def test_only_prompts_whose_image_was_kept_are_candidates(run_folder: Path) -> None:
    for index in (0, 2, 3, 5):
        (run_folder / "heldout" / "images" / f"gym-heldout-math-{index}-0.png").unlink()
    run = read_run(run_folder)
    assert [pair[0].id for pair in candidates(run, "math") if pair[0]] == ["gym/heldout/math/1", "gym/heldout/math/4"]
    assert len(candidates(run, "chart")) == 6


def test_prompts_are_paired_by_id_and_not_by_place() -> None:
    pairs = paired([heldout("a", 0.1), heldout("b", 0.2)], [heldout("b", 0.7), heldout("c", 0.9)])
    assert [(b and b.id, a and a.id) for b, a in pairs] == [("a", None), ("b", "b"), (None, "c")]


@pytest.mark.parametrize(
    ("accuracy", "format", "words"),
    [
        (1.0, 1.0, ["right"]),
        (0.0, 1.0, ["wrong"]),
        (0.634, 1.0, ["partly right 0.63"]),
        (1.0, 0.0, ["right", "format broken"]),
        (math.nan, 1.0, ["not judged"]),
    ],
)
def test_a_verdict_says_right_wrong_or_how_far(accuracy: float, format: float, words: list[str]) -> None:
    assert re.findall(r">([^<>]+)</span>", verdict(judged(accuracy, format))) == words


def test_boxes_are_read_from_tagged_answers_and_only_beside_a_gold_box() -> None:
    tagged = 'the box is <answer>{"boxes": [10, 20, 300.5, "400"]}</answer>'
    assert boxes_of({"gold": '{"boxes": [1, 2, 3, 4]}', "before": tagged, "after": "B"}) == {
        "gold": (1, 2, 3, 4),
        "before": (10, 20, 300.5, 400),
    }
    assert boxes_of({"gold": "B", "before": tagged}) == {}


def test_a_box_is_drawn_on_the_grid_of_a_thousand() -> None:
    drawn = overlay({"gold": (94, 156, 469, 469)})
    assert 'viewBox="0 0 1000 1000"' in drawn
    assert 'class="box gold" d="M94 156H469V469H94Z"' in drawn


def test_small_images_are_carried_unchanged_and_large_ones_scaled_down(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "#123456").save(tmp_path / "gym-math-7-0.png")
    Image.new("RGB", (2048, 1024), "#654321").save(tmp_path / "gym-math-7-1.png")
    small, large = (base64.b64decode(data) for data in re.findall(r"base64,([^\"]+)", picture(tmp_path, "gym/math/7", {})))
    assert small == (tmp_path / "gym-math-7-0.png").read_bytes()
    image = Image.open(io.BytesIO(large))
    assert (image.size, image.getpixel((0, 0))) == ((512, 256), (0x65, 0x43, 0x21))


def test_a_broken_or_missing_image_is_said_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a-0.png").write_bytes(b"no image")
    assert "image cannot be read" in picture(tmp_path, "a", {})
    assert "no image" in picture(tmp_path, "b", {})


def test_the_end_of_a_long_completion_is_kept_since_the_answer_stands_there() -> None:
    text = shorten_middle("a" * 4000 + "<answer>B</answer>", limit=100)
    assert text.endswith("<answer>B</answer>")
    assert "3918 characters left out" in text  # 4018 - 100
