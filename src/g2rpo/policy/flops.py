"""Count the floating-point operations (FLOPs) of a forward pass from the shapes of the weights.

A multiplication and an addition are two operations. Only matrix products and attention count; a
backward pass counts as two forward passes. Overhead is not counted: recomputed layers, padding and
masked blocks.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Int
from torch import Tensor

from g2rpo.policy.family.choose_family import family_of
from g2rpo.records import PromptBatch


@dataclass(frozen=True, kw_only=True)
class Cost:
    """FLOPs of one forward pass for each unit of work."""

    token: float
    """FLOPs per token in the text layers, without attention."""
    pair: float
    """FLOPs per pair of tokens in the attention of all text layers."""
    patch: float
    """FLOPs per image patch in the vision tower, without attention."""
    patch_pair: float
    """FLOPs per pair of patches in the attention of the vision tower."""
    head: float
    """FLOPs to project a token to the vocabulary."""


def experts_of(module: Any) -> list[Tensor]:
    """Return the weights [experts, out, in] of the experts in a module; none if it is dense."""
    return [p for name, p in module.named_parameters() if ".experts." in name and p.ndim == 3]


def cost_of(policy: Any) -> Cost:
    """Return the cost of a policy's forward pass; frozen weights count too.

    Of a mixture of experts, only those that a token uses count.
    """
    family, text = family_of(policy), policy.config.get_text_config()
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    layers, head = family.decoder(policy).layers, family.head(policy)
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers
    attentive = sum(kind != "linear_attention" for kind in kinds)
    idle = sum(p.numel() * (1 - text.num_experts_per_tok / p.shape[0]) for p in experts_of(layers))
    patch, patch_pair = family.patch_flops(policy)
    return Cost(
        token=2.0 * (sum(p.numel() for p in layers.parameters() if p.ndim > 1) - idle),
        pair=4.0 * attentive * text.num_attention_heads * head_dim,
        patch=patch,
        patch_pair=patch_pair,
        head=2.0 * head.weight.numel(),
    )


def vision_flops(policy: Any, cost: Cost, batch: PromptBatch) -> float:
    """Return the FLOPs of one pass over the images of a batch."""
    if not batch.images:
        return 0.0
    patches = family_of(policy).patches(policy, batch).double()
    return float(cost.patch * patches.sum() + cost.patch_pair * patches.square().sum())


def text_flops(
    cost: Cost,
    prompt: Int[Tensor, " p"],
    completion: Int[Tensor, " b"],
    owner: Int[Tensor, " b"],
    *,
    shared: bool,
) -> float:
    """Return the FLOPs of text layers and head for prompts with their completions.

    The last token of a completion predicts nothing, so it does not count.

    Args:
        cost: FLOPs per unit of work.
        prompt: Number of tokens of each prompt.
        completion: Number of tokens of each completion.
        owner: Index of each completion's prompt.
        shared: Whether a prompt passes once for its group, or once per completion.
    """
    own, completions = prompt.double()[owner], (completion - 1).double()
    passed = prompt.double() if shared else own
    tokens = passed.sum() + completions.sum()
    pairs = passed.square().sum() / 2 + (completions * own + completions.square() / 2).sum()
    return float(cost.token * tokens + cost.pair * pairs + cost.head * completion.sum())
