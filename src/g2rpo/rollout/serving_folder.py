"""The policy as a checkpoint folder that an engine reads: weights as they are, an adapter merged
in, images bounded as the trainer does.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from g2rpo.files import write_whole
from g2rpo.policy.adapter import merged_state_dict
from g2rpo.policy.encoder import QwenEncoder


def dtype_name(policy: Any) -> str:
    """`float32`, `bfloat16` or `float16`."""
    return str(policy.dtype).removeprefix("torch.")


def write_serving_folder(policy: Any, encoder: QwenEncoder, folder: Path) -> None:
    """Writes `folder`. Its image processor has the encoder's bounds, not those that the checkpoint
    came with.

    Unlike a published checkpoint it holds an output layer of its own where that is tied to the
    embedding: vLLM may keep a rearranged copy of it, which a reload without it would leave as it
    was.
    """
    policy.config.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    encoder.image_processor.save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    write_whole(
        file, json.dumps(json.loads(file.read_text()) | {"size": encoder.size}, indent=2) + "\n"
    )
    # clones, because safetensors refuses two names for one memory
    weights = {
        name: value.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)
        for name, value in merged_state_dict(policy)
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
