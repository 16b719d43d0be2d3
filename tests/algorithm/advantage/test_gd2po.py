import math
from random import Random
from statistics import fmean, stdev

import pytest
import torch
from random_batches import members, random_batches, random_parts

from g2rpo.algorithm.advantage.gd2po import GD2PO
from g2rpo.algorithm.advantage.gdpo import GDPO

# Group 0: accuracy (0, 0, 3) has deviations (-1, -1, 2) and std sqrt(3); format (0, 2, 1) has
# (-1, 1, 0) and std 1. Group 1: accuracy and format (0, 2) both have (-1, 1) and std sqrt(2).
PARTS = {
    "accuracy": torch.tensor([0.0, 0.0, 3.0, 0.0, 2.0], dtype=torch.float64),
    "format": torch.tensor([0.0, 2.0, 1.0, 0.0, 2.0], dtype=torch.float64),
}
GROUPS = torch.tensor([0, 0, 0, 1, 1])
THIRD = 1 / math.sqrt(3)


def call(threshold: float, tokens: list[int] | None = None) -> list[float]:
    lengths = None if tokens is None else torch.tensor(tokens)
    nothing = torch.zeros(5, dtype=torch.float64)
    found = GD2PO(threshold=threshold)(
        nothing, GROUPS, GROUPS, parts=PARTS, completion_tokens=lengths
    )
    return found.tolist()


def whitened(values: list[float], weights: list[float]) -> list[float]:
    mean = sum(w * v for v, w in zip(values, weights, strict=True)) / sum(weights)
    square = sum(w * (v - mean) ** 2 for v, w in zip(values, weights, strict=True)) / sum(weights)
    return [(value - mean) / math.sqrt(square + 1e-6) for value in values]


def test_a_completion_in_conflict_gets_zero_and_its_group_counts_less() -> None:
    # Completion 1: -1/sqrt(3) and 1. SNR = (1 - .577) / (1 + .577) = .268. Group 0 keeps 2 of 3.
    summed = [-(1 + THIRD) * 2 / 3, 2 * THIRD * 2 / 3, -math.sqrt(2), math.sqrt(2)]
    first, third, fourth, fifth = whitened(summed, [1.0] * 4)
    assert call(0.3) == pytest.approx([first, 0.0, third, fourth, fifth], abs=1e-5)
    assert call(0.3)[1] == 0.0


def test_longer_completions_weigh_more_in_the_whitening_and_filtered_ones_nothing() -> None:
    summed = [-(1 + THIRD) * 2 / 3, 2 * THIRD * 2 / 3, -math.sqrt(2), math.sqrt(2)]
    first, third, fourth, fifth = whitened(summed, [7.0, 2.0, 1.0, 4.0])
    found = call(1.0, [7, 999, 2, 1, 4])
    assert found == pytest.approx([first, 0.0, third, fourth, fifth], abs=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.26])
def test_below_the_snr_of_all_it_is_gdpo(threshold: float) -> None:
    plain = GDPO()(torch.zeros(5, dtype=torch.float64), GROUPS, GROUPS, parts=PARTS).tolist()
    assert call(threshold) == pytest.approx(plain, abs=1e-12)


def slow(parts: dict, groups: dict, tokens: list[int], threshold: float) -> list[float]:
    size = len(tokens)
    each = []
    for values in parts.values():
        own = [0.0] * size
        for rows in groups.values():
            here = [row for row in rows if not math.isnan(values[row])]
            if len(here) > 1:
                level = fmean(values[row] for row in here)
                spread = stdev(values[row] for row in here) + 1e-6
                for row in here:
                    own[row] = (values[row] - level) / spread
        each.append(own)
    columns = list(zip(*each, strict=True))
    kept = []
    for column in columns:
        both = max(column) > 1e-8 and min(column) < -1e-8
        snr = abs(sum(column)) / (sum(map(abs, column)) + 1e-8)
        kept.append(not both or snr >= threshold)
    scaled = [0.0] * size
    for rows in groups.values():
        share = sum(kept[row] for row in rows) / len(rows)
        for row in rows:
            scaled[row] = share * sum(columns[row])
    weights = [length * keep for length, keep in zip(tokens, kept, strict=True)]
    if not any(weights):
        return [0.0] * size
    white = whitened(scaled, weights)
    return [value if keep else 0.0 for value, keep in zip(white, kept, strict=True)]


def test_a_thousand_random_batches_agree_with_loops_over_plain_numbers() -> None:
    rng = Random(5)
    for rewards, groups, tasks in random_batches():
        parts = random_parts(rewards, rng)
        tokens = [rng.randint(1, 9) for _ in parts["format"]]
        plain = {name: values.tolist() for name, values in parts.items()}
        expected = slow(plain, members(groups), tokens, 0.5)
        found = GD2PO(threshold=0.5)(
            rewards, groups, tasks, parts=parts, completion_tokens=torch.tensor(tokens)
        )
        assert found.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"^advantage\.threshold: expected a number in \[0, 1\]"):
        GD2PO(threshold=threshold)
