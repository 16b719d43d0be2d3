"""Write the policy as a checkpoint folder for an engine."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from g2rpo.files import write_whole
from g2rpo.policy.encoder import QwenEncoder
from g2rpo.policy.precision import compute_dtype
from g2rpo.policy.weight_stream import full_tensors


def dtype_name(policy: Any) -> str:
    """Return the compute dtype of the policy as `float32`, `bfloat16` or `float16`."""
    return str(compute_dtype(policy)).removeprefix("torch.")


def write_serving_folder(policy: Any, encoder: QwenEncoder, folder: Path) -> None:
    """Write config, tokenizer, image processor and weights to `folder`.

    An adapter is merged into the weights. The image processor gets the encoder's bounds. The output
    layer is written even if it is tied to the embedding: vLLM may hold a rearranged copy of it,
    which a reload without the tensor would not update.
    """
    policy.config.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    encoder.image_processor.save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    write_whole(
        file, json.dumps(json.loads(file.read_text()) | {"size": encoder.size}, indent=2) + "\n"
    )
    # Copies, because safetensors refuses tensors that share memory.
    weights = {
        name: value.to("cpu", memory_format=torch.contiguous_format, copy=True)
        for name, value in full_tensors(policy, compute_dtype(policy))
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
