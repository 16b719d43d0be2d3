"""LoRA by peft: small trainable matrices beside frozen projections, inside a policy that stays the
class it was.

A projection W then computes W x + alpha / rank * B A x, with A random and B zero at the start (Hu
et al. 2021, arXiv 2106.09685, section 4.1). Whoever reads weights goes through `merged_state_dict`,
which adds the product up tensor by tensor and answers for a policy without an adapter as well; the
policy without its adapter is the reference of a KL term.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Of a layer of the language model, in its attention and its MLP."""
ADAPTER = "default"
"""peft's name for the only adapter of a model."""


class LoRA:
    """`model/adapter=lora`. Building one only checks the arguments.

    Args:
        rank: Rows of A, columns of B.
        alpha: The product counts alpha / rank times.
        targets: Projections of the language model, of `PROJECTIONS`.
        vision: Every linear layer of the vision tower too.
        dropout: 0. With another value the policy that samples would not be the one that is trained.
        seed: Of A.
    """

    def __init__(
        self,
        *,
        rank: int = 16,
        alpha: float = 32.0,
        targets: Sequence[str] = PROJECTIONS,
        vision: bool = False,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        if rank < 1:
            raise ValueError(f"model.adapter.rank: expected 1 or more, got {rank}")
        if not alpha > 0 or math.isinf(alpha):
            raise ValueError(f"model.adapter.alpha: expected a number above 0, got {alpha}")
        if unknown := [name for name in targets if name not in PROJECTIONS]:
            raise ValueError(
                f"model.adapter.targets: expected some of {', '.join(PROJECTIONS)}, got"
                f" {unknown[0]!r}"
            )
        if not targets and not vision:
            raise ValueError(
                "model.adapter.targets: expected a projection, or model.adapter.vision=true; else"
                " nothing would be trained"
            )
        if dropout != 0:
            raise ValueError(
                f"model.adapter.dropout: expected 0, got {dropout}; dropped inputs would make the"
                " policy that is trained another one than the policy that drew the completions."
                " model.adapter.rank and optimizer.weight_decay restrain an adapter"
            )
        if find_spec("peft") is None:
            raise ValueError(
                "model/adapter=lora: peft is not installed; pip install -c constraints/ci.txt -e"
                " .[lora]"
            )
        self.rank, self.alpha, self.targets, self.vision, self.seed = (
            rank,
            alpha,
            tuple(targets),
            vision,
            seed,
        )

    def attach(self, policy: Any) -> None:
        """Puts the adapter into a model and freezes everything else. Adapter weights are float32,
        whatever the model's dtype.

        Raises:
            ValueError: when the model has no layer of a target's name.
        """
        from peft import LoraConfig, inject_adapter_in_model

        layers = self._layers(policy)
        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, target_modules=layers, lora_dropout=0.0
        )
        inject_adapter_in_model(config, policy, ADAPTER)
        policy.eval()
        generator = torch.Generator().manual_seed(self.seed)
        for name, parameter in policy.named_parameters():
            parameter.requires_grad_(is_adapter(name))
            if is_adapter(name):
                # bfloat16 would round most updates of a small learning rate away
                parameter.data = parameter.data.float()
            if ".lora_A." in name:
                torch.nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=generator)

    def _layers(self, policy: Any) -> list[str]:
        linear = [
            name for name, module in policy.named_modules() if isinstance(module, torch.nn.Linear)
        ]
        text = {
            target: [
                name
                for name in linear
                if ".language_model.layers." in name and name.endswith(f".{target}")
            ]
            for target in self.targets
        }
        for target, found in text.items():
            if not found:
                raise ValueError(
                    f"model.adapter.targets: {type(policy).__name__} has no linear layer {target};"
                    " leave it out"
                )
        visual = [name for name in linear if ".visual." in f".{name}"] if self.vision else []
        return [name for found in text.values() for name in found] + visual


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return ".lora_" in name


def has_adapter(policy: Any) -> bool:
    """Whether an adapter is trained in this policy."""
    return any(is_adapter(name) for name, _ in policy.named_parameters())


def adapter_settings(policy: Any) -> dict[str, float]:
    """What an adapter's weights mean nothing without; empty where there is none."""
    if not has_adapter(policy):
        return {}
    config = policy.peft_config[ADAPTER]
    return {"rank": config.r, "alpha": float(config.lora_alpha), "layers": len(_adapted(policy))}


@contextmanager
def adapter_off(policy: Any) -> Iterator[None]:
    """Within it the policy is the checkpoint that it started from; a model without an adapter is
    what it is.
    """
    layers = _adapted(policy).values()
    try:
        for layer in layers:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merged_state_dict(policy: Any) -> Iterator[tuple[str, Tensor]]:
    """The policy's weights as a checkpoint names them, with the adapter added in; one at a time,
    and the policy stays as it is.

    The sum is taken in float32 and rounded once to the dtype of the weight. Weights without an
    adapter are the policy's own tensors.
    """
    layers = _adapted(policy)
    for name, value in policy.state_dict().items():
        if is_adapter(name):
            continue
        layer, inside, what = name.partition(".base_layer.")
        if inside and what == "weight":
            yield f"{layer}.weight", _merged(value, layers[layer])
        else:
            yield f"{layer}.{what}" if inside else name, value


def save_adapter(policy: Any, folder: Path, base: str) -> None:
    """Writes the adapter alone in peft's format: `PeftModel.from_pretrained(model, folder)` puts it
    on the checkpoint `base`.
    """
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    replace(
        policy.peft_config[ADAPTER], base_model_name_or_path=base, inference_mode=True
    ).save_pretrained(folder)
    weights = get_peft_model_state_dict(policy, adapter_name=ADAPTER)
    # peft's own wrapper has the model two levels down
    named = {
        f"base_model.model.{name}": value.detach().cpu().contiguous()
        for name, value in weights.items()
    }
    save_file(named, folder / "adapter_model.safetensors", metadata={"format": "pt"})


@torch.no_grad()
def _merged(weight: Float[Tensor, "o i"], layer: Any) -> Float[Tensor, "o i"]:
    return (weight.float() + layer.get_delta_weight(ADAPTER)).to(weight.dtype)


def _adapted(policy: Any) -> dict[str, Any]:
    """The layers that have an adapter, by their names."""
    return {name: module for name, module in policy.named_modules() if hasattr(module, "lora_A")}
