"""A key that a yaml offers has an effect: no other file of conf/ overwrites it behind the reader's
back.
"""

import shutil
from collections.abc import Iterator
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
CHOICES = [
    (group, file.stem) for group in DEFAULTS for file in sorted((CONF / group).glob("[!_]*.yaml"))
]
CHANGED = "another value"


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of conf/ in which files may be changed."""
    return Path(shutil.copytree(CONF, tmp_path_factory.mktemp("leaves") / "conf"))


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_leaf_of_a_yaml_reaches_the_composed_configuration(
    group: str, name: str, copied: Path
) -> None:
    file = copied / group / f"{name}.yaml"
    original = file.read_text()
    content = OmegaConf.create(original)
    leaves = [path for path in _leaves(content) if path[0] != "defaults"]
    for path in leaves:
        OmegaConf.update(content, ".".join(path), CHANGED)
    try:
        file.write_text(OmegaConf.to_yaml(content))
        with initialize_config_dir(str(copied), version_base="1.3"):
            composed = compose("config", [f"{group}={name}"])[group]
    finally:
        file.write_text(original)
    assert [".".join(path) for path in leaves if _at(composed, path) != CHANGED] == []


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
