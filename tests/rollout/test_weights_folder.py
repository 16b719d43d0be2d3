"""Weights on their way: there while they are read, gone afterwards, also where the writer was
killed.
"""

import fcntl
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from g2rpo.policy.encoder import QwenEncoder
from g2rpo.rollout import weights_folder as module
from g2rpo.rollout.weights_folder import PREFIX, shared_weights_folder, weights_folder


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "MEMORY", tmp_path)
    return tmp_path


def test_weights_are_there_inside_and_gone_outside(
    memory: Path, policy: Any, encoder: QwenEncoder
) -> None:
    for folder_of in (weights_folder, shared_weights_folder):
        with folder_of(policy, encoder) as folder:
            assert folder.parent == memory
            weights = load_file(folder / "model.safetensors")
            assert {"lm_head.weight", "model.language_model.norm.weight"} <= set(weights)
        assert list(memory.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_what_another_reads_is_not(
    memory: Path, policy: Any, encoder: QwenEncoder
) -> None:
    left, used, strange = memory / f"{PREFIX}left", memory / f"{PREFIX}used", memory / "other"
    for folder in (left, used, strange):
        folder.mkdir()
        (folder / ".lock").touch()
    with (used / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with weights_folder(policy, encoder):
            assert not left.exists()
            assert used.exists()
            assert strange.exists()


def test_without_room_in_memory_the_disk_takes_them(
    memory: Path, policy: Any, encoder: QwenEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10_000})()
    )
    with weights_folder(policy, encoder) as folder:
        assert folder.parent != memory
