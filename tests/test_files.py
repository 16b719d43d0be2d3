"""A file is replaced whole, or stays as it was."""

import errno
import os
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from g2rpo.files import (
    DiskError,
    finish_replacing,
    new_folder,
    put_in_place,
    replaced_content,
    replaced_file,
    replaced_folder,
    write_whole,
    writing,
)


def test_text_arrives_as_it_is_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_whole(path, "ä\u2028\r\n\n")
    assert path.read_bytes() == "ä\u2028\r\n\n".encode()
    write_whole(path, "x")
    assert path.read_text() == "x"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_a_lone_surrogate_does_not_cost_the_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "a\ud800b")
    assert (tmp_path / "a.txt").read_text() == "a?b"


def test_what_cannot_be_written_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, "new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("before", ["nothing", "file", "folder"])
def test_a_folder_takes_its_place_when_it_is_complete(before: str, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a"
    if before == "file":
        write_whole(path, "old")
    elif before == "folder":
        write_whole(path / "old.txt", "old")
    with replaced_folder(path) as new:
        (new / "new.txt").write_text("new")
        assert not (path / "new.txt").exists()
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    assert [file.name for file in path.parent.iterdir()] == ["a"]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path / "old.txt", "old")

    def fail() -> None:
        with replaced_folder(path) as new:
            (new / "new.txt").write_text("new")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert [file.name for file in path.iterdir()] == ["old.txt"]
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("killed_at", ["write", "first rename", "second rename", "removal"])
def test_a_replacement_killed_anywhere_leaves_a_complete_folder(
    killed_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    write_whole(path / "x.txt", "old")
    renames = 0

    def rename(own: Path, other: Path) -> Path:
        nonlocal renames
        renames += 1
        if killed_at == {1: "first rename", 2: "second rename"}[renames]:
            raise SystemExit
        return real(own, other)

    real = Path.rename
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        if killed_at == "removal":
            patch.setattr("g2rpo.files._remove", lambda path: None)
        (new_folder(path) / "x.txt").write_text("new")
        if killed_at != "write":
            with suppress(SystemExit):
                put_in_place(path)
    replaced = killed_at in ("second rename", "removal")
    assert (finish_replacing(path) / "x.txt").read_text() == ("new" if replaced else "old")
    with replaced_folder(path) as new:
        (new / "x.txt").write_text("newer")
    assert (path / "x.txt").read_text() == "newer"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_an_error_of_the_disk_names_the_path_and_the_free_space(tmp_path: Path, code: int) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with pytest.raises(DiskError) as caught, replaced_file(path):
        raise OSError(code, os.strerror(code))
    words = str(caught.value)
    assert words.startswith(f"{path}: cannot be written: {os.strerror(code)}; ")
    assert f"GB are free in {tmp_path}." in words
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may be larger than 1 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_disk_error_that_torch_hides_is_found(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskError, match=r"a\.ckpt: cannot be written: File too large; "),
        replaced_content(tmp_path / "a.ckpt") as file,
    ):
        torch.save({"a": torch.zeros(100_000)}, file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_files")
def test_a_disk_error_that_safetensors_hides_is_found(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskError, match="final: cannot be written: File too large; "),
        replaced_folder(tmp_path / "final") as folder,
    ):
        save_file({"a": torch.zeros(100_000)}, folder / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    for error in (ValueError("b"), FileNotFoundError(errno.ENOENT, "gone", "other.txt")):
        with pytest.raises(type(error)) as caught, writing(tmp_path / "a.txt"):
            raise error
        assert caught.value is error


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "a.txt"
    with pytest.raises(DiskError, match=rf"\({path.parent} does not exist\)"), writing(path):
        path.open("a")


def test_a_write_that_stalls_is_reported_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("g2rpo.files.STALLED_S", 0.05)
    with caplog.at_level("WARNING", "g2rpo"), writing(tmp_path / "a.ckpt"):
        time.sleep(0.5)
    with caplog.at_level("WARNING", "g2rpo"), writing(tmp_path / "b.ckpt"):
        pass
    time.sleep(0.1)
    assert f"{tmp_path / 'a.ckpt'}: has not been written for" in caplog.text
    assert "b.ckpt" not in caplog.text
