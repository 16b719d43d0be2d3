"""A small training run in the process of the tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.runs import SMALL

from g2rpo import cli


@pytest.fixture(scope="session")
def plug_ins() -> Path:
    """The folder of plug-ins that misbehave."""
    return Path(__file__).parent / "plug_ins"


@pytest.fixture
def train(
    composed: Callable[..., Any],
    tiny_folder: Path,
    plug_ins: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Path]:
    """`train("advantage=grpo")` runs a small training in this process and returns its folder."""
    monkeypatch.syspath_prepend(plug_ins)

    def run(*options: str, folder: str = "run", entry: Callable[[Any], float] = cli.train) -> Path:
        given = (
            []
            if any(option.startswith(("model=", "model.path=")) for option in options)
            else [f"model.path={tiny_folder}"]
        )
        entry(composed(*SMALL, *given, *options, f"run_dir={tmp_path / folder}"))
        return tmp_path / folder

    return run
