"""Reads the choices and shaping bands of a run from the configuration in its `.hydra` folder."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from g2rpo.paths import command
from g2rpo.sweep.sweep_plan import flat
from g2rpo.tasks import DEFAULT, of_task

LengthBand = tuple[float, float, float, float]
HEADLINE_CHOICES = ("advantage", "shaping", "loss", "model", "data", "task_mix")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The settings of a run; fields are empty if the configuration is missing or does not say."""

    choices: Mapping[str, str] = field(default_factory=dict)
    """Chosen file of each group in `HEADLINE_CHOICES`."""
    overrides: tuple[str, ...] = ()
    """Overrides on the command line."""
    text: str = ""
    """Text of config.yaml."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Every value of config.yaml by its full key; interpolations are not resolved."""
    max_steps: int | None = None
    named_tasks: tuple[str, ...] = ()
    """The tasks that the mixture names, in its order."""
    length_bands: Mapping[str, LengthBand | None] = field(default_factory=dict)
    """(min, low, high, max) by task or `default`, in tokens; None for no band."""
    entropy_bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """(low, high) by task or `default`, in nats per token; 0 or infinity for an open side."""

    @property
    def command(self) -> str:
        """The command of the run."""
        return " ".join((command("train"), *self.overrides))


def read_settings(folder: Path, notes: list[str]) -> Settings:
    """Read config.yaml from `.hydra`, and hydra.yaml and overrides.yaml if they exist."""
    config = _load(folder / "config.yaml")
    if config is None:
        notes.append(".hydra/config.yaml is missing: choices and bands are not known.")
        return Settings()
    overrides = _load(folder / "overrides.yaml")
    steps = _at(config, "trainer.max_steps")
    return Settings(
        choices=_choices(config, _load(folder / "hydra.yaml")),
        overrides=tuple(str(word) for word in _as_typed(overrides) or ()),
        text=(folder / "config.yaml").read_text(encoding="utf-8"),
        values=dict(flat(OmegaConf.to_container(config, resolve=False))),
        max_steps=steps if isinstance(steps, int) else None,
        named_tasks=named_tasks(config),
        length_bands=_length_bands(_at(config, "shaping.length.bands")),
        entropy_bands=_entropy_bands(
            _at(config, "shaping.entropy.low"), _at(config, "shaping.entropy.high")
        ),
    )


def named_tasks(config: DictConfig | ListConfig) -> tuple[str, ...]:
    """Return the tasks that the mixture of a configuration names, in its order."""
    weights = _at(config, "task_mix.weights") or {}
    return tuple(str(task) for task in weights if task != DEFAULT)


def _as_typed(overrides: Any) -> Any:
    """Return overrides as typed: resolved, `key=${oc.env:NAME}` would show a secret on a page."""
    return OmegaConf.to_container(overrides, resolve=False) if overrides else None


def _load(path: Path) -> DictConfig | ListConfig | None:
    if not path.exists():
        return None
    try:
        return OmegaConf.load(path)
    except yaml.YAMLError as error:
        raise ValueError(f".hydra/{path.name}: not valid YAML: {error}") from None


def _at(config: DictConfig | ListConfig, key: str) -> Any:
    """Return the plain value of a key; None if it is missing."""
    value = OmegaConf.select(config, key)
    return (
        OmegaConf.to_container(value, resolve=True)
        if isinstance(value, DictConfig | ListConfig)
        else value
    )


def _choices(
    config: DictConfig | ListConfig, hydra: DictConfig | ListConfig | None
) -> dict[str, str]:
    """Return the chosen file of each group as Hydra noted it, or else the module of its target."""
    noted = {} if hydra is None else _at(hydra, "hydra.runtime.choices") or {}
    targets = {
        group: str(_at(config, f"{group}._target_") or "").split(".") for group in HEADLINE_CHOICES
    }
    modules = {group: target[-2] for group, target in targets.items() if len(target) > 1}
    modules["shaping"] = (
        " + ".join(part for part in ("length", "entropy") if _at(config, f"shaping.{part}"))
        or "none"
    )
    return {
        group: str(name)
        for group in HEADLINE_CHOICES
        if (name := noted.get(group) or modules.get(group))
    }


def _length_bands(bands: Mapping[str, Any] | None) -> dict[str, LengthBand | None]:
    found: dict[str, LengthBand | None] = {}
    for task, band in (bands or {}).items():
        if band is not None and (not isinstance(band, list) or len(band) != 4):
            raise ValueError(
                f".hydra/config.yaml: shaping.length.bands.{task}: expected four numbers (tokens),"
                f" got {band}"
            )
        found[task] = band and (float(band[0]), float(band[1]), float(band[2]), float(band[3]))
    return found


def _entropy_bands(
    low: float | Mapping[str, float] | None, high: float | Mapping[str, float] | None
) -> dict[str, tuple[float, float]]:
    if low is None and high is None:
        return {}
    sides = [side if isinstance(side, Mapping) else {DEFAULT: side} for side in (low, high)]
    return {
        task: (_bound(sides[0], task, 0.0), _bound(sides[1], task, math.inf))
        for task in (*sides[0], *sides[1])
    }


def _bound(side: Mapping[str, float | None], task: str, missing: float) -> float:
    own = of_task(side, task, None)
    return missing if own is None else float(own)
