"""Attention over a packed row by each kind of kernel call, against a softmax over what a loop over
pairs of tokens says is visible. For a GPU, a stand-in of its operators makes the calls.
"""

from collections.abc import Sequence

import pytest
import torch
from closeness import near
from packed_rows import CALLS, HEADS, SCALE, assert_exact, groups_of, plain, states, visible

from g2rpo.policy.shared_softmax import PrefixAttention, merge

CASES = (
    ((5, 3), (2, 0, 1, 4)),
    ((4, 4), (3, 3, 3, 3)),
    ((6,), (1, 2, 5)),
    ((2, 7, 1), (0, 0, 0)),
    ((2, 7, 1), (0, 3, 0)),
    ((3, 2), (0, 0, 1, 1)),
    ((3, 4), (1, 1)),
)
"""Tokens of the prompts, and of the completions in a row."""


@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize(("prompts", "completions"), CASES)
def test_output_and_gradients_are_those_of_a_masked_softmax(
    prompts: Sequence[int], completions: Sequence[int], heads: tuple[int, int], calls: str
) -> None:
    assert_exact(CALLS[calls], prompts, completions, heads)


@pytest.mark.parametrize("calls", CALLS)
def test_scores_whose_exponential_overflows_are_merged_all_the_same(calls: str) -> None:
    groups, (query, key, value) = groups_of(*CASES[0]), states(15)
    out = PrefixAttention.apply(30 * query, key, value, groups, SCALE, CALLS[calls])
    expected = plain(30 * query, key, value, visible(*CASES[0]), SCALE)
    assert (
        torch.logsumexp((30 * query[8, 0] @ key[:5, 0].T * SCALE).double(), 0) > 100
    )  # float32 ends at the exponential of 88
    assert near(out, expected.float(), 1e-3)


@pytest.mark.parametrize("calls", CALLS)
def test_half_precision_stays_near_it(calls: str) -> None:
    groups = groups_of(*CASES[0])
    query, key, value = states(15, dtype=torch.bfloat16)
    out = PrefixAttention.apply(query, key, value, groups, SCALE, CALLS[calls])
    expected = plain(query, key, value, visible(*CASES[0]), SCALE)
    assert out.dtype == torch.bfloat16
    assert (out - expected).norm() < 0.01 * expected.norm()
    ours, theirs = (
        torch.autograd.grad(result.sum(), (query, key, value)) for result in (out, expected)
    )
    assert all(
        (mine - other).norm() < 0.03 * other.norm() + 0.02
        for mine, other in zip(ours, theirs, strict=True)
    )


def test_parts_in_half_precision_are_merged_in_float32() -> None:
    # 0.3 * 1 - 0.7 * 219 / 512 = 0.000586 is less than what bfloat16 rounds off either share
    far, near_ = torch.tensor([[1.0]]).bfloat16(), torch.tensor([[-219 / 512]]).bfloat16()
    merged, lse = merge(far, torch.tensor([0.3]).log(), near_, torch.tensor([0.7]).log())
    assert merged.item() == pytest.approx(0.3 - 0.7 * 219 / 512, rel=0.01)
    assert lse.item() == pytest.approx(0.0, abs=1e-6)
    assert (merged.dtype, lse.dtype) == (torch.bfloat16, torch.float32)


def test_shares_of_a_merge_are_those_of_the_sums_of_exponentials() -> None:
    # worked out by hand: weights 6 and 2 of 8
    merged, lse = merge(
        torch.tensor([[4.0, 0.0]]),
        torch.tensor([6.0]).log(),
        torch.tensor([[0.0, 4.0]]),
        torch.tensor([2.0]).log(),
    )
    assert near(merged, torch.tensor([[3.0, 1.0]]))
    assert near(lse, torch.tensor([8.0]).log())


@pytest.mark.parametrize("calls", CALLS)
def test_autocast_around_the_backward_pass_changes_nothing(calls: str) -> None:
    """Lightning enters autocast around whole training steps."""
    groups, rows = groups_of(*CASES[0]), states(15)
    results = []
    for enabled in (False, True):
        out = PrefixAttention.apply(*rows, groups, SCALE, CALLS[calls])
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            results.append(torch.autograd.grad(out.square().sum(), rows))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
