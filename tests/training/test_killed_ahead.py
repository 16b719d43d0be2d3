"""A run that writes ahead and is killed ten times learns from every prompt once, in order."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from training.broken_runs import ROOT, finish, kill, rows, start

from g2rpo.training.checkpoint_io import read_checkpoint

pytestmark = [pytest.mark.process, pytest.mark.slow]

STEPS, PROMPTS, KILLS, SEED = 14, 6, 10, 11
WORDS = (
    "rollout=vllm_server",
    "rollout._target_=simulated_engines.CopiedPolicy",
    "filter=none",
    f"trainer.max_steps={STEPS}",
)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of an unbroken run that takes turns, and of one ahead that was killed ten times."""
    out = tmp_path_factory.mktemp("runs")
    turns, killed = out / "turns", out / "killed"
    rng, kills = random.Random(SEED), [True] * 3 + [False] * (KILLS - 3)
    rng.shuffle(kills)
    with pytest.MonkeyPatch.context() as patch:
        known = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "perf"), known]))
        finish(start(turns, (*WORDS, "rollout.ahead=0")), turns)
        ahead = (*WORDS, "rollout.ahead=1")
        for in_save in kills:
            kill(start(killed, ahead), killed, in_save=in_save, wait_s=rng.uniform(0.0, 1.0))
        finish(start(killed, ahead), killed)
    return turns, killed


def _ledger(folder: Path) -> list[tuple[int, str]]:
    """Step and id of the prompt of each completion that was learned from."""
    lines = (folder / "completions.jsonl").read_text().splitlines()
    return [(found["step"], found["prompt_id"]) for found in map(json.loads, lines)]


def test_no_prompt_is_skipped_or_answered_twice(ended: tuple[Path, Path]) -> None:
    turns, killed = map(_ledger, ended)
    assert len(set(turns)) == STEPS * PROMPTS
    assert killed == turns  # the same prompts at the same steps
    assert set(Counter(killed).values()) == {4}  # each with its whole group


def test_the_run_goes_on_to_its_end(ended: tuple[Path, Path]) -> None:
    _, killed = ended
    assert [int(row["step"]) for row in rows(killed)] == list(range(1, STEPS + 1))
    assert json.loads((killed / "summary.json").read_text())["status"] == "finished"
    state = read_checkpoint(killed / "checkpoints" / "last.ckpt")
    assert state["PromptDataModule"]["reserved"] == []
    other = read_checkpoint(ended[0] / "checkpoints" / "last.ckpt")
    assert state["PromptDataModule"] == other["PromptDataModule"]
