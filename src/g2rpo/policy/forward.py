"""How a policy is called: dtype, sharded weights, positions, image features, layers and logits.

There are two dtypes: the one that weights are held in, and the one that a forward pass computes in.
With `trainer.precision=bf16-mixed`, weights and optimizer state are float32 and autocast computes
matrix products in bfloat16. Otherwise a policy computes in the dtype of its weights.

Lightning enters autocast around whole training steps. Autocast keeps its bfloat16 copies of the
weights until the outermost block ends: within a step that samples, computes log-probabilities and
updates several times, these copies would be stale after the first update, and those made without
gradients would cut the gradient off. So every pass enters `computing` itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers.modeling_layers import GradientCheckpointingLayer

from g2rpo.policy.family.choose_family import family_of
from g2rpo.records import PromptBatch
from g2rpo.stopwatch import timed

P = ParamSpec("P")
R = TypeVar("R")
MIXED = {"bf16-mixed": torch.bfloat16}
"""Compute dtype by Lightning precision, if it differs from the dtype of the weights."""


def compute_in(policy: Any, precision: str) -> None:
    """Let the policy compute as `precision` (of Lightning's Trainer) says."""
    if precision in MIXED:
        policy.compute_dtype = MIXED[precision]


def compute_dtype(policy: Any) -> torch.dtype:
    """Return the dtype of matrix products in a forward pass; engines and exports use it too."""
    dtype: torch.dtype = getattr(policy, "compute_dtype", None) or policy.dtype
    return dtype


@contextmanager
def computing(policy: Any, *, keep_casts: bool = False) -> Iterator[None]:
    """Compute in the policy's compute dtype within the block.

    Args:
        policy: The model.
        keep_casts: Whether weights are cast once per block and not once per pass. It is faster for
            many passes without gradients, but needs memory for all weights in the compute dtype.
    """
    mixed = getattr(policy, "compute_dtype", None)
    with torch.autocast(
        policy.device.type, mixed, enabled=mixed is not None, cache_enabled=keep_casts
    ):
        if keep_casts:
            torch.clear_autocast_cache()
        try:
            yield
        finally:
            if keep_casts:
                torch.clear_autocast_cache()


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function compute in the dtypes of its tensors, whoever calls it."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return call


def computed(states: Tensor) -> Tensor:
    """Return states of any shape in the dtype of autocast; unchanged outside of it."""
    device = states.device.type
    return (
        states.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else states
    )


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


def recompute_layers(policy: Any) -> None:
    """Enable gradient checkpointing of every layer, under the name that transformers has for it.

    `recomputed_layers` applies it.
    """
    options = {"use_reentrant": False}
    if hasattr(policy, "activation_checkpointing_enable"):  # since transformers 5.23
        policy.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    else:
        policy.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)


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
    head: Any,
    hidden: Float[Tensor, "n d"],
    forbidden: tuple[int, ...] | Int[Tensor, " f"],
    temperature: float,
) -> Float[Tensor, "n v"]:
    """Return float32 logits for sampling and training, with forbidden tokens at minus infinity.

    Args:
        head: The policy's output projection.
        hidden: Final hidden states.
        forbidden: Token ids that may not be sampled; the host does not wait for a tensor on the
            device of `hidden`.
        temperature: Sampling temperature; 0 (greedy) counts as 1.
    """
    logits = head(hidden).float()
    if temperature not in (0, 1):
        logits = logits / temperature
    ids = torch.as_tensor(forbidden, dtype=torch.long, device=logits.device)
    if logits.requires_grad:
        return logits.index_fill(-1, ids, float("-inf"))
    return logits.index_fill_(-1, ids, float("-inf"))


def is_sharded(policy: Any) -> bool:
    """Return whether the weights of the policy are spread over processes."""
    return isinstance(policy, FSDPModule)


def one_forward(policy: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return `function(policy, ...)`, run as one forward pass of the whole policy.

    The weights of the root are plain tensors inside. All ranks must call this together if the
    policy is sharded.
    """
    if not is_sharded(policy):
        return function(policy, *args, **kwargs)
    result = policy.one_forward(function, *args, **kwargs)
    if not torch.is_grad_enabled():
        policy.reshard()  # no backward pass will do it, and optimizers must see the shards
    return result


@contextmanager
def gathered(policy: Any) -> Iterator[None]:
    """Hold all weights on every rank within the block, so that ranks may make different passes.

    All ranks must enter and leave the block together. It changes nothing if the policy is not
    sharded.
    """
    if not is_sharded(policy):
        yield
        return
    policy.one_forward(lambda _: None)  # FSDP expects the first pass to be one of the root
    units = [module for module in policy.modules() if isinstance(module, FSDPModule)]
    layers = [unit for unit in units if unit is not policy]
    for unit in units:
        unit.unshard()
    for layer in layers:
        layer.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.set_reshard_after_forward(True, recurse=False)
        for unit in units:
            unit.reshard()


def full_tensor(value: Tensor) -> Tensor:
    """Gather a sharded tensor to its full shape, on all ranks at once; return others unchanged."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def local_tensor(value: Tensor) -> Tensor:
    """Return the part of a tensor that this rank holds; its shape is that of the shard."""
    return value.to_local() if isinstance(value, DTensor) else value
