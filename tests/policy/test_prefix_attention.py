"""Attention of a shared row, against a softmax over what a loop over pairs of tokens says is
visible.
"""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from closeness import near
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from g2rpo.policy.prefix_attention import PrefixAttention, use_prefix_attention
from g2rpo.policy.shared_prefix import Groups

HEADS, KV_HEADS, SIZE, SCALE = 4, 2, 16, 0.3
CASES = (((5, 3), (2, 0, 1, 4)), ((4, 4), (3, 3, 3, 3)), ((6,), (1, 2, 5)), ((2, 7, 1), (0, 0, 0)))
"""Tokens of the prompts, and of the completions in a row."""


def groups_of(prompts: Sequence[int], completions: Sequence[int]) -> Groups:
    return Groups(prompt_tokens=torch.tensor(prompts), completion_tokens=torch.tensor(completions))


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


def states(tokens: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    return [
        (3 * torch.randn(tokens, heads, SIZE, generator=generator)).to(dtype).requires_grad_()
        for heads in (HEADS, KV_HEADS, KV_HEADS)
    ]


def plain(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    key, value = (
        key.repeat_interleave(HEADS // KV_HEADS, 1),
        value.repeat_interleave(HEADS // KV_HEADS, 1),
    )
    scores = torch.einsum("qhd,khd->hqk", query.double(), key.double()) * SCALE
    return torch.einsum(
        "hqk,khd->qhd", scores.masked_fill(~seen, float("-inf")).softmax(-1), value.double()
    )


@pytest.mark.parametrize(("prompts", "completions"), CASES)
def test_output_and_gradients_are_those_of_a_masked_softmax(
    prompts: Sequence[int], completions: Sequence[int]
) -> None:
    groups, (query, key, value) = (
        groups_of(prompts, completions),
        states(sum(prompts) + sum(completions)),
    )
    out = PrefixAttention.apply(query, key, value, groups, SCALE)
    expected = plain(query, key, value, visible(prompts, completions))
    assert near(out, expected.float())
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = (
        torch.autograd.grad((weights * result).sum(), (query, key, value))
        for result in (out, expected)
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert near(mine, other, 1e-4)


def test_scores_whose_exponential_overflows_are_merged_all_the_same() -> None:
    groups, (query, key, value) = groups_of(*CASES[0]), states(15)
    out = PrefixAttention.apply(30 * query, key, value, groups, SCALE)
    expected = plain(30 * query, key, value, visible(*CASES[0]))
    assert (
        torch.logsumexp((30 * query[8, 0] @ key[:5, 0].T * SCALE).double(), 0) > 100
    )  # float32 ends at the exponential of 88
    assert near(out, expected.float(), 1e-3)


def test_half_precision_stays_near_it() -> None:
    groups, (query, key, value) = groups_of(*CASES[0]), states(15, torch.bfloat16)
    out = PrefixAttention.apply(query, key, value, groups, SCALE)
    expected = plain(query, key, value, visible(*CASES[0]))
    assert out.dtype == torch.bfloat16
    assert (out - expected).norm() < 0.01 * expected.norm()
    ours, theirs = (
        torch.autograd.grad(result.sum(), (query, key, value)) for result in (out, expected)
    )
    assert all(
        (mine - other).norm() < 0.03 * other.norm() + 0.02
        for mine, other in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize(("prompts", "completions"), CASES)
def test_the_block_mask_says_the_same(prompts: Sequence[int], completions: Sequence[int]) -> None:
    groups = groups_of(prompts, completions)
    tokens = torch.arange(sum(prompts) + sum(completions))
    assert torch.equal(
        groups.block_mask().mask_mod(0, 0, tokens[:, None], tokens[None]),
        visible(prompts, completions),
    )


@torch.no_grad()
@pytest.mark.filterwarnings(
    "ignore:flex_attention called without torch.compile", "ignore::DeprecationWarning"
)
def test_flex_attention_under_it_gives_the_same_output() -> None:
    groups, rows = groups_of(*CASES[0]), states(15)
    wide = [row.detach().transpose(0, 1)[None] for row in rows]
    flexed = flex_attention(*wide, block_mask=groups.block_mask(), scale=SCALE, enable_gqa=True)
    assert near(flexed[0].transpose(0, 1), PrefixAttention.apply(*rows, groups, SCALE))
    assert groups.block_mask() is groups.block_mask()


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"_attn_implementation": "eager"}, "eager"),
        ({"layer_types": ["sliding_attention"]}, "a sliding window"),
    ],
)
def test_other_kinds_of_attention_are_referred_to_the_repeated_form(
    changes: dict[str, Any], kind: str, policy: Any
) -> None:
    config = copy.deepcopy(policy.config)
    config.text_config._attn_implementation = "sdpa"
    for name, value in changes.items():
        setattr(config.text_config, name, value)
    with pytest.raises(
        ValueError,
        match=(
            rf"policy\.prefix=shared: expected full attention by sdpa, got {kind}; use"
            r" policy\.prefix=repeated"
        ),
    ):
        use_prefix_attention(type("Policy", (), {"config": config}))
