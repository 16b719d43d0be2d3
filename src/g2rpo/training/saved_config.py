"""Checks a configuration that comes with a checkpoint: it may name the choices of a run only.

`_target_` is an import path, so a crafted configuration could call any function.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from g2rpo.paths import CONF

CODE = ("family", "functions", "options", "trust_remote_code")
"""Keys of the choices whose values name code or let code run."""
TARGET = re.compile(r"^[^#]*?_target_:\s*([\w.]+)", re.MULTILINE)


def check_targets(config: Any, trusted: Sequence[str] = ()) -> None:
    """Check every `_target_` of a configuration before anything is built.

    Args:
        config: The configuration as plain values.
        trusted: Packages whose classes it may name, besides the choices of `conf/`, and values
            that may name code, such as `my_reward.py:score` for a reward function.

    Raises:
        ValueError: with what is not allowed.
    """
    for value in _values(config):
        if isinstance(value, str) and "${" in value:
            raise ValueError(
                f"hyper_parameters: expected plain values, got the interpolation {value!r}, which"
                " could stand for any code; use a checkpoint that a run wrote"
            )
    for key, value in _code(config):
        if str(value) not in trusted:
            raise ValueError(
                f"hyper_parameters: expected no code outside of g2rpo, got {key}={value}, which"
                f" could run any code; if you trust it, pass trusted=[{str(value)!r}]"
            )
    for target in _targets(config):
        allowed = target in known_targets() or str(target).startswith(
            tuple(f"{package}." for package in trusted)
        )
        if not allowed:
            raise ValueError(
                f"hyper_parameters: expected choices of g2rpo, got _target_={target}, which could"
                " run any code; if it is a plug-in of yours, pass"
                f" trusted=[{str(target).partition('.')[0]!r}]"
            )


@cache
def known_targets() -> frozenset[str]:
    """Return every `_target_` in `conf/`."""
    return frozenset(
        target
        for file in Path(CONF).rglob("*.yaml")
        for target in TARGET.findall(file.read_text(encoding="utf-8"))
    )


def _values(config: Any) -> Iterator[Any]:
    if isinstance(config, dict):
        for key, value in config.items():
            yield key
            yield from _values(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _values(value)
    else:
        yield config


def _targets(config: Any) -> Iterator[Any]:
    if isinstance(config, dict):
        if "_target_" in config:
            yield config["_target_"]
        for value in config.values():
            yield from _targets(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _targets(value)


def _code(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield key and value of every setting that names code or lets code run."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key in CODE and value:
                own = value.values() if isinstance(value, dict) else value
                yield from ((key, one) for one in ([own] if isinstance(own, str | bool) else own))
            yield from _code(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _code(value)
