"""Attention over a packed row of prompts and completions, registered with transformers.

`shared_softmax.py` has the arithmetic. Its kernel calls are chosen here by device and dtype:

    CPU                          torch's flash kernel over padded rows (`padded_calls.py`)
    CUDA, half precision         torch's flash kernels over the row itself (`varlen_calls.py`)
    CUDA, float32                matrix products (`padded_calls.py`)
    `policy.prefix=flex`         FlexAttention, compiled (`flex_prefix.py`)
"""

from typing import Any

from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.flex_prefix import RecompileLimitReached, flex_rows
from g2rpo.policy.forward import computed
from g2rpo.policy.padded_calls import PaddedCalls
from g2rpo.policy.prefix_cache import PrefixCache
from g2rpo.policy.shared_prefix import Groups
from g2rpo.policy.shared_softmax import PrefixAttention
from g2rpo.policy.varlen_calls import VarlenCalls, flash_fits, use_flash_3

NAME = "g2rpo_shared_prefix"


def use_prefix_attention(policy: Any) -> None:
    """Let the text layers of a policy accept `groups=` and `behind=`; other calls are unchanged.

    Raises:
        ValueError: The policy does not use full attention by sdpa.
    """
    text = policy.config.get_text_config()
    if not knows_prefixes(policy):
        kind = text._attn_implementation
        if kind == "sdpa":
            kind = _unusual(text) or "other layers"
        raise ValueError(
            f"policy.prefix=shared: expected full attention by sdpa, got {kind}; use"
            " policy.prefix=repeated"
        )
    text._attn_implementation = NAME


def knows_prefixes(policy: Any) -> bool:
    """Return whether `use_prefix_attention` supports the policy."""
    text = policy.config.get_text_config()
    whole = family_of(policy).shares_prefix and not _unusual(text)
    return whole and text._attn_implementation in ("sdpa", NAME)


def _unusual(text: Any) -> str | None:
    """Return what the attention of a text model has that no kernel here computes."""
    if "sliding_attention" in (getattr(text, "layer_types", None) or ()):
        return "a sliding window"
    if getattr(text, "attn_logit_softcapping", None) is not None:
        return "a softcap (attn_logit_softcapping)"
    return None


def _forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    groups: Groups | None = None,
    behind: PrefixCache | None = None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention function of transformers: [b, heads, s, d] in, [b, s, heads, d] out.

    With `groups=` the input is one packed row, with `behind=` it is single tokens.
    """
    # queries and keys left their norms in float32, and the kernels know no autocast
    query, key, value = computed(query), computed(key), computed(value)
    if behind is not None:
        return (
            behind.attend(
                module.layer_idx, query, key, value, module.scaling if scaling is None else scaling
            ),
            None,
        )
    if groups is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
    scale = module.scaling if scaling is None else scaling
    if groups.flex:
        try:
            return flex_rows(query, key, value, groups, scale), None
        except RecompileLimitReached:  # with a warning
            groups.flex = False
    calls = PaddedCalls
    if flash_fits(query):
        use_flash_3()
        calls = VarlenCalls
    rows = [states[0].transpose(0, 1) for states in (query, key, value)]
    return PrefixAttention.apply(*rows, groups, scale, calls)[None], None


AttentionInterface.register(NAME, _forward)
AttentionMaskInterface.register(NAME, sdpa_mask)
