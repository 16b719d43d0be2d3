"""A file is replaced whole, or stays as it was."""

from pathlib import Path

import pytest

from g2rpo.files import write_whole


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
