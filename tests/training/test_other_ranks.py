"""A run that goes on with another number of ranks has the numbers of the unbroken run."""

import json
from pathlib import Path
from typing import Any

import pytest
from training.broken_runs import finish, kill, rows, start

pytestmark = [pytest.mark.process, pytest.mark.slow]
STEPS, RANKS = 8, (1, 2, 4, 1)
NEAR = 2e-5


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on one device."""
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    finish(start(folder, [f"trainer.max_steps={STEPS}"]), folder)
    return folder


@pytest.mark.parametrize("trainer", ["ddp", "fsdp"])
def test_resumed_on_other_numbers_of_ranks_it_goes_on_with_the_same_numbers(
    trainer: str, unbroken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "moved"
    words = [f"trainer.max_steps={STEPS}", f"trainer={trainer}"]
    for ranks in RANKS[:-1]:
        kill(start(folder, [*words, f"trainer.devices={ranks}"]), folder, in_save=False, wait_s=0)
    finish(start(folder, [*words, f"trainer.devices={RANKS[-1]}"]), folder)

    assert completions(folder) == completions(unbroken)
    mine, expected = rows(folder), rows(unbroken)
    assert len(mine) == len(expected) == STEPS
    for row, other in zip(mine, expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in other.items():
            assert value == row[name] or float(row[name]) == pytest.approx(
                float(value), abs=NEAR
            ), name


def completions(folder: Path) -> list[tuple[Any, ...]]:
    lines = (folder / "completions.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [(one["step"], one["prompt_id"], one["completion"]) for one in found]
