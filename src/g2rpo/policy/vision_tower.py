"""A Qwen-VL vision tower with the same numbers, where transformers is slow.

Patches: transformers projects them by a convolution whose input is a single patch. Libraries for
convolutions are slow at this shape, above all on GPUs in bfloat16 (transformers#45750). Here it is
a matrix product. transformers can load one in its place (`fusion_config`), which renames the
weight; here name and shape stay.

Attention: transformers calls the kernel once per image and layer, and for Qwen2.5-VL once per
window of 8 x 8 patches: hundreds of small calls, which take longer to start than to compute. Here
images, or windows, of a size share a call.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "g2rpo_flash_attention_by_size"
"""transformers passes all images at once to an implementation with `flash` in its name."""


def project_patches_by_product(policy: Any) -> None:
    """Let three-dimensional convolutions of a policy multiply where they see a single patch."""
    for module in policy.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = PatchProjection


class PatchProjection(nn.Conv3d):
    """A convolution that is a matrix product if its input is as large as its kernel."""

    def forward(self, input: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n d t2 h2 w2"]:
        """Return what the convolution returns."""
        if tuple(input.shape[2:]) != self.kernel_size or self.groups != 1 or any(self.padding):
            return super().forward(input)
        found = linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return found[..., None, None, None]


def attend_by_size(policy: Any) -> None:
    """Let the vision tower attend to all images of a size at once, if it uses sdpa."""
    if policy.config.vision_config._attn_implementation == "sdpa":
        policy.config.vision_config._attn_implementation = NAME


def within_segments(
    query: Float[Tensor, "1 h s d"],
    key: Float[Tensor, "1 h s d"],
    value: Float[Tensor, "1 h s d"],
    lengths: Sequence[int],
    scale: float,
) -> Float[Tensor, "1 s h d"]:
    """Attend within consecutive segments; segments of equal length share a call.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        lengths: Number of tokens of each segment.
        scale: Factor of the scores.
    """
    runs = [(length, len(list(run))) for length, run in groupby(lengths)]
    ends = list(accumulate(length * count for length, count in runs))
    of_length = defaultdict(list)
    for (length, count), end in zip(runs, ends, strict=True):
        of_length[length].append((end - length * count, end))
    rows = [states[0].transpose(0, 1) for states in (query, key, value)]
    found: dict[int, Tensor] = {}
    for length, places in of_length.items():
        if length:
            segments = [_joined(states, places).unflatten(0, (-1, length)) for states in rows]
            states = [segment.transpose(1, 2) for segment in segments]
            mixed = scaled_dot_product_attention(*states, scale=scale).transpose(1, 2)
            parts = mixed.flatten(0, 1).split([end - start for start, end in places])
            found |= {start: part for (start, _), part in zip(places, parts, strict=True)}
    return torch.cat([found[start] for start in sorted(found)])[None]


def _joined(rows: Float[Tensor, "s h d"], places: list[tuple[int, int]]) -> Float[Tensor, "n h d"]:
    parts = [rows[start:end] for start, end in places]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def vision_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    cu_seq_lens_q: Tensor,
    scaling: float,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention function of transformers: [1, heads, patches, d] in, [1, patches, heads, d] out."""
    return within_segments(query, key, value, cu_seq_lens_q.diff().tolist(), scaling), None


AttentionInterface.register(NAME, vision_attention)
