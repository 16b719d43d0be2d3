"""Checkpoint folders of one process; tests/training/test_sharded_checkpoints.py has several."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from g2rpo.training import checkpoint_folder
from g2rpo.training.checkpoint_folder import (
    FolderReader,
    is_checkpoint_folder,
    link_folder,
    save_folder,
)
from g2rpo.training.plain_values import split_tensors


def state(step: int) -> dict[str, Any]:
    return {
        "global_step": step,
        "state_dict": {"w": torch.arange(6.0).view(2, 3) + step, "b": torch.ones(3).bfloat16()},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(float(step))}}, "lr": 0.1}],
    }


def test_a_saved_state_is_read_whole_and_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    for step in (1, 2):
        save_folder(path, state(step))
    assert [found.name for found in tmp_path.iterdir()] == ["last.ckpt"]
    assert is_checkpoint_folder(path)
    reader = FolderReader(path)
    assert_same(reader.read(("",)), state(2))
    assert reader.state["global_step"] == 2
    part = reader.read(("state_dict.w",))
    assert torch.equal(part["state_dict"]["w"], state(2)["state_dict"]["w"])
    assert part["state_dict"]["b"] is None
    own = torch.zeros(2, 3)
    reader.read_into({"state_dict.w": own})
    assert torch.equal(own, state(2)["state_dict"]["w"])


def test_a_background_save_holds_the_values_of_its_call_and_appears_when_completed(
    tmp_path: Path,
) -> None:
    path, own = tmp_path / "last.ckpt", state(2)
    save_folder(path, state(1))
    threads, changed = ThreadPoolExecutor(1), threading.Event()
    threads.submit(changed.wait)
    saving = save_folder(path, own, threads)
    assert saving is not None
    own["state_dict"]["w"].zero_()
    changed.set()
    while not saving.is_written():
        time.sleep(0.01)
    assert FolderReader(path).state["global_step"] == 1
    saving.complete()
    assert_same(FolderReader(path).read(("",)), state(2))
    assert [found.name for found in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_background_save_that_fails_raises_and_leaves_the_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    save_folder(path, state(1))

    def full(*arguments: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint_folder._Writer, "write_data", full)
    saving = save_folder(path, state(2), ThreadPoolExecutor(1))
    assert saving is not None
    with pytest.raises(OSError, match="no space left"):
        saving.complete()
    assert_same(FolderReader(path).read(("",)), state(1))


def test_another_shape_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    save_folder(tmp_path / "a", state(1))
    own = torch.zeros(3)
    with pytest.raises(ValueError, match=r"expected state_dict\.w with shape \(3,\), got \(2, 3\)"):
        FolderReader(tmp_path / "a").read_into({"state_dict.b": own, "state_dict.w": own})
    assert not own.any()
    with pytest.raises(ValueError, match=r"expected state_dict\.x with shape \(3,\), got none"):
        FolderReader(tmp_path / "a").read_into({"state_dict.x": own})


def test_a_linked_folder_outlives_the_first_one(tmp_path: Path) -> None:
    save_folder(tmp_path / "a", state(1))
    text = split_tensors(state(1) | {"more": [1]})[0]
    link_folder(tmp_path / "b", tmp_path / "a", text)
    for file in (tmp_path / "a").iterdir():
        file.unlink()
    found = FolderReader(tmp_path / "b").read(("",))
    assert_same(found, state(1) | {"more": [1]})


def test_large_states_lie_in_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_folder, "FILE_BYTES", 20)
    save_folder(tmp_path / "a", state(1))
    assert len(list((tmp_path / "a").glob("*.safetensors"))) == 2
    assert_same(FolderReader(tmp_path / "a").read(("",)), state(1))


def assert_same(mine: Any, other: Any) -> None:
    (text, tensors), (other_text, other_tensors) = split_tensors(mine), split_tensors(other)
    assert text == other_text
    assert all(torch.equal(value, other_tensors[name]) for name, value in tensors.items())
