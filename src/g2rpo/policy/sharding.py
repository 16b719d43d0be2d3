"""A policy whose weights are sharded over the processes with FSDP2.

Every layer of the language model is a unit of its own: it is gathered just before it is used, and
freed afterwards. Embedding, head, norm and vision tower belong to the root, which is gathered once
per pass, whether or not a rank has images. So all ranks must make the same number of passes, each
as one `one_forward`. Gradients are summed over ranks, because losses are already divided by the
denominators of all ranks.
"""

from dataclasses import dataclass
from itertools import pairwise
from types import MethodType
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig
from transformers.distributed import DistributedConfig

from g2rpo.policy.family.model_family import Family
from g2rpo.policy.gloo_communication import communicate_in_place
from g2rpo.policy.remote_code import loading


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """How weights are spread over the processes.

    Args:
        mesh: Processes that share the weights. With two dimensions, weights are replicated over
            the first and sharded over the second.
        device: Device of this process.
    """

    mesh: DeviceMesh
    device: torch.device


def load_sharded(
    path: str,
    family: Family,
    sharding: Sharding,
    dtype: torch.dtype,
    compute_dtype: torch.dtype,
) -> Any:
    """Load a checkpoint; every rank reads only its own rows of every weight.

    Args:
        path: Folder or Hub id of the checkpoint.
        family: The model's family, which knows the layers.
        sharding: How to spread the weights.
        dtype: Dtype of the sharded weights.
        compute_dtype: Dtype of gathered weights. Gradients are summed in float32.
    """
    config = AutoConfig.from_pretrained(path, **loading(path))
    model_class = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]

    def prepare(cls: Any, config: Any, device_map: Any = None) -> tuple[Any, Any, None]:
        return config, sharding.device, None

    def distribute(cls: Any, policy: Any, config: Any, mesh: None) -> Any:
        return _shard(policy, list(family.decoder(policy).layers), sharding, compute_dtype)

    # transformers reads the slices that the placements of each weight ask for. Only its mesh and
    # its choice of units, which are fixed, are replaced here.
    loader = type(
        model_class.__name__,
        (model_class,),
        {
            "prepare_distribute_model": classmethod(prepare),
            "maybe_distribute_model": classmethod(distribute),
            "__module__": model_class.__module__,
        },
    )
    policy = loader.from_pretrained(
        path, config=config, dtype=dtype, distributed_config=DistributedConfig()
    )
    del policy.config.distributed_config  # would be written to config.json
    if sharding.device.type == "cuda":
        torch.cuda.empty_cache()  # transformers reserves room for the whole model
    return policy


def _shard(policy: Any, layers: list[Any], sharding: Sharding, compute_dtype: torch.dtype) -> Any:
    mixed = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32)
    for layer in layers:
        fully_shard(layer, mesh=sharding.mesh, mp_policy=mixed)
    fully_shard(policy, mesh=sharding.mesh, mp_policy=mixed)
    for module in policy.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo can only sum
            if sharding.device.type == "cpu":
                communicate_in_place(module)
    # By default FSDP prefetches in the reverse order of all forward passes so far. Those of
    # sampling differ between ranks, so that the ranks would wait for different weights.
    for unit, following in pairwise([policy, *reversed(layers), policy]):
        unit.set_modules_to_backward_prefetch([following])
    # a rank without images takes part in the reduction of the vision tower's gradients
    policy.set_reduce_scatter_unused_params(True)
    policy.one_forward = MethodType(
        lambda self, function, *args, **kwargs: function(self, *args, **kwargs), policy
    )
    register_fsdp_forward_method(policy, "one_forward")
    return policy
