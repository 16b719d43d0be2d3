"""Weights on their way: written once per machine by all ranks in shares, there until the next ones,
and gone afterwards, also where the writer was killed.
"""

import copy
import fcntl
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_processes import move_adapter, run_ranks
from safetensors.torch import load_file

from g2rpo.policy.adapter import LoRA
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.rollout import weights_folder as module
from g2rpo.rollout.weights_folder import PREFIX, EngineFolders, SharedFolder, weight_bytes


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "MEMORY", tmp_path)
    return tmp_path


def test_weights_stay_until_the_next_ones_and_are_removed_with_their_owner(
    memory: Path, policy: Any, encoder: QwenEncoder
) -> None:
    folders = EngineFolders("merged")
    folders.update(policy, encoder)
    first = folders.weights
    assert first is not None
    assert first.parent == memory
    assert folders.adapter is None
    weights = load_file(first / "model-0-0.safetensors")
    assert {"lm_head.weight", "model.language_model.norm.weight"} <= set(weights)
    folders.update(policy, encoder)
    assert list(memory.iterdir()) == [folders.weights]
    assert folders.weights != first
    folders.remove_weights()
    assert list(memory.iterdir()) == []


def test_a_frozen_model_is_written_once_and_without_its_adapter(
    memory: Path, policy: Any, encoder: QwenEncoder
) -> None:
    adapted = copy.deepcopy(policy)
    LoRA(rank=2, alpha=4).attach(adapted)
    move_adapter(adapted)
    folders = EngineFolders("adapter")
    folders.update(adapted, encoder)
    weights, adapter = folders.weights, folders.adapter
    written = load_file(weights / "model-0-0.safetensors")
    assert written.keys() == policy.state_dict().keys()
    assert all(torch.equal(value, written[name]) for name, value in policy.state_dict().items())
    size = sum(file.stat().st_size for file in adapter.iterdir())
    assert size < weight_bytes(adapted) / 10
    folders.update(adapted, encoder)
    assert folders.weights == weights
    assert folders.adapter != adapter
    assert len(list(memory.iterdir())) == 2


def test_what_a_killed_run_left_is_removed_and_what_another_reads_is_not(memory: Path) -> None:
    left, used, strange = memory / f"{PREFIX}left", memory / f"{PREFIX}used", memory / "other"
    for folder in (left, used, strange):
        folder.mkdir()
        (folder / ".lock").touch()
    with (used / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        SharedFolder().replace(0, lambda folder, share, num_shares: None)
    assert not left.exists()
    assert used.exists()
    assert strange.exists()


def test_without_room_in_memory_the_disk_takes_them(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10_000})()
    )
    folder = SharedFolder()
    folder.replace(10_000, lambda folder, share, num_shares: None)
    assert folder.path.parent != memory


def test_the_size_is_that_of_the_compute_dtype(policy: Any) -> None:
    mixed = copy.deepcopy(policy)
    mixed.compute_dtype = torch.bfloat16
    whole = sum(parameter.numel() for parameter in policy.parameters())
    assert (weight_bytes(policy), weight_bytes(mixed)) == (4 * whole, 2 * whole)


@pytest.mark.process
def test_ranks_write_shares_of_sharded_weights_and_all_hear_of_one_that_cannot(
    tmp_path: Path,
) -> None:
    run_ranks(Path(__file__).with_name("weight_shares.py"), tmp_path)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert first["files"] == second["files"]
    assert 0.3 < first["numbers"][0] / sum(first["numbers"]) < 0.7
    assert not first["differing"]
    assert not second["differing"]
    assert first["said"] == second["said"]
    assert "rank 1: the disk is full" in first["said"]
