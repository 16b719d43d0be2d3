from pathlib import Path

import pytest
import torch

from g2rpo.data.gym.hard import TASKS, HardGymSource
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.tiny_text import save_tiny_text
from g2rpo.records import Prompt
from g2rpo.rollout.hf import HFEngine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny_text(tmp_path / "model", ["needle a", "3 um 4"])
    return tmp_path / "model"


def asked(text: str) -> Prompt:
    return Prompt(id="p", task="needle", text=text, images=(), answer="3", answer_type="needle")


def test_every_word_is_a_token_and_decoded_words_have_spaces(folder: Path) -> None:
    encoder = Checkpoint(path=str(folder)).encoder()
    ids = encoder.tokenize("3 um 4")
    assert len(ids) == 4
    row = torch.tensor([ids])
    assert encoder.decode(row, torch.ones_like(row).bool()) == ("3 um 4",)
    assert encoder.encode([asked("needle a")]).input_ids.shape == (1, 3)


def test_the_model_has_50_000_parameters_and_generates_without_images(folder: Path) -> None:
    checkpoint = Checkpoint(path=str(folder))
    policy, encoder = checkpoint.policy(), checkpoint.encoder()
    assert 30_000 < sum(p.numel() for p in policy.parameters()) < 60_000
    engine = HFEngine(max_new_tokens=3)
    engine.start(policy, encoder)
    rollouts = engine.generate(
        encoder.encode([asked("needle a")]), engine.sampling.with_group_size(2), seed=0
    )
    assert rollouts.completion_ids.shape[0] == 2


def test_the_shipped_policy_knows_every_word_of_the_hard_gym() -> None:
    encoder = Checkpoint.packaged(name="hard_gym").encoder()
    texts = [HardGymSource().get(task, i, "heldout").text for task in TASKS for i in range(8)]
    unknown = encoder.tokenizer.unk_token_id
    assert all(
        unknown not in encoder.tokenize(text)
        for text in [*texts, "0 1 2 3 4 5 6 7 8 9 um A B C D E F G H I J"]
    )
