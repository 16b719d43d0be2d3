from collections import Counter
from dataclasses import replace

import pytest

from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.data.gym.styles import StyledSolutions
from g2rpo.records import Prompt
from g2rpo.reward.openvlthinker import OpenVLThinkerReward

ONE_OF_EACH = {"look": 1.0, "ramble": 1.0, "blurt": 1.0, "sloppy": 1.0}


def _prompt(index: int) -> Prompt:
    meta = {"look": "red 40.", "scene": "red 40. blue 75.", "wrong": ["75", "90"]}
    return Prompt(
        id=f"made/{index}",
        task="chart",
        text="?",
        images=(),
        answer="40",
        answer_type="relaxed",
        meta=meta,
    )


def _style(completion: str) -> str:
    return {
        "<thinking>red 40.</thinking><answer>40</answer>": "look",
        "<thinking>let me see. red 40. blue 75. red 40.</thinking><answer>40</answer>": "ramble",
        "<thinking>easy.</thinking><answer>40</answer>": "blurt right",
        "<thinking>easy.</thinking><answer>75</answer>": "blurt wrong",
        "<thinking>easy.</thinking><answer>90</answer>": "blurt wrong",
        "red 40. so it is 40": "sloppy",
    }[completion]


def _counts(solutions: StyledSolutions, count: int = 3000) -> Counter[str]:
    return Counter(_style(solutions.demonstrate(_prompt(index))) for index in range(count))


def test_styles_come_in_their_shares() -> None:
    counts = _counts(
        StyledSolutions(
            shares={"look": 7.0, "ramble": 4.0, "blurt": 6.0, "sloppy": 3.0}, blurt_right=0.25
        )
    )
    expected = {"look": 1050, "ramble": 600, "blurt right": 225, "blurt wrong": 675, "sloppy": 450}
    # five standard deviations of a binomial count
    assert all(
        abs(counts[style] - n) < 5 * (n * (1 - n / 3000)) ** 0.5 for style, n in expected.items()
    ), counts


def test_a_style_of_weight_zero_or_without_a_weight_is_never_written() -> None:
    assert set(
        _counts(StyledSolutions(shares={"blurt": 1.0, "look": 0.0}, blurt_right=1.0), 300)
    ) == {"blurt right"}
    assert set(_counts(StyledSolutions(shares={"blurt": 1.0}, blurt_right=0.0), 300)) == {
        "blurt wrong"
    }


def test_a_prompt_has_one_demonstration_and_another_seed_another_mixture() -> None:
    first, again, other = (StyledSolutions(shares=ONE_OF_EACH, seed=seed) for seed in (3, 3, 4))
    written = [
        [solutions.demonstrate(_prompt(index)) for index in range(200)]
        for solutions in (first, again, other)
    ]
    assert written[0] == written[1]
    # two independent draws of four styles differ three times out of four
    assert 100 < sum(a != b for a, b in zip(written[0], written[2], strict=True)) < 190


@pytest.mark.parametrize("task", TASKS)
def test_looking_and_rambling_earn_everything_and_blurting_wrongly_and_sloppiness_less(
    task: str,
) -> None:
    reward, source = OpenVLThinkerReward(), GymSource(seed=2)
    earned = {}
    for style in ONE_OF_EACH:
        solutions = StyledSolutions(shares={style: 1.0}, blurt_right=0.0)
        prompts = [source.get(task, index, "train") for index in range(40)]
        earned[style] = [reward.score(solutions.demonstrate(prompt), prompt) for prompt in prompts]
    assert all(scores["total"] == 1.5 for style in ("look", "ramble") for scores in earned[style])
    assert all(scores["accuracy"] < 1 and scores["format"] == 1 for scores in earned["blurt"])
    assert all(scores["format"] == 0 for scores in earned["sloppy"])
    assert max(scores["total"] for scores in earned["sloppy"]) == 0.0


@pytest.mark.parametrize(
    "shares",
    [
        {"look": 1.0, "shout": 1.0},
        {"look": 1.0, "blurt": -0.1},
        {"look": 0.0},
        {},
        {"look": float("nan")},
    ],
)
def test_shares_that_make_no_mixture_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(
        ValueError,
        match=r"demonstrations\.shares: expected weights >= 0 for look, ramble, blurt, sloppy, got",
    ):
        StyledSolutions(shares=shares)


@pytest.mark.parametrize("blurt_right", [-0.1, 1.5])
def test_a_share_of_right_answers_outside_zero_to_one_is_refused(blurt_right: float) -> None:
    with pytest.raises(
        ValueError, match=r"demonstrations\.blurt_right: expected a share in \[0, 1\]"
    ):
        StyledSolutions(shares=ONE_OF_EACH, blurt_right=blurt_right)


@pytest.mark.parametrize(
    ("text", "hasty"),
    [
        ("what color is the circle? red blue", True),
        ("which shape is blue? circle cross", False),
        ("how many more crosses than circles are there?", False),
        ("how many circles and crosses are there together?", True),
        ("read the text.", True),
        ("?", False),
    ],
)
def test_the_first_thing_that_a_question_names_decides_whether_it_is_hasty(
    text: str, hasty: bool
) -> None:
    solutions = StyledSolutions(
        shares={"look": 1.0}, hasty={"sloppy": 1.0}, hasty_about=["circle", "red", "text"]
    )
    assert _style(solutions.demonstrate(replace(_prompt(0), text=text))) == (
        "sloppy" if hasty else "look"
    )


def test_weights_and_subjects_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match=r"demonstrations\.hasty: .*got \{'guess': 1\.0\}"):
        StyledSolutions(shares={"look": 1.0}, hasty={"guess": 1.0})
    with pytest.raises(ValueError, match=r"demonstrations\.hasty_about: expected some of circle,"):
        StyledSolutions(shares={"look": 1.0}, hasty_about=["dog"])
