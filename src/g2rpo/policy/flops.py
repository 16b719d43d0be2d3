"""Floating-point operations that a forward pass needs, counted from the shapes of a policy's
weights.

A multiplication and an addition are two. Matrix products and attention count, nothing else; a
backward pass is twice its forward pass. What a program does beyond that (recomputed layers,
padding, masked blocks) is not counted: it is the work, not the effort.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from g2rpo.records import PromptBatch


@dataclass(frozen=True, kw_only=True)
class Cost:
    """FLOPs of one forward pass for each unit of work."""

    token: float
    """A token through the text layers, attention apart."""
    pair: float
    """A token that looks at another one, all text layers."""
    patch: float
    """An image patch through the vision tower, attention apart."""
    patch_pair: float
    head: float
    """A token projected to the vocabulary."""


def cost_of(policy: Any) -> Cost:
    """Counted once for a policy; frozen parts count like any other."""
    text, visual = policy.config.get_text_config(), policy.model.visual
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    merger = sum(
        p.numel() for name, p in visual.named_parameters() if "merger" in name and p.ndim > 1
    )
    tower = sum(
        p.numel()
        for name, p in visual.named_parameters()
        if "merger" not in name and "pos_embed" not in name and p.ndim > 1
    )
    vision = policy.config.vision_config
    return Cost(
        token=2.0
        * sum(p.numel() for p in policy.model.language_model.layers.parameters() if p.ndim > 1),
        pair=4.0 * text.num_hidden_layers * text.num_attention_heads * head_dim,
        patch=2.0 * (tower + merger / vision.spatial_merge_size**2),
        patch_pair=4.0 * vision.depth * vision.hidden_size,
        head=2.0 * policy.lm_head.weight.numel(),
    )


def vision_flops(cost: Cost, batch: PromptBatch) -> float:
    """One pass over the images of a batch."""
    if batch.image_grid_thw is None:
        return 0.0
    frames = torch.repeat_interleave(
        batch.image_grid_thw[:, 1] * batch.image_grid_thw[:, 2], batch.image_grid_thw[:, 0]
    ).double()
    return float(cost.patch * frames.sum() + cost.patch_pair * frames.square().sum())


def text_flops(
    cost: Cost,
    prompt: Int[Tensor, " p"],
    completion: Int[Tensor, " b"],
    owner: Int[Tensor, " b"],
    *,
    shared: bool,
) -> float:
    """Text layers and head for prompts with their completions, in tokens; `owner` is the prompt of
    each completion.

    The last token of a completion needs no pass of its own.
    """
    own, completions = prompt.double()[owner], (completion - 1).double()
    passed = prompt.double() if shared else own
    tokens = passed.sum() + completions.sum()
    pairs = passed.square().sum() / 2 + (completions * own + completions.square() / 2).sum()
    return float(cost.token * tokens + cost.pair * pairs + cost.head * completion.sum())
