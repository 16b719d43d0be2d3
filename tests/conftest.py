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


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of the small Qwen3-VL with random weights, whose tokenizer knows the gym's words."""
    from g2rpo.data.gym.source import GymSource
    from g2rpo.data.gym.styles import StyledSolutions
    from g2rpo.model.tiny import save_tiny
    from g2rpo.records import TASKS

    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    source, solutions = GymSource(), StyledSolutions(shares={"look": 1.0})
    prompts = [source.get(task, index, "train") for index in range(10) for task in TASKS]
    save_tiny(folder, [text for prompt in prompts for text in (prompt.text, solutions.demonstrate(prompt))], seed=3)
    return folder
