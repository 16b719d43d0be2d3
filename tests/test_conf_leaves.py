"""A key that a yaml offers has an effect: no other file of conf/ overwrites it behind the reader's
back.
"""

import shutil
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

CONF = Path(__file__).parents[1] / "conf"
DEFAULTS = [
    name
    for entry in OmegaConf.load(CONF / "config.yaml").defaults
    if entry != "_self_"
    for name in entry
    if name != "experiment"
]
GROUPS = [
    [(group, f.stem) for f in sorted((CONF / group).glob("[!_]*.yaml"))] for group in DEFAULTS
]
ROUNDS = [
    [choice for choice in row if choice is not None] for row in zip_longest(*filter(None, GROUPS))
]
"""Lists of choices, of at most one per group, that together hold every choice of a run."""
CHANGED = "another value"


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of conf/ in which every value of every choice is changed."""
    folder = Path(shutil.copytree(CONF, tmp_path_factory.mktemp("leaves") / "conf"))
    for choices in ROUNDS:
        for group, name in choices:
            file = folder / group / f"{name}.yaml"
            content = OmegaConf.load(file)
            for path in _own_leaves(content):
                OmegaConf.update(content, ".".join(path), CHANGED)
            file.write_text(OmegaConf.to_yaml(content))
    return folder


@pytest.mark.parametrize("choices", ROUNDS, ids=lambda row: " ".join(f"{g}={n}" for g, n in row))
def test_every_leaf_of_a_yaml_reaches_the_composed_configuration(
    choices: list[tuple[str, str]], copied: Path
) -> None:
    with initialize_config_dir(str(copied), version_base="1.3"):
        composed = compose("config", [f"{group}={name}" for group, name in choices])
    overwritten = [
        f"{group}/{name}.yaml: {'.'.join(path)}"
        for group, name in choices
        for path in _own_leaves(OmegaConf.load(CONF / group / f"{name}.yaml"))
        if _at(composed[group], path) != CHANGED
    ]
    assert overwritten == []


def _own_leaves(content: Any) -> list[tuple[str, ...]]:
    """Paths of the values that a yaml sets itself, without those its own defaults fill."""
    filled = {
        str(key).rpartition("@")[2]
        for entry in content.get("defaults", [])
        if entry != "_self_"
        for key in entry
    }
    return [path for path in _leaves(content) if path[0] not in filled | {"defaults"}]


def _leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all values that are no mapping with keys; a list is one value."""
    if isinstance(node, DictConfig) and len(node):
        for key in node:
            inner = None if OmegaConf.is_missing(node, key) else node._get_node(key)
            yield from _leaves(inner, (*path, str(key)))
    else:
        yield path


def _at(node: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        node = node[key]
    return node
