"""Two processes with a look-ahead each decide and write as one does, also after a restart."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from rank_processes import run_ranks

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("ahead_ranks.py")


def _run(out: Path, world: int, *arguments: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        known = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "perf"), known]))
        run_ranks(SCRIPT, *arguments, world=world)
    return out


@pytest.fixture(scope="module")
def one(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("ahead") / "one"
    return _read(_run(out, 1, tiny_folder, out, 1), 0)


@pytest.fixture(scope="module")
def two(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ahead") / "two"
    return _run(out, 2, tiny_folder, out, 2)


def _read(out: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / f"rank{rank}.json").read_text())
    return found


def test_prompts_completions_and_draws_are_those_of_one_process(
    one: dict[str, Any], two: Path
) -> None:
    assert _read(two, 0) == one
    assert _read(two, 1) == one
    assert any(len(step) for step in one["steps"])


@pytest.mark.parametrize("world", [1, 2])
def test_both_go_on_from_a_checkpoint_of_two(
    world: int, one: dict[str, Any], two: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    resumed = _read(_run(out, world, tiny_folder, out, world, two / "2.ckpt"), 0)
    assert resumed == one | {"steps": one["steps"][2:]}
