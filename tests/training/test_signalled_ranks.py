"""A signal to one of two ranks takes both out of the step in progress; the resumed run ends as the
unbroken one.
"""

import random
from pathlib import Path

import pytest
import torch
from training.broken_runs import finish, log, rows, start, strike

from g2rpo.training.checkpoint_io import read_checkpoint
from g2rpo.training.plain_values import split_tensors

pytestmark = [pytest.mark.process, pytest.mark.slow]
STEPS = 4
WORDS = (f"trainer.max_steps={STEPS}", "trainer.devices=2", "batch.micro_batch_tokens=600")


@pytest.mark.parametrize("trainer", ["ddp", "fsdp"])
def test_a_signal_to_one_rank_drops_the_step_of_all(trainer: str, tmp_path: Path) -> None:
    unbroken, hit = tmp_path / "unbroken", tmp_path / "hit"
    words = (*WORDS, f"trainer={trainer}", "callbacks.checkpoint.every_n_train_steps=100")
    finish(start(unbroken, words), unbroken)
    rng = random.Random(trainer)
    for after in ("step 1/", "step 2/"):
        said = strike(
            start(hit, words),
            hit,
            signum=15,
            to_all=False,
            after=after,
            wait_s=rng.uniform(0.0, 1.0),
        )
        assert said is not None
        assert "exit code 143" in said, said
    finish(start(hit, words), hit)
    assert log(hit).read_text().count("drops this step") == 2
    assert rows(hit) == rows(unbroken)
    completions = [(folder / "completions.jsonl").read_text() for folder in (unbroken, hit)]
    assert completions[0] == completions[1]
    kept = ("state_dict", "optimizer_states", "g2rpo", "PromptDataModule", "global_step")
    (values, tensors), (others, found) = (
        split_tensors({name: state[name] for name in kept})
        for state in (read_checkpoint(f / "checkpoints" / "last.ckpt") for f in (unbroken, hit))
    )
    assert values == others
    assert len(tensors) > 400
    assert [name for name in tensors if not torch.equal(tensors[name], found[name])] == []
