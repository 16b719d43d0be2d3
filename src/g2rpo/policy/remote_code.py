"""Refuses checkpoints that bring Python code of their own, unless the user trusts them.

transformers would ask on the terminal, or ignore the code without a word if it knows the model.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

CONFIGS = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "generation_config.json",
)
"""Files in which `auto_map` names classes that the checkpoint defines."""
_trusted: set[str] = set()


def trust(path: str) -> None:
    """Let the code of a checkpoint run in this process."""
    _trusted.add(str(path))


def loading(path: str | Path) -> dict[str, bool]:
    """Return the argument for each `from_pretrained` of transformers that could run code."""
    return {"trust_remote_code": str(path) in _trusted}


def refuse_code(path: str) -> None:
    """Refuse a checkpoint with code of its own, unless `trust` was called for it.

    Args:
        path: Folder or Hub id.

    Raises:
        ValueError: with the file that names the code.
    """
    if path not in _trusted and (found := next(_code(path), None)):
        raise ValueError(
            f"model.path={path}: expected a checkpoint without code of its own, got {found}; it"
            " would run on this machine with your rights. Read it, and set"
            " model.trust_remote_code=true if you trust it"
        )


def _code(path: str) -> Iterator[str]:
    for name in CONFIGS:
        file = cached_file(path, name, _raise_exceptions_for_missing_entries=False)
        if file is None:
            continue
        content = json.loads(Path(file).read_text(encoding="utf-8"))
        yield from (f"auto_map={classes!r} in {name}" for classes in _auto_maps(content))
    if (Path(path) / "custom_generate" / "generate.py").exists():
        yield "custom_generate/generate.py"


def _auto_maps(content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        if content.get("auto_map"):
            yield content["auto_map"]
        for inner in content.values():
            yield from _auto_maps(inner)
