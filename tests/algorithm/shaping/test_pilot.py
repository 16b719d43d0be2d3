"""Bands from completions: quantiles by counting, rewards of every shape, and a file that builds
what was measured.
"""

from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from g2rpo.algorithm.shaping.pilot import Pilot, PilotTask, length_band, plain, quantiles, topology

SETTINGS: dict[str, Any] = {
    "name": "mine",
    "prompts_per_task": 4,
    "length_weight": 0.2,
    "min_accuracy": 0.5,
    "entropy_weight": 0.03,
    "entropy_margin": 0.25,
}


def pilot(**changed: Any) -> Pilot:
    return Pilot(**(SETTINGS | changed))


def task(
    accuracy: list[float],
    tokens: list[int],
    *,
    entropy: float = 0.4,
    group_size: int = 4,
    truncated: int = 0,
) -> PilotTask:
    lengths, values = torch.tensor(tokens), torch.tensor(accuracy)
    return PilotTask(
        tokens=lengths,
        entropy_sum=lengths * entropy,
        accuracy=values,
        total=0.9 * values + 0.6,
        group=torch.arange(len(tokens)) // group_size,
        truncated=truncated,
    )


def test_the_length_band_is_where_good_completions_lie() -> None:
    # 20 good ones of 10 ... 29 tokens, 20 bad ones of 100 ... 119
    found = pilot().measure(task([1.0] * 20 + [0.0] * 20, [*range(10, 30), *range(100, 120)]))
    assert (found.good, found.completions, found.prompts) == (20, 40, 10)
    # places 0.2 x 19 = 3.8 and 0.8 x 19 = 15.2 of 0 ... 19
    assert found.length_band == (9, 14, 25, 30)
    assert found.tokens == (10, 20, 100, 109, 119)


def test_with_too_few_good_completions_all_of_them_count() -> None:
    found = pilot().measure(task([1.0] * 15 + [0.0] * 25, [5] * 15 + [50] * 25))
    assert (found.good, found.length_band) == (15, (4, 5, 50, 51))
    assert "all 40, too few are good" in pilot().yaml({"math": found}, "x")


def test_entropy_is_weighted_by_tokens_and_the_band_is_a_share_of_it() -> None:
    measured = task([1.0, 0.0], [1, 9], group_size=2)
    uneven = PilotTask(
        tokens=measured.tokens,
        entropy_sum=torch.tensor([2.0, 2.0]),
        accuracy=measured.accuracy,
        total=measured.total,
        group=measured.group,
        truncated=1,
    )
    found = pilot().measure(uneven)
    assert found.entropy_nats == pytest.approx(
        0.4
    )  # 4 nats over 10 tokens, not the mean of 2 and 0.22
    assert found.entropy_band == pytest.approx((0.3, 0.5))
    assert found.truncated_frac == 0.5


def test_groups_whose_rewards_agree_are_counted_by_group() -> None:
    accuracy = [1.0, 1.0, 1.0, 1.0] + [0.0, 1.0, 0.0, 0.0] + [0.0] * 4 + [0.5, 0.5, 0.5, 0.5 + 1e-8]
    assert pilot().measure(task(accuracy, [5] * 16)).zero_signal_frac == 0.75


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5] * 9, "constant"),
        ([0.3, 0.3 + 1e-9], "constant"),
        ([0.0, 1.0, 1.0, 0.0], "binary"),
        ([0.0] * 99 + [1.0], "binary"),
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], "graded"),
        ([0.0] * 40 + [0.01, 0.02, 0.03, 0.9, 1.0], "heavy-tailed"),
    ],
)
def test_the_shape_of_a_reward_has_a_name(values: list[float], kind: str) -> None:
    assert topology(torch.tensor(values, dtype=torch.float64)) == kind


def test_a_bell_curve_has_no_heavy_tail_and_a_squared_one_has() -> None:
    normal = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    assert topology(normal) == "graded"
    assert topology(normal**3) == "heavy-tailed"


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60))
def test_a_band_is_ordered_and_holds_every_quantile_it_names(lengths: list[int]) -> None:
    lowest, low, high, highest = length_band(torch.tensor(lengths))
    assert 0 <= lowest < low <= high < highest
    assert {low, high} <= set(lengths)
    inside = sum(low <= length <= high for length in lengths)
    assert inside >= 0.6 * (len(lengths) - 1)


def test_quantiles_are_lengths_that_occur() -> None:
    assert quantiles(torch.tensor([30, 10, 20]), 0.0, 0.5, 1.0) == (10, 20, 30)


def test_the_file_builds_the_bands_that_were_measured() -> None:
    measured = {
        "grounding": pilot().measure(task([1.0] * 20, list(range(10, 30)), entropy=0.8)),
        "math": pilot().measure(task([0.0, 1.0] * 10, [7] * 20, entropy=0.1)),
    }
    text = pilot().yaml(measured, "a model, 4 prompts a task")
    assert text.startswith("# Written by pilot.py: a model, 4 prompts a task.\n")
    assert len(text.splitlines()) <= 40
    shaping = instantiate(OmegaConf.create(text), _convert_="all").for_tasks(["math", "grounding"])
    assert shaping.length.bands[1].tolist() == [9, 14, 25, 30]
    assert (shaping.length.weight, shaping.length.min_accuracy, shaping.entropy.weight) == (
        0.2,
        0.5,
        0.03,
    )
    assert (
        shaping.entropy.low[0],
        shaping.entropy.high[0],
    ) == pytest.approx((0.075, 0.125))
    assert plain(measured)["math"]["topology"] == "binary"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "../evil"}, "pilot.name: .*letters.*'../evil'"),
        ({"name": ""}, "pilot.name"),
        ({"prompts_per_task": 0}, "pilot.prompts_per_task: expected at least 1, got 0"),
        ({"entropy_margin": 1.0}, "pilot.entropy_margin: .*got 1.0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pilot(**changed)
