"""Which runs have the same settings. Without torch, so that a sweep can ask before it starts
anything.
"""

import hashlib
import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

NO_SETTINGS = ("run_dir", "resume", "logger")
"""Keys that say where a run writes and what it shows, not what it computes."""


def settings(cfg: DictConfig) -> dict[str, Any]:
    """The configuration without `NO_SETTINGS`, as plain data; interpolations stay as they are
    written.
    """
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key not in NO_SETTINGS}


def config_hash(cfg: DictConfig) -> str:
    """Twelve hex digits that two runs share exactly when their settings do; where a run writes is
    no setting.
    """
    return hashlib.sha256(
        json.dumps(settings(cfg), sort_keys=True, default=str).encode()
    ).hexdigest()[:12]
