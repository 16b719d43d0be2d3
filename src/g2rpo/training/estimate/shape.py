"""The shape of a model: what `config.json` says, and the sizes of its parameters, without a weight
in memory.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText

from g2rpo.policy.adapter import is_adapter
from g2rpo.policy.checkpoint import DTYPES, Checkpoint
from g2rpo.policy.flops import Cost, cost_of

KNOWN = ("qwen3_vl", "qwen2_5_vl")
"""Model types whose layers `activations.py` knows."""
STAND_IN = 64
"""Rows and columns of the weight that stands for all, where an optimizer cannot step without
values.
"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a policy. Widths count numbers per token or per image patch."""

    layers: int
    hidden: int
    inner: int
    """Of a text layer's MLP."""
    heads: int
    """Of queries."""
    queries: int
    """All heads together."""
    keys: int
    """All heads of keys; values are as many."""
    words: int
    """Of the vocabulary."""
    qk_norm: bool
    tied: bool
    """The head is the table of embeddings."""
    depth: int
    """Layers of the vision tower."""
    width: int
    patch_inner: int
    gated: bool
    """The vision tower's MLP has a gate."""
    merge: int
    """Patches along each side that become one token."""
    mergers: int
    """Places where patches become tokens: the last layer, and those of deepstack."""
    patch_values: int
    """Numbers of one patch in `pixel_values`."""
    patch_px: int
    weights: int
    """Parameters, without those of an adapter."""
    trained: int
    """Those of them that an update changes."""
    adapter: int
    """Bytes of an adapter, 0 without: its weights have a dtype of their own."""
    vision_trained: bool
    number: int
    """Bytes of a weight."""
    cost: Cost


def blank_policy(checkpoint: Checkpoint) -> Any:
    """The policy on torch's meta device: names, shapes and dtypes, and no memory.

    Raises `ValueError` for a configuration that cannot be had, or for a model whose layers are not
    known here.
    """
    try:
        config = AutoConfig.from_pretrained(checkpoint.path)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"model.path={checkpoint.path}: config.json cannot be read ({reason}). The estimate"
            " needs nothing else of the model: put the file into a folder and name that with"
            " model=folder model.path=<folder>, or run once with the network"
        ) from error
    if config.model_type not in KNOWN:
        raise ValueError(
            f"model.path={checkpoint.path}: model_type {config.model_type!r} cannot be estimated:"
            f" what its layers keep for the backward pass is known for {', '.join(KNOWN)} only; do"
            " not use estimate.py; watch time/peak_gib of a short run"
        )
    with torch.device("meta"):
        policy = AutoModelForImageTextToText.from_config(config, dtype=DTYPES[checkpoint.dtype])
        if checkpoint.adapter is not None:
            checkpoint.adapter.attach(policy)
    if checkpoint.freeze_vision:
        policy.model.visual.requires_grad_(False)
    return policy


def shape_of(policy: Any) -> Shape:
    """Read off a policy, on the meta device or not."""
    text, vision = policy.config.get_text_config(), policy.config.vision_config
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    layer = policy.model.language_model.layers[0]
    return Shape(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        inner=text.intermediate_size,
        heads=text.num_attention_heads,
        queries=text.num_attention_heads * head_dim,
        keys=text.num_key_value_heads * head_dim,
        words=policy.lm_head.weight.shape[0],
        qk_norm=hasattr(layer.self_attn, "q_norm"),
        tied=policy.lm_head.weight is policy.get_input_embeddings().weight,
        depth=vision.depth,
        width=vision.hidden_size,
        patch_inner=vision.intermediate_size,
        gated=hasattr(policy.model.visual.blocks[0].mlp, "gate_proj"),
        merge=vision.spatial_merge_size,
        mergers=1 + len(getattr(vision, "deepstack_visual_indexes", ())),
        patch_values=policy.model.visual.patch_embed.proj.weight[0].numel(),
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
        vision_trained=any(p.requires_grad for p in policy.model.visual.parameters()),
        number=policy.lm_head.weight.element_size(),
        cost=cost_of(policy),
    )


def optimizer_bytes(
    make: Callable[[Iterable[Tensor]], torch.optim.Optimizer], policy: Any
) -> tuple[int, int]:
    """Bytes of an optimizer's state, and of what a step needs besides: asked of the optimizer
    itself, which steps on the meta device.

    One that must see values (Adafactor) steps on a small weight of the same dtype instead, and its
    bytes are taken in proportion. A step that works on all weights at once (`foreach`, torch's
    default on a GPU) holds another copy of them meanwhile.
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
        v.numel() * v.element_size()
        for state in optimizer.state.values()
        for v in state.values()
        if isinstance(v, Tensor)
    )
    at_once = (
        "foreach" in optimizer.defaults
        and optimizer.defaults["foreach"] is not False
        and not optimizer.defaults.get("fused")
    )
    return round(scale * held), count * number if at_once else 0


def _step(optimizer: torch.optim.Optimizer, weights: Iterable[Tensor]) -> None:
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
