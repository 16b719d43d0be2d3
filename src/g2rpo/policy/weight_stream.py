"""Stream the policy's whole weights one tensor at a time, for exports and rollout engines.

The same function serves a plain policy and one whose weights are sharded over ranks (FSDP2). A
sharded policy never exists as a whole: each tensor is gathered, handed out and freed.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from g2rpo.policy.adapter import ADAPTER, adapted_layers, is_adapter
from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.forward import full_tensor, without_autocast


def full_tensors(
    policy: Any, dtype: torch.dtype | None = None, *, merge: bool = True
) -> Iterator[tuple[str, Tensor]]:
    """Yield every weight with its name in the Hugging Face state dict, adapters merged in.

    With a sharded policy every rank must call this and exhaust the iterator, because each tensor is
    gathered by all ranks together. Keep no tensor longer than needed: that is what bounds the
    memory. Tied weights are yielded under each of their names.

    Args:
        policy: The model; its own weights stay unchanged.
        dtype: Dtype of the floating-point tensors; None keeps each tensor's dtype.
        merge: Whether adapters are merged in; otherwise they are left out.

    Yields:
        Name and tensor, on the device of the policy. An unsharded weight that needs no merge and no
        conversion is the policy's own tensor. Merged weights are computed in float32 and rounded
        once.
    """
    layers = adapted_layers(policy)
    for name, value in policy.state_dict().items():  # detached
        if is_adapter(name):
            continue
        layer, inside, what = name.partition(".base_layer.")
        if inside and what == "weight" and merge:
            yield f"{layer}.weight", _merged(value, layers[layer], dtype or value.dtype)
        else:
            # Converted before it is gathered, so that fewer bytes are sent.
            yield f"{layer}.{what}" if inside else name, full_tensor(_converted(value, dtype))


def published_tensors(
    policy: Any, dtype: torch.dtype | None = None, *, merge: bool = True, tied: bool = True
) -> Iterator[tuple[str, Tensor]]:
    """Yield `full_tensors` with the names and layouts of the published checkpoints.

    These differ from the modules of transformers for some families, and are what engines load.

    Args:
        policy: The model.
        dtype: As in `full_tensors`.
        merge: As in `full_tensors`.
        tied: Whether a weight that is tied to another one is yielded too.
    """
    skipped = () if tied or not policy.config.tie_word_embeddings else policy.all_tied_weights_keys
    family = family_of(policy)
    for own_name, own in full_tensors(policy, dtype, merge=merge):
        if own_name not in skipped:
            for name, value in revert_weight_conversion(policy, {own_name: own}).items():
                yield name, family.as_published(policy, name, value)


@torch.no_grad()
def _converted(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    return value.to(dtype) if dtype is not None and value.is_floating_point() else value


@torch.no_grad()
@without_autocast
def _merged(weight: Tensor, layer: Any, dtype: torch.dtype) -> Tensor:
    """Return W + alpha / rank * B A, in the order of operations of peft's own merge."""
    a, b = (full_tensor(half[ADAPTER].weight).float() for half in (layer.lora_A, layer.lora_B))
    return (full_tensor(weight).float() + (b @ a) * layer.scaling[ADAPTER]).to(dtype)
