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


def test_padding_of_a_bucket_adds_nothing_to_gradients() -> None:
    groups, rows = groups_of((3, 9), (2, 7, 5, 0)), states(26)
    calls = PaddedCalls(groups, *rows, 0.3)
    out, lse = calls.forward("near")
    assert out.shape == (14, 4, 16)
    assert lse.shape == (14, 4)
    grad = torch.zeros(14, 4, 16)
    grad[:2] = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(1))
    found = calls.backward("near", grad, out, lse)
    assert [part.shape[1] for part in found] == [4, 2, 2]  # keys: one gradient, not one per head
    assert not any(part[2:].any() for part in found)
    # the same without the longer completions, so that nothing is padded
    alone = PaddedCalls(groups_of((3, 9), (2, 0, 0, 0)), *(part[:14] for part in rows), 0.3)
    expected = alone.backward("near", grad[:2], *alone.forward("near"))
    assert all(near(mine[:2], other) for mine, other in zip(found, expected, strict=True))


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
