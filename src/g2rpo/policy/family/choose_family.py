"""Choose the family of a checkpoint by its `model_type`, without loading weights."""

import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from transformers import PreTrainedConfig

from g2rpo.policy import family as folder
from g2rpo.policy.family.model_family import Family


@cache
def families() -> Mapping[str, Family]:
    """Return the families of this folder by `model_type`."""
    modules = [
        import_module(f"{folder.__name__}.{found.name}")
        for found in pkgutil.iter_modules(folder.__path__)
    ]
    return {
        kind: one for module in modules for one in _families(module) for kind in one.model_types
    }


def family_at(path: str) -> Family:
    """Return the family of a checkpoint folder or Hub id; only its config.json is read.

    Raises:
        ValueError: No family covers the model.
    """
    kind = PreTrainedConfig.get_config_dict(path)[0].get("model_type")
    return family_for(str(kind), path)


def family_for(model_type: str, path: str) -> Family:
    """Return the family of a `model_type`.

    Raises:
        ValueError: No family covers it; the message names `path`.
    """
    if model_type in families():
        return families()[model_type]
    raise ValueError(
        f"model.path={path}: model_type {model_type!r} is not supported; known are"
        f" {', '.join(sorted(families()))}. Another family is one file, see docs/models.md"
    )


def family_of(policy: Any) -> Family:
    """Return the family of a policy: the one it was loaded with, or the one of its config."""
    chosen: Family | None = getattr(policy, "family", None)
    return families()[policy.config.model_type] if chosen is None else chosen


def _families(module: Any) -> list[Family]:
    return [
        one()
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Family) and one.__module__ == module.__name__ and one.model_types
    ]
