"""What several tests need: the repository's folders, a composed configuration, and the assurance that nothing asks a server."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers and datasets are imported
os.environ["WANDB_MODE"] = "offline"

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material beside the repository; a test that needs it is skipped where it is not."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the reference material in ../shared, which is not part of the repository")
    return folder


@pytest.fixture
def composed() -> Callable[..., Any]:
    """`composed("advantage=grpo", "seed=3")`: the configuration that `python train.py advantage=grpo seed=3` runs with."""

    def compose_with(*overrides: str, config: str = "config") -> Any:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose(config, list(overrides))

    return compose_with
