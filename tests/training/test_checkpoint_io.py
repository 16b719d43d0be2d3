"""Checkpoint files of one device and of DDP: written whole, read with folders alike."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from g2rpo.training.checkpoint_folder import save_folder
from g2rpo.training.checkpoint_io import AtomicCheckpointIO, read_checkpoint, read_hyper_parameters
from g2rpo.training.plain_values import split_tensors

STATE: dict[str, Any] = {"state_dict": {"w": torch.arange(3.0)}, "hyper_parameters": {"seed": 3}}


def test_either_format_reads_alike(tmp_path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint(STATE, tmp_path / "file.ckpt")
    save_folder(tmp_path / "folder.ckpt", STATE)
    assert (tmp_path / "file.ckpt").is_file()
    for name in ("file.ckpt", "folder.ckpt"):
        found = AtomicCheckpointIO().load_checkpoint(tmp_path / name)
        assert_same(found, STATE)
        assert_same(read_checkpoint(tmp_path / name), STATE)
        assert read_hyper_parameters(tmp_path / name) == {"seed": 3}


@pytest.mark.parametrize("moment", ["write", "rename"])
def test_a_save_that_is_cut_off_leaves_the_earlier_checkpoint(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "last.ckpt", torch.save
    AtomicCheckpointIO().save_checkpoint(STATE, path)

    def half(state: Any, file: Any) -> None:
        real(state, file)
        os.truncate(file, os.path.getsize(file) // 2)
        raise SystemExit

    def stop(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        if moment == "write":
            patch.setattr(torch, "save", half)
        else:
            patch.setattr(Path, "rename", stop)
        with pytest.raises(SystemExit):
            AtomicCheckpointIO().save_checkpoint(STATE | {"global_step": 1}, path)
    assert_same(read_checkpoint(path), STATE)
    AtomicCheckpointIO().save_checkpoint(STATE | {"global_step": 2}, path)
    assert read_checkpoint(path)["global_step"] == 2
    assert [found.name for found in tmp_path.iterdir()] == ["last.ckpt"]


def assert_same(mine: Any, other: Any) -> None:
    (text, tensors), (other_text, other_tensors) = split_tensors(mine), split_tensors(other)
    assert text == other_text
    assert all(torch.equal(value, other_tensors[name]) for name, value in tensors.items())
