"""Parts of a forward pass: positions, image features, recomputed layers and logits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from g2rpo.policy.family.choose_family import family_of
from g2rpo.records import PromptBatch
from g2rpo.stopwatch import timed


def prompt_positions(
    policy: Any, batch: PromptBatch
) -> tuple[Int[Tensor, "a p l"], Int[Tensor, " p"]]:
    """Return the positions of every prompt token on each axis, and the position of each prompt's
    first completion token. M-RoPE has three axes (time, height, width), other models have one.
    """
    return family_of(policy).positions(policy, batch)


@timed("vision")
def encode_images(policy: Any, batch: PromptBatch) -> dict[str, Any]:
    """Run the vision tower once over all images of a batch; return {} if there are none."""
    return {"image": family_of(policy).image_features(policy, batch)} if batch.images else {}


def repeat_images(
    policy: Any, images: dict[str, Any], batch: PromptBatch, times: int
) -> dict[str, Any]:
    """Repeat the vision features for `times` rows per prompt, in row order."""
    if not images or times == 1:
        return dict(images)
    owner = torch.repeat_interleave(torch.arange(len(batch.num_images)), batch.num_images.cpu())
    order = [
        int(i)
        for row in range(len(batch.num_images))
        for _ in range(times)
        for i in (owner == row).nonzero()[:, 0]
    ]
    return {"image": family_of(policy).taken_features(images["image"], batch, order)}


@contextmanager
def recomputed_layers(policy: Any) -> Iterator[None]:
    """Apply gradient checkpointing within the block, if it is enabled for the policy.

    transformers recomputes layers only in training mode. So just the layers' own flag is set: their
    submodules stay in evaluation mode, without dropout. Do not use it for sampling, because
    transformers drops the cache in training mode.
    """
    layers = [
        m
        for m in policy.modules()
        if isinstance(m, GradientCheckpointingLayer) and m.gradient_checkpointing
    ]
    modes = [layer.training for layer in layers]
    try:
        for layer in layers:
            layer.training = True
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode


def completion_positions(first: Int[Tensor, " b"], length: int, axes: int) -> Int[Tensor, "a b t"]:
    """Return positions of completion tokens, counted from `first` and equal on all axes."""
    steps = first[:, None] + torch.arange(length, device=first.device)
    return steps.expand(axes, -1, -1)


def masked_logits(
    head: Any, hidden: Float[Tensor, "n d"], forbidden: tuple[int, ...], temperature: float
) -> Float[Tensor, "n v"]:
    """Return float32 logits for sampling and training, with forbidden tokens at minus infinity.

    Args:
        head: The policy's output projection.
        hidden: Final hidden states.
        forbidden: Token ids that may not be sampled.
        temperature: Sampling temperature; 0 (greedy) counts as 1.
    """
    logits = head(hidden).float()
    if temperature > 0:
        logits = logits / temperature
    blocked = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    blocked[list(forbidden)] = True
    return logits.masked_fill(blocked, float("-inf"))
