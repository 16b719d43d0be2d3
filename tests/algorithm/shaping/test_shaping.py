from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from g2rpo.algorithm.shaping import Shaping
from g2rpo.algorithm.shaping.length import LengthBand
from g2rpo.data.gym.source import TASKS

CONF = str(Path(__file__).parents[3] / "conf")


def built(choice: str, *overrides: str) -> Shaping:
    with initialize_config_dir(CONF, version_base="1.3"):
        return instantiate(
            compose(f"shaping/{choice}", list(overrides)).shaping, _convert_="all"
        ).for_tasks(TASKS)


@pytest.mark.parametrize(
    ("choice", "length", "entropy"),
    [
        ("none", False, False),
        ("length", True, False),
        ("length_8b", True, False),
        ("entropy_bounded", False, True),
        ("entropy_released", False, True),
        ("full", True, True),
        ("full_8b", True, True),
    ],
)
def test_each_choice_switches_on_what_its_name_says(
    choice: str, length: bool, entropy: bool
) -> None:
    shaping = built(choice)
    assert (shaping.length is not None, shaping.entropy is not None) == (length, entropy)


@pytest.mark.parametrize("choice", ["length_8b", "full_8b"])
def test_bands_of_real_models_make_reasoning_longer_than_reading(choice: str) -> None:
    bands = dict(zip(TASKS, built(choice).length.bands.tolist(), strict=True))
    assert bands["math"] == [64, 400, 1400, 4096]
    assert bands["grounding"] == [8, 40, 100, 512]


def test_every_task_has_a_length_band() -> None:
    for choice in ("length", "length_8b"):
        assert (built(choice).length.bands >= 0).all()


def test_bounds_can_be_set_on_the_command_line_for_all_tasks_or_for_one() -> None:
    assert built("full_8b", "shaping.entropy.high=0.5").entropy.high.tolist() == [0.5] * 6
    one = built("entropy_released", "shaping.entropy.high={math: 0.9, default: null}").entropy.high
    assert one[TASKS.index("math")] == 0.9
    assert one[TASKS.index("chart")] == float("inf")
    assert built("length", "shaping.length.bands.math=[1,2,3,4]").length.bands[
        TASKS.index("math")
    ].tolist() == [1, 2, 3, 4]


def test_the_shaped_reward_is_the_total_plus_the_weighted_part() -> None:
    bands = {"math": [6, 10, 24, 40], "default": None}
    length = LengthBand(bands=bands, weight=0.2, min_accuracy=0.5).for_tasks(TASKS)
    total, accuracy, tokens = (
        torch.tensor([1.0, 0.1, 0.9]),
        torch.tensor([1.0, 0.0, 1.0]),
        torch.tensor([8, 12, 12]),
    )
    tasks, groups = torch.full((3,), TASKS.index("math")), torch.zeros(3, dtype=torch.long)
    rewards, part = Shaping(length=length, entropy=None).shaped(
        total, accuracy, tokens, tasks, groups
    )
    torch.testing.assert_close(part, torch.tensor([0.5, 0.0, 1.0]))
    torch.testing.assert_close(rewards, torch.tensor([1.1, 0.1, 1.1]))
    unshaped, none = Shaping(length=None, entropy=None).shaped(
        total, accuracy, tokens, tasks, groups
    )
    assert unshaped.tolist() == total.tolist()
    assert none is None


def test_the_choice_named_after_the_release_has_its_numbers_and_its_fixed_weight() -> None:
    entropy = built("entropy_released").entropy
    assert entropy.dual is None
    assert (entropy.low.tolist(), entropy.high.tolist()) == ([0.2] * 6, [0.6] * 6)
    assert entropy.weight == 0.02


@pytest.mark.parametrize("choice", ["entropy_bounded", "full"])
def test_the_band_of_the_gym_is_held_by_dual_variables_and_covers_any_task(choice: str) -> None:
    assert built(choice).entropy.dual is not None
    assert built(choice).entropy.for_tasks(["gui"]).dual is not None
