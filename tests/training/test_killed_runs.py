"""A run killed again and again, also in the middle of a save, ends as the unbroken run."""

import random
from pathlib import Path

import pytest
import torch
from training.broken_runs import finish, kill, rows, start

from g2rpo.training.checkpoint_io import read_checkpoint
from g2rpo.training.plain_values import split_tensors

pytestmark = [pytest.mark.process, pytest.mark.slow]

STEPS = 14
TRAINERS = {"auto": (), "fsdp": ("trainer=fsdp", "trainer.devices=2")}


@pytest.fixture(scope="module", params=list(TRAINERS))
def ended(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Folders of an unbroken run and of one that was killed ten times, four of them in a save."""
    out = tmp_path_factory.mktemp("runs")
    unbroken, killed = out / "unbroken", out / "killed"
    words = (f"trainer.max_steps={STEPS}", *TRAINERS[request.param])
    finish(start(unbroken, words), unbroken)
    rng, kills = random.Random(5), [True] * 4 + [False] * 6
    rng.shuffle(kills)
    for in_save in kills:
        kill(start(killed, words), killed, in_save=in_save, wait_s=rng.uniform(0.0, 0.5))
    finish(start(killed, words), killed)
    return unbroken, killed


def test_all_tensors_are_equal(ended: tuple[Path, Path]) -> None:
    states = [read_checkpoint(folder / "checkpoints" / "last.ckpt") for folder in ended]
    unbroken, killed = (
        split_tensors({k: state[k] for k in ("state_dict", "optimizer_states", "g2rpo")})
        for state in states
    )
    assert unbroken[0] == killed[0]
    assert len(unbroken[1]) > 400
    for name, value in unbroken[1].items():
        assert torch.equal(value, killed[1][name]), name
    data = [state["PromptDataModule"] for state in states]
    assert data[0] == data[1]
    final = [(f / "checkpoints" / "final" / "model.safetensors").read_bytes() for f in ended]
    assert final[0] == final[1]


def test_metrics_and_completions_are_equal(ended: tuple[Path, Path]) -> None:
    unbroken, killed = (rows(folder) for folder in ended)
    assert len(unbroken) == STEPS
    assert unbroken == killed
    completions = [(folder / "completions.jsonl").read_text() for folder in ended]
    assert completions[0] == completions[1]
