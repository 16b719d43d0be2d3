"""Draws that depend on seed and position, and on nothing else."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.rollout import draw as draw_module
from g2rpo.rollout.draw import PER_DRAW, draw, prompt_seed, uniforms


def test_seeds_of_neighbors_are_far_apart_and_leave_room_for_a_group() -> None:
    seeds = sorted(prompt_seed(seed, position) for seed in range(20) for position in range(50))
    assert min(b - a for a, b in itertools.pairwise(seeds)) > 10_000
    assert max(seeds) < 2**62
    assert max(seeds) > 2**61


def test_uniform_numbers_belong_to_seed_position_and_completion() -> None:
    whole = uniforms(3, [4, 5, 6], 4, 7)
    assert whole.shape == (12, 7)
    assert torch.equal(uniforms(3, [6, 4], 4, 7), torch.cat([whole[8:], whole[:4]]))
    assert torch.equal(uniforms(3, [5], 2, 7), whole[4:6])  # a smaller group
    assert len(set(whole.flatten().tolist())) == 84
    assert not torch.equal(uniforms(4, [4], 4, 7), whole[:4])
    assert uniforms(3, [], 4, 7).shape == (0, 7)
    many = uniforms(0, range(100), 8, 50)
    # mean and variance of 40,000 uniform numbers, in standard errors
    assert abs(float(many.mean()) - 0.5) < 4 * math.sqrt(1 / 12 / 40_000)
    assert abs(float(many.var()) - 1 / 12) < 4 * math.sqrt(1 / 180 / 40_000)


@pytest.mark.parametrize(
    ("uniform", "token"),
    [(0.0, 1), (0.124, 1), (0.126, 2), (0.624, 2), (0.626, 4), (0.999999, 4)],
)
def test_a_token_is_where_the_number_falls_in_the_sums(uniform: float, token: int) -> None:
    # sums 0, 1/4, 5/4, 5/4, 2, 2 of 2
    weights = torch.tensor([[0.0, 0.25, 1.0, 0.0, 0.75, 0.0]])
    assert draw(weights, torch.tensor([uniform], dtype=torch.float64)).tolist() == [[token]]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=9), st.floats(0, 1))
def test_a_token_without_weight_is_never_drawn(weights: list[float], uniform: float) -> None:
    row = torch.tensor([[*weights, 1.0, 0.0]])
    below_one = min(uniform, 1 - 2**-53)
    token = int(draw(row, torch.tensor([below_one], dtype=torch.float64)))
    assert row[0, token] > 0


def test_tokens_come_as_often_as_their_weight_says() -> None:
    weights = torch.tensor([0.5, 0.0, 1.0, 0.1, 0.4])
    rows = 20_000
    tokens = draw(weights.expand(rows, -1), uniforms(1, [0], rows, 1)[:, 0])[:, 0]
    share = torch.bincount(tokens, minlength=5) / rows
    assert torch.allclose(share, weights / 2, atol=4 * 0.5 / rows**0.5)


def test_a_large_vocabulary_is_summed_exactly_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.rand(5, 150_000, generator=torch.Generator().manual_seed(0))
    weights[:, 77] = 1.0
    uniform = torch.tensor([0.0, 0.3, 0.5, 0.9, 1 - 2**-53], dtype=torch.float64)
    whole = draw(weights, uniform)
    monkeypatch.setattr(draw_module, "CHUNK", 2 * 150_000)
    assert torch.equal(draw(weights, uniform), whole)
    sums = weights.double().cumsum(1)
    # not more than one token beside the exact place, where two sums nearly touch
    place = torch.searchsorted(sums, (uniform * sums[:, -1])[:, None], right=True)
    assert (whole - place).abs().max() <= 1


def test_a_further_draw_has_a_seed_of_its_own() -> None:
    assert prompt_seed(5, 2 * PER_DRAW + 3) == prompt_seed(7, 3)
    assert prompt_seed(5, PER_DRAW) != prompt_seed(5, 0)
