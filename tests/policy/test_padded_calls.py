"""Padding, and matrix products in place of the CPU's flash kernel. The arithmetic of a whole row:
`test_shared_softmax.py`.
"""

from typing import Any

import pytest
import torch
from closeness import near
from packed_rows import CALLS, groups_of, states
from torch import Tensor

from g2rpo.policy import padded_calls
from g2rpo.policy.attention_products import products, products_backward
from g2rpo.policy.padded_calls import (
    SHORT,
    Kernel,
    PaddedCalls,
    flash,
    flash_backward,
)


@pytest.mark.parametrize("kind", ["cpu", "flash"])
def test_padding_of_a_bucket_adds_nothing_to_gradients(kind: str) -> None:
    groups, rows = groups_of((3, 9), (2, 7, 5, 0)), states(26)
    calls = CALLS[kind](groups, *rows, 0.3)
    out, lse = calls.forward("near")
    assert out.shape == (14, 4, 16)
    assert lse.shape == (14, 4)
    grad = torch.zeros(14, 4, 16)
    grad[:2] = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(1))
    found = calls.backward("near", grad, out, lse)
    assert [part.shape[1] for part in found] == [4, 2, 2]  # keys: one gradient, not one per head
    assert not any(part[2:].any() for part in found)
    # the same without the longer completions, so that nothing is padded
    alone = CALLS[kind](groups_of((3, 9), (2, 0, 0, 0)), *(part[:14] for part in rows), 0.3)
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


@pytest.mark.parametrize("lengths", [(SHORT,) * 3, (SHORT + 1,) * 3, (SHORT, SHORT + 1)])
def test_short_causal_segments_are_products_and_long_ones_flash(
    lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[tuple[str, int, int]] = []

    def noted(name: str, kernel: Kernel) -> Kernel:
        def forward(*args: Any, **kwargs: Any) -> Any:
            used.append((name, args[0].shape[1], args[0].shape[2]))
            return kernel.forward(*args, **kwargs)

        return kernel._replace(forward=forward)

    monkeypatch.setattr(padded_calls, "PRODUCTS", noted("products", padded_calls.PRODUCTS))
    monkeypatch.setattr(padded_calls, "FLASH", noted("flash", padded_calls.FLASH))
    calls = PaddedCalls(groups_of((3,), lengths), *states(3 + sum(lengths)), 0.3)
    calls.forward("near")
    longest = max(lengths)
    # products take the two query heads that share a key as one head with twice the queries
    expected = ("flash", 4, longest) if longest > SHORT else ("products", 2, 2 * longest)
    assert used == [expected]
