"""Packed rows of random states, attention over them token by token, and each kind of kernel call
held against it. For a GPU, a stand-in of its operators makes the calls.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from closeness import near
from flash_stand_in import STAND_IN
from torch import Tensor

from g2rpo.policy.padded_calls import FLASH, PRODUCTS, Bucket, Kernel, PaddedCalls
from g2rpo.policy.shared_prefix import Groups
from g2rpo.policy.shared_softmax import PrefixAttention
from g2rpo.policy.varlen_calls import VarlenCalls

SCALE = 0.3
HEADS = ((4, 2), (3, 3), (6, 1), (28, 4))
"""Heads of queries, and of keys and values."""


def groups_of(
    prompts: Sequence[int], completions: Sequence[int], device: torch.device | str = "cpu"
) -> Groups:
    return Groups(
        prompt_tokens=torch.tensor(prompts, device=device),
        completion_tokens=torch.tensor(completions, device=device),
    )


def visible(prompts: Sequence[int], completions: Sequence[int]) -> Tensor:
    """[s, s], token by token."""
    size = len(completions) // len(prompts)
    tokens = [(p, None, i) for p, length in enumerate(prompts) for i in range(length)]
    tokens += [(c // size, c, i) for c, length in enumerate(completions) for i in range(length)]
    return torch.tensor(
        [
            [
                p == p2 and ((c2 is None and c is not None) or (c == c2 and i2 <= i))
                for p2, c2, i2 in tokens
            ]
            for p, c, i in tokens
        ]
    )


def states(
    tokens: int,
    heads: tuple[int, int] = (4, 2),
    dtype: torch.dtype = torch.float32,
    size: float = 3.0,
) -> list[Tensor]:
    """Queries, keys and values [tokens, heads, 16], with a standard deviation of `size`."""
    generator = torch.Generator().manual_seed(tokens)
    return [
        (size * torch.randn(tokens, count, 16, generator=generator)).to(dtype).requires_grad_()
        for count in (heads[0], heads[1], heads[1])
    ]


def plain(query: Tensor, key: Tensor, value: Tensor, seen: Tensor, scale: float) -> Tensor:
    """Softmax over the visible tokens, in float64."""
    times = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    scores = torch.einsum("qhd,khd->hqk", query.double(), key.double()) * scale
    return torch.einsum(
        "hqk,khd->qhd", scores.masked_fill(~seen, float("-inf")).softmax(-1), value.double()
    )


class ProductCalls(PaddedCalls):
    """Those for float32 on a GPU, on a CPU."""

    def _kernel(self, bucket: Bucket, causal: bool) -> tuple[Kernel, int]:
        return PRODUCTS, self.times


class FlashCalls(PaddedCalls):
    """Those for long segments on a CPU."""

    def _kernel(self, bucket: Bucket, causal: bool) -> tuple[Kernel, int]:
        return FLASH, 1 if causal else self.times


CALLS = {
    "cpu": PaddedCalls,
    "flash": FlashCalls,
    "products": ProductCalls,
    "cuda": partial(VarlenCalls, kernels=STAND_IN),
}


def assert_exact(
    calls: Callable[..., object],
    prompts: Sequence[int],
    completions: Sequence[int],
    heads: tuple[int, int] = (4, 2),
    size: float = 3.0,
) -> None:
    groups = groups_of(prompts, completions)
    rows = states(sum(prompts) + sum(completions), heads, size=size)
    out = PrefixAttention.apply(*rows, groups, SCALE, calls)
    expected = plain(*rows, visible(prompts, completions), SCALE)
    assert near(out, expected, 1e-5)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = (
        torch.autograd.grad((weights * result).sum(), rows) for result in (out, expected)
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert near(mine, other, 1e-5)
