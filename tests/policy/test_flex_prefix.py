"""FlexAttention over a packed row, not compiled: its mask, its padding, and its limit."""

import logging
from collections.abc import Sequence

import pytest
import torch
from closeness import near
from packed_rows import groups_of, states, visible
from torch._dynamo.exc import FailOnRecompileLimitHit

from g2rpo.policy import flex_prefix
from g2rpo.policy.flex_prefix import BLOCK, RecompileLimitReached, block_mask, flex_rows
from g2rpo.policy.padded_calls import PaddedCalls
from g2rpo.policy.shared_softmax import PrefixAttention

CASES = (((5, 3), (2, 0, 1, 4)), ((100, 20), (4, 4)), ((6,), (1, 2, 5)), ((2, 7, 1), (0, 0, 0)))
pytestmark = pytest.mark.filterwarnings(
    "ignore:flex_attention called without torch.compile", "ignore::DeprecationWarning"
)


@pytest.mark.parametrize(("prompts", "completions"), CASES)
def test_the_block_mask_shows_what_is_visible_and_padding_sees_padding(
    prompts: Sequence[int], completions: Sequence[int]
) -> None:
    mask, real = block_mask(groups_of(prompts, completions)), sum(prompts) + sum(completions)
    tokens = torch.arange(BLOCK)
    seen = mask.mask_mod(0, 0, tokens[:, None], tokens[None])
    assert mask.seq_lengths == (BLOCK, BLOCK)
    assert torch.equal(seen[:real, :real], visible(prompts, completions))
    assert not seen[:real, real:].any()
    assert seen[real:].any(1).all()  # a softmax over nothing would be nan
    assert not seen[real:, :real].any()


@torch.no_grad()
@pytest.mark.parametrize(("prompts", "completions"), CASES)
def test_the_output_is_that_of_the_other_kernels(
    prompts: Sequence[int], completions: Sequence[int]
) -> None:
    groups = groups_of(prompts, completions)
    rows = states(sum(prompts) + sum(completions))
    wide = [row.detach().transpose(0, 1)[None] for row in rows]
    flexed = flex_rows(*wide, groups, 0.3)
    assert near(flexed[0], PrefixAttention.apply(*rows, groups, 0.3, PaddedCalls))


def test_one_mask_serves_all_layers_of_a_row() -> None:
    groups = groups_of(*CASES[0])
    assert groups.derived(block_mask) is groups.derived(block_mask)


def test_past_the_limit_of_recompilations_it_refuses_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def limit_hit(*_: object, **__: object) -> None:
        assert torch._dynamo.config.recompile_limit == 64
        assert torch._dynamo.config.fail_on_recompile_limit_hit
        raise FailOnRecompileLimitHit("limit")

    monkeypatch.setattr(flex_prefix, "_kernel", lambda: limit_hit)
    flex_prefix._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "g2rpo"):
        for _ in range(2):
            with pytest.raises(RecompileLimitReached):
                flex_prefix._compiled(*states(4))
    assert [record.getMessage()[:18] for record in caplog.records] == ["policy.prefix=flex"]
    assert not torch._dynamo.config.fail_on_recompile_limit_hit
