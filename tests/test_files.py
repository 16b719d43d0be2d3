"""A file is replaced whole, or stays as it was."""

from contextlib import suppress
from pathlib import Path

import pytest

from g2rpo.files import (
    finish_replacing,
    new_folder,
    put_in_place,
    replaced_folder,
    write_whole,
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

    monkeypatch.setattr(Path, "write_text", full)
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
