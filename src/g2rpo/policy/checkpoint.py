"""Load checkpoints: model, tokenizer and image processor in the Hugging Face format."""

import copy
import re
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoModelForImageTextToText

from g2rpo.policy import remote_code
from g2rpo.policy.adapter import LoRA
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.family.choose_family import family_at
from g2rpo.policy.family.model_family import Family
from g2rpo.policy.float32_linear import use_onednn
from g2rpo.policy.forward import MIXED, compute_in, recompute_layers
from g2rpo.policy.sharding import Sharding, load_sharded

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Checkpoint:
    """A vision-language model. The constructor checks arguments; `policy()` loads the weights.

    Args:
        path: Folder with `config.json`, or a Hub id such as `Qwen/Qwen3-VL-8B-Instruct`.
        dtype: Dtype that the weights are held in: `float32`, `bfloat16` or `float16`. They are
            computed in the same dtype, unless `computing_in` says otherwise.
        min_pixels: Smaller images are scaled up to this number of pixels; None keeps the bound of
            the folder.
        max_pixels: Larger images are scaled down to this number of pixels; None keeps the bound of
            the folder.
        freeze_vision: Whether the vision tower stays frozen.
        gradient_checkpointing: Whether layers are recomputed in the backward pass to save memory.
        family: File or module that defines the model's family, if its model_type is none of those
            in `policy/family/`.
        adapter: Adapter to train; all other weights are frozen then.
        max_new_tokens: Maximum number of tokens per completion that suits the model; default of
            `rollout.max_new_tokens`.
        trust_remote_code: Whether Python code in the folder may run; False refuses such a folder.
    """

    def __init__(
        self,
        *,
        path: str,
        dtype: str = "float32",
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        freeze_vision: bool = False,
        gradient_checkpointing: bool = False,
        family: str | None = None,
        adapter: LoRA | None = None,
        max_new_tokens: int = 2048,
        trust_remote_code: bool = False,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"model.dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
        is_folder = (Path(path) / "config.json").is_file()
        if not is_folder and (Path(path) / "adapter_config.json").is_file():
            raise ValueError(
                f"model.path={path}: expected a whole model, got an adapter; name the run's"
                " checkpoints/final, where it is merged, or its base model with"
                f" model.path=<base> model.adapter.path={path}"
            )
        # outputs/step50 looks like a Hub id, but if outputs/ exists the user means a folder.
        looks_local = Path(path).exists() or ("/" in path and Path(path).parent.is_dir())
        if not is_folder and (looks_local or not HUB_ID.fullmatch(path)):
            raise ValueError(
                "model.path: expected a folder with config.json or a Hub id like"
                f" Qwen/Qwen3-VL-8B-Instruct, got {path!r}; download the model or correct the path"
            )
        if trust_remote_code:
            remote_code.trust(path)
        if is_folder:
            remote_code.refuse_code(path)
        if freeze_vision and adapter is not None and adapter.vision:
            raise ValueError(
                "model.freeze_vision: expected false with model.adapter.vision=true, got true; set"
                " one of them to false"
            )
        self.path = path
        self.dtype = dtype
        self.min_pixels = min_pixels
        self.max_pixels = max_pixels
        self.freeze_vision = freeze_vision
        self.family_file = family
        self.gradient_checkpointing = gradient_checkpointing
        self.adapter = adapter
        self.max_new_tokens = max_new_tokens
        self.precision = "32-true"

    @classmethod
    def packaged(
        cls,
        *,
        name: str,
        dtype: str = "float32",
        adapter: LoRA | None = None,
        max_new_tokens: int = 56,
    ) -> Self:
        """Return a checkpoint that ships inside the package."""
        path = str(files("g2rpo") / "policy" / name)
        return cls(path=path, dtype=dtype, adapter=adapter, max_new_tokens=max_new_tokens)

    def computing_in(self, precision: str) -> Self:
        """Return this checkpoint with policies that compute in a `trainer.precision`."""
        other = copy.copy(self)
        other.precision = precision
        return other

    @property
    def compute_dtype(self) -> str:
        """Dtype of matrix products in a forward pass, and of exported weights."""
        mixed = MIXED.get(self.precision)
        return self.dtype if mixed is None else str(mixed).removeprefix("torch.")

    @cached_property
    def family(self) -> Family:
        """The model's family, chosen by its config.json; weights are not loaded."""
        remote_code.refuse_code(self.path)
        return family_at(self.path, self.family_file)

    def check_prefix(self, prefix: str) -> None:
        """Raise `ValueError` if the model cannot compute with a `policy.prefix`."""
        if prefix != "repeated" and not self.family.shares_prefix:
            raise ValueError(
                f"policy.prefix={prefix}: the layers of model.path={self.path} cannot read several"
                " completions of a prompt in one row; set policy.prefix=repeated"
            )

    def encoder(self) -> ChatEncoder:
        """Load tokenizer and image processor."""
        return self.family.encoder(
            path=self.path, min_pixels=self.min_pixels, max_pixels=self.max_pixels
        )

    def policy(self, sharding: Sharding | None = None) -> Any:
        """Load the model in evaluation mode: sampler and trainer must agree, so dropout is off.

        Args:
            sharding: How to spread the weights over processes; None loads all of them.
        """
        dtype, family = DTYPES[self.dtype], self.family
        if sharding is None:
            policy = AutoModelForImageTextToText.from_pretrained(
                self.path, dtype=dtype, **remote_code.loading(self.path)
            )
            use_onednn(policy)
        else:
            compute_dtype = DTYPES[self.compute_dtype]
            policy = load_sharded(self.path, family, sharding, dtype, compute_dtype)
        family.optimize_layers(policy)
        policy.family = family
        policy.eval()
        compute_in(policy, self.precision)
        if self.freeze_vision:
            for parameter in family.vision_parameters(policy).values():
                parameter.requires_grad_(False)
        if self.adapter is not None:
            self.adapter.attach(policy)
        if self.gradient_checkpointing:
            recompute_layers(policy)
        return policy

    def reference(self, policy: Any, sharding: Sharding | None = None) -> Any:
        """Return the reference model of the KL term; call it within `adapter_off`.

        It is a frozen copy of the weights. With an adapter it is the policy itself, whose other
        weights are frozen.
        """
        return self.policy(sharding).requires_grad_(False) if self.adapter is None else policy


def parameter_counts(policy: Any) -> str:
    """Return the number of trained and of all parameters as `1.60 M of 1.60 M parameters`."""
    counts = [
        sum(p.numel() for p in policy.parameters() if p.requires_grad or everything)
        for everything in (False, True)
    ]
    return (
        " of ".join(f"{n / 1e9:.2f} B" if n >= 1e9 else f"{n / 1e6:.2f} M" for n in counts)
        + " parameters"
    )
