"""The policy as a checkpoint folder that an engine reads: weights as they are, images bounded as the trainer bounds them."""

import json
from pathlib import Path
from typing import Any

from g2rpo.files import write_whole
from g2rpo.model.checkpoint import save_checkpoint
from g2rpo.model.encoder import QwenEncoder


def dtype_name(policy: Any) -> str:
    """`float32`, `bfloat16` or `float16`."""
    return str(policy.dtype).removeprefix("torch.")


def write_serving_folder(policy: Any, encoder: QwenEncoder, folder: Path) -> None:
    """Writes `folder`. Its image processor has the encoder's bounds, not those that the checkpoint came with."""
    save_checkpoint(policy, encoder, folder, dtype_name(policy))
    file = folder / "preprocessor_config.json"
    write_whole(file, json.dumps(json.loads(file.read_text()) | {"size": encoder.size}, indent=2) + "\n")
