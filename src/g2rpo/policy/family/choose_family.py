"""Choose the family of a checkpoint by its `model_type`, without loading weights."""

import inspect
import pkgutil
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TEXT_MODELS,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as IMAGE_MODELS,
)
from transformers.utils import cached_file

from g2rpo.policy import family as folder
from g2rpo.policy.family.model_family import Family

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""Files that describe an image processor; newer folders have only the second."""


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


def family_at(path: str, outside: str | None = None) -> Family:
    """Return the family of a checkpoint; weights are not loaded.

    Args:
        path: Folder or Hub id.
        outside: File or module that defines the family, or None for one of this folder.

    Raises:
        ValueError: No family covers the model, or the folder has no image processor.
    """
    kind = str(PreTrainedConfig.get_config_dict(path)[0].get("model_type"))
    family = family_for(kind, path) if outside is None else _outside(outside, kind)
    if not any(_has_file(path, name) for name in PROCESSOR_FILES):
        raise ValueError(
            f"model.path={path}: expected {' or '.join(PROCESSOR_FILES)}, found neither; copy the"
            " processor's files from the model that these weights were trained from"
        )
    return family


def family_for(model_type: str, path: str) -> Family:
    """Return the family of a `model_type`.

    Raises:
        ValueError: No family covers it; the message names `path`.
    """
    if model_type in families():
        return families()[model_type]
    if model_type in TEXT_MODELS and model_type not in IMAGE_MODELS:
        raise ValueError(
            f"model.path={path}: expected a model that reads images and text, got model_type"
            f" {model_type!r}, which reads text only; known are {_known()}"
        )
    raise ValueError(
        f"model.path={path}: model_type {model_type!r} is not supported; known are {_known()}."
        " Another family is one file, model.family=my_family.py: see docs/models.md"
    )


def family_of(policy: Any) -> Family:
    """Return the family of a policy: the one it was loaded with, or the one of its config."""
    chosen: Family | None = getattr(policy, "family", None)
    return families()[policy.config.model_type] if chosen is None else chosen


def _has_file(path: str, name: str) -> bool:
    missing_is_fine = {"_raise_exceptions_for_missing_entries": False}
    return cached_file(path, name, **missing_is_fine) is not None


def _known() -> str:
    return ", ".join(sorted(families()))


def _outside(name: str, model_type: str) -> Family:
    """Return the family that a file or an installed module defines for a `model_type`."""
    found = {kind: one for one in _families(_module(name)) for kind in one.model_types}
    if model_type not in found:
        raise ValueError(
            f"model.family={name}: expected a subclass of"
            f" g2rpo.policy.family.model_family.Family with {model_type!r} in its model_types,"
            f" found {', '.join(sorted(found)) or 'none'}"
        )
    return found[model_type]


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"model.family={name}: expected a file ending in .py or a module that can be"
                f" imported ({error})"
            ) from error
    file = Path(name)
    if not file.is_file():
        raise ValueError(f"model.family={name}: there is no such file in {Path.cwd()}")
    spec = spec_from_file_location(f"g2rpo_family_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _families(module: Any) -> list[Family]:
    return [
        one()
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Family) and one.__module__ == module.__name__ and one.model_types
    ]
