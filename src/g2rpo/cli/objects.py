"""Refuses what cannot be an object of the configuration, before anything is built."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from g2rpo.paths import CONF

REFERENCE = re.compile(r"\$\{([^\W\d]\w*(?:\.\w+)*)\}")
IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def refuse_wrong_objects(cfg: DictConfig) -> None:
    """Raise `ValueError` with the full key for a group that is no mapping, a `_target_` that is no
    import path, or a reference to a key that is not there.
    """
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, dict)
    for group, value in plain.items():
        if value in (None, []) or isinstance(value, Mapping) or _refers(value):
            continue
        if Path(CONF, str(group)).is_dir():
            raise ValueError(
                f"{group}: expected a mapping, as the files in conf/{group} are, got"
                f" {str(value)[:100]!r}"
            )
    for key, value in _leaves(plain):
        for name in REFERENCE.findall(value) if isinstance(value, str) else ():
            if not _is_there(plain, name.split(".")):
                raise ValueError(f"{key}: expected a value, got {value}; there is no key {name}")
    for key, target in _targets(plain):
        if not _refers(target) and not (isinstance(target, str) and IMPORT_PATH.fullmatch(target)):
            raise ValueError(
                f"{key}: expected the import path of a class or function, such as"
                f" torch.optim.AdamW, got {str(target)[:100]!r}"
            )


def _refers(value: object) -> bool:
    """Whether a value stands for another one, or is missing, which is checked later."""
    return isinstance(value, str) and ("${" in value or value == "???")


def _is_there(tree: Any, words: list[str]) -> bool:
    """Whether a reference finds something; what other references stand for is not looked into."""
    for word in words:
        if _refers(tree):
            return True
        if isinstance(tree, list) and word.isdigit() and int(word) < len(tree):
            tree = tree[int(word)]
        elif isinstance(tree, Mapping) and word in tree:
            tree = tree[word]
        else:
            return False
    return True


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping | list):
        named = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        for name, value in named:
            yield from _leaves(value, f"{path}{name}.")
    else:
        yield path.removesuffix("."), tree


def _targets(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            if name == "_target_":
                yield f"{path}{name}", value
            yield from _targets(value, f"{path}{name}.")
    elif isinstance(tree, list):
        for place, value in enumerate(tree):
            yield from _targets(value, f"{path}{place}.")
