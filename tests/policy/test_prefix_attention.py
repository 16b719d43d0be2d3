"""Which kernel attends to a packed row, and which policies are referred to the repeated form."""

import copy
import types
from typing import Any

import pytest
import torch
from closeness import near
from packed_rows import groups_of, states
from torch import Tensor

from g2rpo.policy import prefix_attention
from g2rpo.policy.flex_prefix import RecompileLimitReached
from g2rpo.policy.padded_calls import PaddedCalls
from g2rpo.policy.prefix_attention import use_prefix_attention
from g2rpo.policy.shared_prefix import Groups
from g2rpo.policy.shared_softmax import PrefixAttention

LAYER = types.SimpleNamespace(scaling=0.3, layer_idx=0)


def attend(groups: Groups, rows: list[Tensor]) -> Tensor:
    wide = [row.detach().transpose(0, 1)[None] for row in rows]
    return prefix_attention._forward(LAYER, *wide, None, groups=groups)[0]


def test_a_row_on_a_cpu_gets_padded_calls() -> None:
    groups, rows = groups_of((5, 3), (2, 0, 1, 4)), states(15)
    expected = PrefixAttention.apply(*rows, groups, 0.3, PaddedCalls)
    assert torch.equal(attend(groups, rows), expected.detach()[None])


def test_past_the_recompile_limit_the_shared_kernels_take_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> Tensor:
        raise RecompileLimitReached("enough")

    monkeypatch.setattr(prefix_attention, "flex_rows", refuse)
    groups, rows = groups_of((5, 3), (2, 0, 1, 4)), states(15)
    expected = attend(groups, rows)
    groups.flex = True
    assert near(attend(groups, rows), expected)
    assert not groups.flex  # nor is it tried again in the other layers of the row


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"_attn_implementation": "eager"}, "eager"),
        ({"layer_types": ["sliding_attention"]}, "a sliding window"),
        ({"attn_logit_softcapping": 50.0}, r"a softcap \(attn_logit_softcapping\)"),
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
