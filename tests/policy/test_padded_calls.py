"""Padding, and matrix products in place of the CPU's flash kernel. The arithmetic of a whole row:
`test_shared_softmax.py`.
"""

import pytest
import torch
from closeness import near
from packed_rows import groups_of, states
from torch import Tensor

from g2rpo.policy.padded_calls import (
    PaddedCalls,
    flash,
    flash_backward,
    products,
    products_backward,
)


def test_splitting_a_row_pads_it_and_joining_undoes_it() -> None:
    groups, (rows, _, _) = groups_of((2, 1), (0, 2, 1, 1)), states(7)
    calls = PaddedCalls(groups, *states(7), 0.3)
    prompts, completions = calls.split(rows)
    assert torch.equal(prompts[0, 1], rows[:2, 1])
    assert torch.equal(prompts[1, 1, :1], rows[2:3, 1])
    assert not prompts[1, :, 1:].any()
    assert torch.equal(completions[1, 3], rows[3:5, 3])
    assert not completions[0].any()
    assert torch.equal(calls.joined(prompts, completions), rows)


@pytest.mark.parametrize("causal", [True, False])
def test_matrix_products_are_the_flash_kernel(causal: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value, grad = (
        torch.randn(2, 3, 5 if causal or i in (1, 2) else 4, 16, generator=generator)
        for i in range(4)
    )
    mask: Tensor | None = None
    if not causal:
        mask = torch.zeros(2, 1, 1, 5)
        mask[1, ..., 3:] = float("-inf")
    theirs, ours = (
        op(query, key, value, 0.0, causal, attn_mask=mask, scale=0.3) for op in (flash, products)
    )
    # what a larger softmax would bring: another output, a larger log-sum-exp
    out, lse = 0.5 * theirs[0], theirs[1] + 0.7
    grads = [
        op(grad, query, key, value, out, lse, 0.0, causal, attn_mask=mask, scale=0.3)
        for op in (flash_backward, products_backward)
    ]
    for found, expected in zip((*ours, *grads[1]), (*theirs, *grads[0]), strict=True):
        assert near(found, expected)
