"""A hash of the settings of a run; needs no torch, so that a sweep can plan its jobs quickly."""

import hashlib
import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

NO_SETTINGS = ("run_dir", "resume", "logger", "hang_s")
"""Keys that change where a run writes and what it shows, but not what it computes."""


def settings(cfg: DictConfig) -> dict[str, Any]:
    """Return the configuration without `NO_SETTINGS` as plain data, interpolations unresolved."""
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key not in NO_SETTINGS}


def config_hash(cfg: DictConfig) -> str:
    """Return twelve hex digits, equal for two runs if and only if their settings are equal."""
    return hashlib.sha256(
        json.dumps(settings(cfg), sort_keys=True, default=str).encode()
    ).hexdigest()[:12]
