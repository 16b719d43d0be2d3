"""Checkpoint files of one device and of DDP: written whole, read with folders alike."""

import os
import pickle
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from g2rpo.training.checkpoint_folder import save_folder
from g2rpo.training.checkpoint_io import (
    AtomicCheckpointIO,
    read_checkpoint,
    read_hyper_parameters,
    use_own_checkpoints,
)
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
        file.truncate(file.tell() // 2)
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


class Crafted:
    """Runs a shell command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


def test_a_file_that_would_run_code_is_refused_in_one_sentence(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "last.ckpt"
    torch.save(STATE | {"callbacks": {"mine": Crafted(trace)}}, path)
    torch.load(path, weights_only=False)
    assert trace.exists()  # the file is dangerous
    trace.unlink()
    for read in (read_checkpoint, read_hyper_parameters, AtomicCheckpointIO().load_checkpoint):
        with pytest.raises(
            ValueError,
            match=r"last\.ckpt: expected a checkpoint of plain values and tensors, got"
            r" posix\.system; reading it could run any code, so nothing was read",
        ):
            read(path)
    assert not trace.exists()


def test_a_file_that_is_no_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(pickle.dumps(Crafted(tmp_path / "trace"), protocol=2))
    with pytest.raises(ValueError, match="got a file in another format"):
        read_checkpoint(path)
    assert not (tmp_path / "trace").exists()


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(STATE, path)
    with pytest.raises(
        TypeError, match=r"expected plain values, tuples and tensors, got pathlib\.PosixPath"
    ):
        AtomicCheckpointIO().save_checkpoint(STATE | {"callbacks": {"folder": tmp_path}}, path)
    assert_same(read_checkpoint(path), STATE)


def test_a_folder_is_read_without_pickle(tmp_path: Path) -> None:
    save_folder(tmp_path / "folder.ckpt", STATE)
    assert sorted(file.suffix for file in (tmp_path / "folder.ckpt").iterdir()) == [
        ".json",
        ".safetensors",
    ]
    # torch's own format has an index that is unpickled
    (tmp_path / "folder.ckpt" / ".metadata").write_bytes(pickle.dumps(Crafted(tmp_path / "trace")))
    assert_same(read_checkpoint(tmp_path / "folder.ckpt"), STATE)
    assert not (tmp_path / "trace").exists()


def test_a_trainer_keeps_a_plugin_that_was_configured() -> None:
    own = L.Trainer(logger=False)
    use_own_checkpoints(own)
    assert type(own.strategy.checkpoint_io) is AtomicCheckpointIO

    class Other(TorchCheckpointIO):
        pass

    given = L.Trainer(logger=False, plugins=[Other()])
    use_own_checkpoints(given)
    assert type(given.strategy.checkpoint_io) is Other
