"""A checkpoint folder: checked when it is named, loaded when it is needed, written so that
anybody's tools can read it.
"""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoModelForImageTextToText

from g2rpo.policy.adapter import LoRA, merged_state_dict
from g2rpo.policy.encoder import QwenEncoder

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Checkpoint:
    """A Qwen-VL model by folder or Hub id. Building one only checks the arguments; `policy()` loads
    the weights.

    Args:
        path: Folder with `config.json`, or a Hub id such as `Qwen/Qwen3-VL-8B-Instruct`.
        dtype: `float32`, `bfloat16` or `float16`.
        min_pixels: See `QwenEncoder`.
        max_pixels: See `QwenEncoder`.
        freeze_vision: Keep the vision tower as it is.
        gradient_checkpointing: Trade compute for memory in the backward pass.
        adapter: Trained in place of the weights, which then stay as they are.
        max_new_tokens: Longest completion that suits the model, in tokens; the configuration takes
            it as the default of `rollout.max_new_tokens`.
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
        adapter: LoRA | None = None,
        max_new_tokens: int = 2048,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"model.dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
        is_folder = (Path(path) / "config.json").is_file()
        # outputs/step50 has the form of a Hub id, but a first part that exists here can only be
        # meant as a folder
        looks_local = Path(path).exists() or ("/" in path and Path(path).parent.is_dir())
        if not is_folder and (looks_local or not HUB_ID.fullmatch(path)):
            raise ValueError(
                "model.path: expected a folder with config.json or a Hub id like"
                f" Qwen/Qwen3-VL-8B-Instruct, got {path!r}; download the model or correct the path"
            )
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
        self.gradient_checkpointing = gradient_checkpointing
        self.adapter = adapter
        self.max_new_tokens = max_new_tokens

    @classmethod
    def packaged(
        cls,
        *,
        name: str,
        dtype: str = "float32",
        adapter: LoRA | None = None,
        max_new_tokens: int = 56,
    ) -> Self:
        """A checkpoint that ships inside the package."""
        path = str(files("g2rpo") / "policy" / name)
        return cls(path=path, dtype=dtype, adapter=adapter, max_new_tokens=max_new_tokens)

    def encoder(self) -> QwenEncoder:
        """Tokenizer and image processor of the folder."""
        return QwenEncoder(path=self.path, min_pixels=self.min_pixels, max_pixels=self.max_pixels)

    def policy(self) -> Any:
        """The model with its weights, ready to be trained (dropout off: sampler and trainer must
        agree).
        """
        policy = AutoModelForImageTextToText.from_pretrained(
            self.path, dtype=DTYPES[self.dtype]
        ).eval()
        if self.freeze_vision:
            policy.model.visual.requires_grad_(False)
        if self.adapter is not None:
            self.adapter.attach(policy)
        if self.gradient_checkpointing:
            policy.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        return policy

    def reference(self, policy: Any) -> Any:
        """What a KL term compares the policy with: a second, frozen copy of the weights, or the
        policy itself where these stay frozen.

        To be asked within `adapter_off`.
        """
        return self.policy().requires_grad_(False) if self.adapter is None else policy


def save_checkpoint(
    policy: Any, encoder: QwenEncoder, folder: Path, dtype: str = "bfloat16"
) -> None:
    """Writes weights, tokenizer and image processor as an ordinary folder that
    `AutoModelForImageTextToText` loads.

    An adapter is merged into the weights that are written.
    """
    state = {
        name: value.detach().to("cpu", DTYPES[dtype]) for name, value in merged_state_dict(policy)
    }
    policy.save_pretrained(folder, state_dict=state)
    encoder.tokenizer.save_pretrained(folder)
    encoder.image_processor.save_pretrained(folder)


def parameter_counts(policy: Any) -> str:
    """`1.60 M of 1.60 M parameters`: those that are trained, and all."""
    counts = [
        sum(p.numel() for p in policy.parameters() if p.requires_grad or everything)
        for everything in (False, True)
    ]
    return (
        " of ".join(f"{n / 1e9:.2f} B" if n >= 1e9 else f"{n / 1e6:.2f} M" for n in counts)
        + " parameters"
    )
