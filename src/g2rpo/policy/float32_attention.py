"""Attention in float32 while everything else computes in bfloat16, registered with transformers.

On a CPU with bfloat16 instructions matrix products are faster in bfloat16, but the attention
kernels are slower. Images of one size share a call of the kernel.
"""

from typing import Any

from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from g2rpo.policy.forward import without_autocast
from g2rpo.policy.vision_tower import vision_attention

TEXT = "g2rpo_float32"
VISION = "g2rpo_float32_flash_attention"
"""transformers passes all images at once to an implementation with this word in its name."""


def use_float32_attention(policy: Any) -> None:
    """Let a policy attend in float32 within autocast."""
    policy.config.get_text_config()._attn_implementation = TEXT
    if getattr(policy.config, "vision_config", None) is not None:
        policy.config.vision_config._attn_implementation = VISION


@without_autocast
def _text(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **others: Any
) -> tuple[Tensor, None]:
    """Attention function of transformers: [b, heads, s, d] in, [b, s, heads, d] out."""
    return sdpa_attention_forward(module, query.float(), key.float(), value.float(), mask, **others)


@without_autocast
def _vision(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, **others: Any
) -> tuple[Tensor, None]:
    """Attend within each image: [1, heads, patches, d] in, [1, patches, heads, d] out."""
    states = (query.float(), key.float(), value.float())
    return vision_attention(module, *states, attention_mask, **others)


AttentionInterface.register(TEXT, _text)
AttentionMaskInterface.register(TEXT, sdpa_mask)
AttentionInterface.register(VISION, _vision)
