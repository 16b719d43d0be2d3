"""Sizes of a model, from `config.json` and the meta device, without loading weights."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from transformers import AutoConfig, AutoModelForImageTextToText

from g2rpo.policy.adapter import is_adapter
from g2rpo.policy.checkpoint import DTYPES, Checkpoint
from g2rpo.policy.family.choose_family import families, family_for
from g2rpo.policy.flops import Cost, cost_of, experts_of
from g2rpo.policy.remote_code import loading
from g2rpo.training.estimate.model_sizes import published_config
from g2rpo.training.fused_adamw import leaves_kernel_open

STAND_IN = 64
"""Rows and columns of a stand-in weight, for optimizers that cannot step on the meta device."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a policy. Widths count numbers per token or per image patch."""

    layers: int
    hidden: int
    inner: int
    """Width of a text layer's MLP; in a mixture of experts, of all experts that a token uses."""
    routed: int
    """Width of the copies of a token's states for its experts; 0 without experts."""
    heads: int
    """Number of query heads."""
    queries: int
    """Width of the queries of all heads."""
    keys: int
    """Width of the keys of all heads; that of the values is the same."""
    words: int
    """Size of the vocabulary."""
    qk_norm: bool
    tied: bool
    """Whether the head shares its weight with the embeddings."""
    depth: int
    """Number of layers of the vision tower."""
    width: int
    patch_inner: int
    gated: bool
    """Whether the MLP of the vision tower has a gate."""
    merge: int
    """Number of patches along each side that are merged into a token."""
    mergers: int
    """Number of patch mergers: after the last layer, and those of deepstack."""
    patch_values: int
    """Numbers of one patch in `pixel_values`."""
    patch_px: int
    weights: int
    """Number of parameters, without an adapter."""
    trained: int
    """Number of these parameters that are trained."""
    adapter: int
    """Bytes of an adapter, whose dtype may differ; 0 without one."""
    vision_trained: bool
    vision: int
    """Number of parameters of the vision tower."""
    number: int
    """Bytes of a weight."""
    compute: int
    """Bytes of a number in a forward pass; less than `number` for float32 weights in bf16-mixed."""
    layer: int
    """Number of parameters of a text layer, which `trainer=fsdp` gathers one at a time."""
    cost: Cost


def blank_policy(checkpoint: Checkpoint) -> Any:
    """Build the policy on torch's meta device: names, shapes and dtypes without memory.

    Raises:
        ValueError: if the configuration cannot be read, or the model type is not covered.
    """
    try:
        config = AutoConfig.from_pretrained(checkpoint.path, **loading(checkpoint.path))
    except (OSError, ValueError) as error:
        config = published_config(checkpoint.path)
        reason = str(error).strip().splitlines()[0]
        if config is None:
            raise ValueError(
                f"model.path={checkpoint.path}: config.json cannot be read ({reason}). The estimate"
                " needs nothing else of the model: put the file into a folder and name that with"
                " model=folder model.path=<folder>, or run once with the network"
            ) from error
    family = family_for(config.model_type, checkpoint.path)
    if not family.estimated:
        known = ", ".join(kind for kind, one in families().items() if one.estimated)
        raise ValueError(
            f"model.path={checkpoint.path}: model_type {config.model_type!r} cannot be estimated:"
            f" what its layers keep for the backward pass is known for {known} only; do not use"
            " estimate.py; watch time/peak_gib of a short run"
        )
    with torch.device("meta"):
        policy = AutoModelForImageTextToText.from_config(config, dtype=DTYPES[checkpoint.dtype])
        if checkpoint.adapter is not None:
            checkpoint.adapter.attach(policy)
    if checkpoint.freeze_vision:
        for parameter in family.vision_parameters(policy).values():
            parameter.requires_grad_(False)
    return policy


def shape_of(policy: Any, compute: torch.dtype | None = None) -> Shape:
    """Read the sizes of a policy, on the meta device or not.

    Args:
        policy: The model.
        compute: Dtype of its forward pass; None means that of its weights.
    """
    text, vision = policy.config.get_text_config(), policy.config.vision_config
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    layers, visual = policy.model.language_model.layers, policy.model.visual
    layer, mlp = layers[-1], visual.blocks[0].mlp
    experts = text.num_experts_per_tok if experts_of(layer) else 0
    number = policy.lm_head.weight.element_size()
    return Shape(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        inner=experts * text.moe_intermediate_size if experts else text.intermediate_size,
        routed=3 * experts * text.hidden_size,
        heads=text.num_attention_heads,
        queries=text.num_attention_heads * head_dim,
        keys=text.num_key_value_heads * head_dim,
        words=policy.lm_head.weight.shape[0],
        qk_norm=hasattr(layer.self_attn, "q_norm"),
        tied=policy.lm_head.weight is policy.get_input_embeddings().weight,
        depth=vision.depth,
        width=visual.patch_embed.proj.weight.shape[0],
        patch_inner=next(m for m in mlp.modules() if isinstance(m, torch.nn.Linear)).out_features,
        gated=hasattr(mlp, "gate_proj"),
        merge=vision.spatial_merge_size,
        mergers=1 + len(getattr(vision, "deepstack_visual_indexes", ())),
        patch_values=visual.patch_embed.proj.weight[0].numel(),
        patch_px=vision.patch_size,
        weights=sum(p.numel() for name, p in policy.named_parameters() if not is_adapter(name)),
        trained=sum(
            p.numel()
            for name, p in policy.named_parameters()
            if p.requires_grad and not is_adapter(name)
        ),
        adapter=sum(
            p.numel() * p.element_size()
            for name, p in policy.named_parameters()
            if is_adapter(name)
        ),
        vision=sum(p.numel() for name, p in visual.named_parameters() if not is_adapter(name)),
        vision_trained=any(p.requires_grad for p in visual.parameters()),
        number=number,
        compute=number if compute is None else compute.itemsize,
        layer=max(sum(p.numel() for p in layer.parameters()) for layer in layers),
        cost=cost_of(policy),
    )


def optimizer_bytes(
    make: Callable[[Iterable[Tensor]], torch.optim.Optimizer], policy: Any
) -> tuple[int, int]:
    """Measure the bytes of an optimizer's state and of temporary copies in a step.

    The optimizer takes a step on the meta device. One that needs values (Adafactor) steps on a
    small weight of the same dtype instead, and its bytes are scaled up. A step on all weights at
    once (`foreach`, torch's default on a GPU) needs a temporary copy of them. The fused AdamW,
    which `fuse` chooses on a GPU, needs none; the optimizers of optimi, which have a `triton`
    setting, compute in the gradients instead.

    Returns:
        Bytes of the state, and of the copies.
    """
    trained = [p for p in policy.parameters() if p.requires_grad]
    count, number = sum(p.numel() for p in trained), trained[0].element_size()
    try:
        optimizer, scale = make(trained), 1.0
        _step(optimizer, trained)
    except (RuntimeError, NotImplementedError):
        weight = torch.nn.Parameter(torch.ones(STAND_IN, STAND_IN, dtype=trained[0].dtype))
        optimizer, scale = make([weight]), count / STAND_IN**2
        _step(optimizer, [weight])
    finally:
        for parameter in trained:
            parameter.grad = None
    held = sum(
        _bytes(v)
        for state in optimizer.state.values()
        for v in state.values()
        if isinstance(v, Tensor)
    )
    at_once = (
        "foreach" in optimizer.defaults
        and optimizer.defaults["foreach"] is not False
        and not optimizer.defaults.get("fused")
        and not leaves_kernel_open(optimizer, optimizer.defaults)
        and "triton" not in optimizer.defaults
    )
    return round(scale * held), count * number if at_once else 0


def _bytes(value: Tensor) -> int:
    """Return the bytes of a tensor; a quantized one consists of several."""
    if is_traceable_wrapper_subclass(value):
        return sum(_bytes(getattr(value, name)) for name in value.__tensor_flatten__()[0])
    return value.nbytes


def _step(optimizer: torch.optim.Optimizer, weights: Iterable[Tensor]) -> None:
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    with torch.compiler.set_stance("force_eager"):  # compiling takes longer than the estimate
        optimizer.step()
