import json
import math
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from reward.cases import BOX, GOLDS, MASK, SPAN, TRACK, TRACKED, prompt_of, tagged

from g2rpo.reward.openvlthinker import OpenVLThinkerReward

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
VECTORS = SHARED / "vectors" / "rewards.jsonl"
SAMPLE = SHARED / "data" / "openvlthinker_sample_train.json"


def _score(
    answer_type: str, gold: str, answer: str, media: str = "image", **meta: Any
) -> dict[str, float]:
    return OpenVLThinkerReward().score(tagged(answer), prompt_of(answer_type, gold, media, **meta))


@pytest.mark.skipif(
    not VECTORS.exists(),
    reason=f"the released reward's numbers are not at {VECTORS.name} beside the repository",
)
def test_every_released_number_is_reproduced() -> None:
    names = {
        "accuracy": "accuracy",
        "format": "format",
        "structure": "structure_reward",
        "total": "overall",
    }
    reward, different = OpenVLThinkerReward(), []
    rows = [json.loads(line) for line in VECTORS.read_text().splitlines()]
    for row in rows:
        scores = reward.score(
            row["response"], prompt_of(row["problem_type"], row["ground_truth"], row["data_type"])
        )
        if any(
            not math.isclose(scores[ours], row["expected"][theirs], abs_tol=2e-6)
            for ours, theirs in names.items()
        ):
            different.append((row, scores))
    assert len(rows) == 180
    assert not different


@pytest.mark.skipif(
    not SAMPLE.exists(), reason=f"the real rows are not at {SAMPLE.name} beside the repository"
)
def test_the_gold_answer_of_every_real_row_gets_the_full_reward() -> None:
    reward = OpenVLThinkerReward()
    for row in json.loads(SAMPLE.read_text()):
        prompt = prompt_of(row["problem_type"], row["answer"], row["data_type"])
        scores = reward.score(f"<thinking>so</thinking>\n{row['answer']}", prompt)
        assert scores == {"accuracy": 1.0, "format": 1.0, "structure": 0.5, "total": 1.5}, row[
            "problem_id"
        ]


@pytest.mark.parametrize(("answer_type", "gold"), GOLDS.items())
def test_the_gold_answer_gets_one_and_a_half_and_an_untagged_one_only_its_accuracy(
    answer_type: str, gold: str
) -> None:
    reward, prompt = OpenVLThinkerReward(), prompt_of(answer_type, f"<answer>{gold}</answer>")
    full = reward.score(f"<thinking>so</thinking>\n<answer>\n{gold}\n</answer>\n", prompt)
    assert full == pytest.approx({"accuracy": 1.0, "format": 1.0, "structure": 0.5, "total": 1.5})
    assert reward.score(gold, prompt) == pytest.approx(
        {"accuracy": 1.0, "format": 0.0, "structure": 0.0, "total": 0.9}
    )
    assert reward.score("", prompt) == {
        "accuracy": 0.0,
        "format": 0.0,
        "structure": 0.0,
        "total": 0.0,
    }


def test_the_weights_enter_as_documented() -> None:
    reward = OpenVLThinkerReward(format_weight=0.25, structure_weight=0.8)
    prompt = prompt_of("tracking", TRACK)
    # one of two frames, right, in a valid structure: accuracy 1/2, structure 0.5 + 0.5 * 1/2 of 0.8
    scores = reward.score(tagged('{"boxes": {"0": [0, 0, 10, 10]}}'), prompt)
    assert scores == pytest.approx(
        {"accuracy": 0.5, "format": 1.0, "structure": 0.6, "total": 0.75 * 0.5 + 0.25 + 0.6}
    )


@pytest.mark.parametrize(
    ("answer_type", "same_as"),
    [
        ("multiple_choice", "multiple choice"),
        ("Multiple-Choice", "multiple choice"),
        ("ocr", "OCR"),
        ("numeric", "numerical"),
        ("bbox", "spatial grounding"),
        ("boxes", "spatial grounding"),
        ("BOX", "spatial grounding"),
        ("spatial_grounding", "spatial grounding"),
        ("spatial_temporal_grounding", "spatial-temporal grounding"),
        ("open_ended", "open-ended"),
        ("Math", "math"),
    ],
)
def test_answer_types_go_by_several_spellings(answer_type: str, same_as: str) -> None:
    assert _score(answer_type, GOLDS[same_as], GOLDS[same_as])["accuracy"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("answer_type", "gold", "answer", "accuracy"),
    [
        ("multiple choice", "B", "(b)", 1.0),
        ("multiple choice", "B", "B, because", 0.0),
        ("numerical", "1,234", "1234.004", 1.0),
        ("numerical", "0.333", "0.33", 1.0),
        ("numerical", "-7", "7", 0.0),
        ("numerical", "12.5", "12.5 cm", 0.0),
        ("regression", "10", "14", 0.2),
        ("OCR", "a b c d", "a b d", 0.75),
        ("open-ended", "a b c d", "b c a", (6 / 7 + 2 / 5 + 4 / 7) / 3),
        ("math", r"$\frac{1}{2}$", "0.5", 1.0),
        ("math", r"$\frac{1}{2}$", "2", 0.0),
        (
            "spatial grounding",
            '{"boxes": [100, 100, 300, 300]}',
            '{"boxes": [110, 90, 310, 290]}',
            36100 / 43900,
        ),
        ("temporal grounding", SPAN, '{"time": [3, 10]}', 5 / 8),
        (
            "spatial-temporal grounding",
            TRACKED,
            '{"time": [3, 8], "boxes": {"5": [5, 5, 20, 20]}}',
            0.5 * 5 / 6 + 0.5,
        ),
        (
            "spatial-temporal grounding",
            TRACKED,
            '{"boxes": {"5": [5, 5, 20, 12.5], "9": [0, 0, 1, 1]}}',
            0.25,
        ),
        ("tracking", TRACK, '{"boxes": {"5": [5, 5, 20, 12.5], "9": [0, 0, 1, 1]}}', 0.25),
    ],
)
def test_accuracy_by_hand(answer_type: str, gold: str, answer: str, accuracy: float) -> None:
    assert _score(answer_type, gold, answer)["accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("answer_type", "answer", "structure"),
    [
        ("multiple choice", "no idea", 0.5),
        ("spatial grounding", '{"boxes": [9, 9, 1, 1]}', 0.5),
        ("spatial grounding", '{"boxes": ["1", 2, 3, 4], "more": 1}', 0.5),
        ("spatial grounding", '{"boxes": [[100, 100, 300, 300]]}', 0.0),
        ("spatial grounding", '{"boxes": [100, 100, 300]}', 0.0),
        ("spatial grounding", '{"bbox": [100, 100, 300, 300]}', 0.0),
        ("spatial grounding", '{"boxes": [NaN, 100, 300, 300]}', 0.0),
        ("spatial grounding", "[100, 100, 300, 300]", 0.0),
        ("spatial grounding", f"```json\n{BOX}\n```", 0.0),
        ("temporal grounding", '{"time": [8, 2]}', 0.5),
        ("temporal grounding", '{"time": [2]}', 0.0),
        ("temporal grounding", '{"time": {"2": 8}}', 0.0),
        ("spatial-temporal grounding", '{"time": [2, 8]}', 0.0),
        ("spatial-temporal grounding", '{"time": [2, 8], "boxes": {}}', 0.25),
        ("spatial-temporal grounding", '{"boxes": {"0": [0, 0, 1, 1]}}', 0.125),
        (
            "spatial-temporal grounding",
            '{"time": [2, 8], "boxes": {"0": [0, 0, 1, 1], "7": [0, 0, 1, 1]}}',
            0.375,
        ),
        ("tracking", '{"boxes": {}}', 0.25),
        ("tracking", '{"boxes": []}', 0.0),
        ("tracking", '{"boxes": {"0": [0, 0, 1], "5": [0, 0, 1, 1]}}', 0.25),
        ("tracking", '{"boxes": {"0": [0, 0, 1, 1]}}', 0.375),
    ],
)
def test_structure_by_hand(answer_type: str, answer: str, structure: float) -> None:
    assert _score(answer_type, GOLDS[answer_type], answer)["structure"] == pytest.approx(structure)


def test_a_segmentation_answer_needs_its_points_but_not_its_box() -> None:
    gold = json.dumps(MASK)
    assert _score("segmentation", gold, '{"boxes": [10, 10, 110, 110]}')["accuracy"] == 0.0
    half = _score("segmentation", gold, json.dumps(MASK | {"boxes": None}))
    assert half == pytest.approx({"accuracy": 0.5, "format": 1.0, "structure": 0.0, "total": 0.55})
    # the points inside moved by (30, 40): distance 50 = sigma; half of the box
    moved = MASK | {"boxes": [10, 10, 60, 110], "positive_points": [[50, 60], [80, 90], [120, 130]]}
    assert _score("segmentation", gold, json.dumps(moved))["accuracy"] == pytest.approx(
        0.25 + 0.25 * math.exp(-0.5) + 0.25
    )
    far = MASK | {"boxes": [10, 10, 60, 110], "negative_points": [[5, 55], [120, 170], [130, 70]]}
    assert _score("segmentation", gold, json.dumps(far))["accuracy"] == pytest.approx(
        0.25 + 0.25 + 0.25 * math.exp(-0.5)
    )


def test_a_video_segmentation_answer_also_needs_its_moment() -> None:
    gold = json.dumps(MASK | {"time": 3.0})
    late = _score("segmentation", gold, json.dumps(MASK | {"time": 5}), media="video")
    assert late["accuracy"] == pytest.approx(0.3 + 0.3 * math.exp(-1) + 0.2 + 0.2)
    assert _score("segmentation", gold, json.dumps(MASK), media="video")["total"] == pytest.approx(
        0.1
    )
    assert _score("segmentation", gold, json.dumps(MASK | {"time": "3"}), media="video")[
        "total"
    ] == pytest.approx(0.1)
    assert _score("segmentation", gold, json.dumps(MASK), media="image")[
        "accuracy"
    ] == pytest.approx(1.0)


def test_a_relaxed_answer_has_the_tolerance_of_itsprompt_of() -> None:
    assert _score("relaxed", "14", "14.7")["accuracy"] == 1.0
    assert _score("relaxed", "14", "14.71")["accuracy"] == 0.0
    assert _score("relaxed", "14", "14.71", tolerance=0.1)["accuracy"] == 1.0
    assert _score("relaxed", "14", "14.1", tolerance=0)["accuracy"] == 0.0
    assert _score("relaxed", "Red", "red")["accuracy"] == 1.0


def test_bare_latex_is_read_only_where_it_is_asked_for() -> None:
    prompt = prompt_of("math", r"\sqrt{2}")
    assert OpenVLThinkerReward().score(tagged(r"\sqrt{2}"), prompt)["accuracy"] == 0.0
    assert (
        OpenVLThinkerReward(bare_latex=True).score(tagged(r"\sqrt{2}"), prompt)["accuracy"] == 1.0
    )


HOSTILE = [
    "",
    "\x00",
    "\ud800",
    "<answer>",
    "</answer><answer>",
    "<answer>" * 3000,
    "<thinking>" * 3000 + "</thinking><answer></answer>" * 3000,
    "< " * 50_000,
    " " * 100_000,
    "word " * 20_000,
    "9" * 100_000,
    "[" * 100_000,
    tagged("[" * 100_000),
    tagged('{"boxes": ' * 20_000),
    tagged('{"boxes": [NaN, Infinity, -Infinity, 1e999], "time": [NaN, 1]}'),
    tagged(
        '{"boxes": {"0": [NaN, 0, 10, 10], "5": null}, "time": NaN, "positive_points": [[NaN, 1]],'
        ' "negative_points": 3}'
    ),
    tagged('{"boxes": [1' + "0" * 4000 + ', 0, 1, 1], "time": [1' + "0" * 400 + ", 2]}"),
    tagged('__import__("os").abort()'),
    tagged("1e999"),
    tagged("-nan"),
    tagged("$9^{9^{9^{9}}}$"),
    tagged("(" * 5000),
    tagged("\\" * 5000),
    tagged("{{}}%s%n$$$$"),
]


@pytest.mark.parametrize("answer_type", GOLDS)
@pytest.mark.parametrize("completion", HOSTILE, ids=range(len(HOSTILE)))
def test_no_completion_raises_or_scores(completion: str, answer_type: str) -> None:
    start = time.process_time()
    scores = OpenVLThinkerReward().score(completion, prompt_of(answer_type, GOLDS[answer_type]))
    assert (
        time.process_time() - start < 5
    )  # seconds of processor time; a quadratic judge takes minutes
    assert scores["accuracy"] == 0.0
    assert 0.0 <= scores["structure"] <= 0.5
    assert math.isfinite(scores["total"])


@pytest.mark.parametrize(
    ("answer_type", "gold"),
    [
        ("multiple choice", ""),
        ("multiple choice", "<answer></answer>"),
        ("multiple choice", "$$"),
        ("numerical", "seven"),
        ("numerical", "nan"),
        ("regression", "12 cm"),
        ("relaxed", " "),
        ("OCR", "<answer> </answer>"),
        ("open-ended", ""),
        ("math", ""),
        ("spatial grounding", "[1, 2, 3, 4]"),
        ("spatial grounding", '{"boxes": [1, 2, 3]}'),
        ("spatial grounding", '{"boxes": [9, 9, 1, 1]}'),
        ("temporal grounding", '{"time": [5, 5]}'),
        ("spatial-temporal grounding", TRACK),
        ("spatial-temporal grounding", SPAN),
        ("tracking", '{"boxes": {}}'),
        ("tracking", BOX),
        ("segmentation", BOX),
        ("segmentation", "{"),
    ],
)
def test_a_gold_answer_that_cannot_be_read_names_the_prompt_and_the_remedy(
    answer_type: str, gold: str
) -> None:
    with pytest.raises(
        ValueError,
        match=r"prompt 't/7', field answer: expected .* got .* Correct the record or leave it out",
    ):
        OpenVLThinkerReward().score(tagged("B"), prompt_of(answer_type, gold))


def test_a_video_segmentation_prompt_without_a_moment_is_broken() -> None:
    with pytest.raises(ValueError, match=r"field answer: expected .*seconds"):
        OpenVLThinkerReward().score("", prompt_of("segmentation", json.dumps(MASK), media="video"))


def test_an_unknown_answer_type_names_the_prompt_and_the_choices() -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"prompt 't/7', field answer_type: expected one of math, multiple choice, .*got 'essay'"
        ),
    ):
        OpenVLThinkerReward().score("", prompt_of("essay", "B"))


@pytest.mark.parametrize("tolerance", [-0.1, "5%", None, math.nan])
def test_a_tolerance_that_is_no_number_names_theprompt_of(tolerance: object) -> None:
    with pytest.raises(
        ValueError,
        match=r"prompt 't/7', field meta.tolerance: expected a relative tolerance of at least 0",
    ):
        OpenVLThinkerReward().score("", prompt_of("relaxed", "14", tolerance=tolerance))


@pytest.mark.parametrize(
    "weights",
    [
        {"format_weight": -0.1},
        {"format_weight": 1.4},
        {"structure_weight": -1.0},
        {"structure_weight": math.nan},
    ],
)
def test_weights_out_of_range_are_refused_with_their_key(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"reward\.{next(iter(weights))}: expected"):
        OpenVLThinkerReward(**weights)


def test_the_yaml_builds_the_released_reward_which_survives_pickling() -> None:
    reward = instantiate(OmegaConf.load(ROOT / "conf" / "reward" / "openvlthinker.yaml"))
    again = pickle.loads(pickle.dumps(reward))  # as a process pool sends it
    assert again.score(tagged("12"), prompt_of("math", "12"))["total"] == pytest.approx(1.5)
    assert again.score(tagged("13"), prompt_of("math", "12"))["total"] == pytest.approx(0.6)
