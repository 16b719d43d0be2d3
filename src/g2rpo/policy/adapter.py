"""LoRA with peft: low-rank matrices beside frozen projections; the policy keeps its class.

A projection W then computes W x + alpha / rank * B A x, with A random and B zero at the start (Hu
et al. 2021, arXiv 2106.09685, section 4.1). Engines and checkpoints read the weights through
`weight_stream.full_tensors`, which also works for a policy without an adapter. With the adapter
switched off the policy is the reference of the KL term.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from g2rpo.policy.family.choose_family import family_of

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers in the attention and the MLP of a language model layer."""
UNUSUAL = ("use_dora", "modules_to_save", "layer_replication", "megatron_config")
"""Settings of peft that change more than two matrices beside a weight."""
ADAPTER = "default"
"""Name under which peft stores the adapter."""


class LoRA:
    """`model/adapter=lora`. The constructor only checks the arguments; `attach` adds the adapter.

    Args:
        rank: Number of rows of A and of columns of B.
        alpha: The product B A is scaled by alpha / rank.
        targets: Projections of the language model that get an adapter, out of `PROJECTIONS`.
        vision: Whether every linear layer of the vision tower gets an adapter too.
        dropout: Must be 0: with dropout, the policy that samples would differ from the one that is
            trained.
        seed: Seed of the random initialization of A.
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
                f"model.adapter.dropout: expected 0, got {dropout}; with dropout, the trained"
                " policy would differ from the one that sampled the completions. Use"
                " model.adapter.rank or optimizer.weight_decay for regularization"
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
        """Add the adapter to a model and freeze all other weights.

        Adapter weights are float32 for every dtype of the model.

        Raises:
            ValueError: The model has no linear layer with the name of a target.
        """
        from peft import LoraConfig

        layers = self._layers(policy)
        self._inject(
            policy,
            LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=layers, lora_dropout=0.0),
        )
        generator = torch.Generator().manual_seed(self.seed)
        for name, parameter in policy.named_parameters():
            if ".lora_A." in name:
                torch.nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=generator)

    def _inject(self, policy: Any, config: Any) -> None:
        """Add an adapter of this peft config, with B = 0; only its weights are trained."""
        from peft import inject_adapter_in_model

        inject_adapter_in_model(config, policy, ADAPTER)
        for layer in adapted_layers(policy).values():
            # peft takes sharded weights for those of tensor parallelism: it sizes B for the rows of
            # this rank, but FSDP computes with all rows.
            b, rows = layer.lora_B[ADAPTER], layer.get_base_layer().out_features
            layer.out_features = b.out_features = rows
            b.weight = torch.nn.Parameter(b.weight.new_zeros(rows, layer.r[ADAPTER]))
        policy.eval()
        for name, parameter in policy.named_parameters():
            parameter.requires_grad_(is_adapter(name))
            if is_adapter(name):
                # bfloat16 would round most updates of a small learning rate away
                parameter.data = parameter.data.float()

    def _layers(self, policy: Any) -> list[str]:
        family = family_of(policy)
        inside = {id(module) for module in family.decoder(policy).layers.modules()}
        linear = {
            name: module
            for name, module in policy.named_modules()
            if isinstance(module, torch.nn.Linear)
        }
        text = {
            target: [
                name
                for name, module in linear.items()
                if id(module) in inside and name.endswith(f".{target}")
            ]
            for target in self.targets
        }
        for target, found in text.items():
            if not found:
                raise ValueError(
                    f"model.adapter.targets: {type(policy).__name__} has no linear layer {target};"
                    " leave it out"
                )
        visual = [name for name in family.vision_modules(policy) if name in linear]
        visual = visual if self.vision else []
        return [name for found in text.values() for name in found] + visual


class ExistingLoRA(LoRA):
    """`model.adapter.path=<folder>`: starts from an adapter that peft or a run has saved.

    Args:
        path: Folder with `adapter_config.json` and `adapter_model.safetensors`.
    """

    def __init__(self, *, path: str) -> None:
        super().__init__()
        if not (Path(path) / "adapter_config.json").is_file():
            raise ValueError(
                f"model.adapter.path: expected a folder with adapter_config.json, got {path!r};"
                " name a folder that peft saved, or checkpoints/adapter of a run"
            )
        self.path = Path(path)

    def attach(self, policy: Any) -> None:
        """Add the adapter with its weights to the model that it was trained on, and freeze all
        other weights.

        Raises:
            ValueError: It is no plain LoRA, or its layers or shapes are not those of the model.
        """
        from peft import PeftConfig

        config = PeftConfig.from_pretrained(self.path)
        unusual = [name for name in UNUSUAL if getattr(config, name, None) not in (None, False)]
        if config.peft_type != "LORA" or unusual or config.bias != "none":
            found = ", ".join(unusual) or f"{config.peft_type} with bias={config.bias}"
            raise ValueError(
                f"model.adapter.path={self.path}: expected a plain LoRA, got {found}; merge it into"
                " its model with peft and train that"
            )
        try:
            self._inject(policy, replace(config, lora_dropout=0.0, inference_mode=False))
            self._load(policy)
        except (ValueError, KeyError, RuntimeError) as error:
            raise ValueError(
                f"model.adapter.path={self.path}: it does not fit {type(policy).__name__}"
                f" ({str(error).splitlines()[0]}); set model.path to the model that it was trained"
                f" on, {config.base_model_name_or_path or 'which it does not name'}"
            ) from error

    def _load(self, policy: Any) -> None:
        weights = load_file(self.path / "adapter_model.safetensors")
        own = {name: p for name, p in policy.named_parameters() if is_adapter(name)}
        saved = {saved_name(name): parameter for name, parameter in own.items()}
        if weights.keys() != saved.keys():
            raise KeyError(f"weights of {min(weights.keys() ^ saved.keys())} on one side only")
        for name, parameter in saved.items():
            if weights[name].shape != parameter.shape:
                shapes = f"{tuple(weights[name].shape)} and {tuple(parameter.shape)}"
                raise ValueError(f"{name} has the shapes {shapes}")
            if parameter.device.type != "meta":
                parameter.data.copy_(weights[name])


def existing_adapter(path: str | None = None) -> ExistingLoRA | None:
    """Return the adapter of a folder, or None to train all weights."""
    return None if path is None else ExistingLoRA(path=path)


def saved_name(name: str) -> str:
    """Return the name of an adapter's parameter in peft's files.

    peft's wrapper nests the model two levels deep, and leaves the adapter's name out.
    """
    return f"base_model.model.{name.replace(f'.{ADAPTER}.', '.')}"


def is_adapter(name: str) -> bool:
    """Return whether a parameter of this name belongs to an adapter."""
    return ".lora_" in name


def has_adapter(policy: Any) -> bool:
    """Return whether the policy has an adapter."""
    return any(is_adapter(name) for name, _ in policy.named_parameters())


def adapter_settings(policy: Any) -> dict[str, float]:
    """Return rank, alpha and number of adapted layers; empty for a policy without an adapter."""
    if not has_adapter(policy):
        return {}
    config = policy.peft_config[ADAPTER]
    return {
        "rank": config.r,
        "alpha": float(config.lora_alpha),
        "layers": len(adapted_layers(policy)),
    }


@contextmanager
def adapter_off(policy: Any) -> Iterator[None]:
    """Switch the adapter off within the block; a policy without an adapter is unchanged."""
    layers = adapted_layers(policy).values()
    try:
        for layer in layers:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def adapted_layers(policy: Any) -> dict[str, Any]:
    """Return the layers with an adapter by their names."""
    return {name: module for name, module in policy.named_modules() if hasattr(module, "lora_A")}
