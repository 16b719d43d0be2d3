"""How a failed program ends: one sentence, exit code 1, and a traceback for each process."""

import os
from pathlib import Path

import pytest

from g2rpo.cli.errors import (
    FULL,
    explained,
    forget_errors,
    give_errors_back,
    sentence,
    take_errors_from_hydra,
)


def failing(folder: Path) -> None:
    with explained(folder):
        raise ValueError("batch.group_size: too small")


def test_each_process_has_an_error_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as ended:
        failing(tmp_path)
    assert ended.value.code == 1
    assert [path.name for path in tmp_path.glob("error*")] == ["error_rank1.txt"]
    assert "Traceback" in (tmp_path / "error_rank1.txt").read_text()


def test_errors_of_an_earlier_run_are_forgotten_and_nothing_else(tmp_path: Path) -> None:
    for name in ("error.txt", "error_rank3.txt", "stack_rank0.txt", "errors.md", "train.log"):
        (tmp_path / name).touch()
    forget_errors(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["errors.md", "train.log"]
    forget_errors(tmp_path / "none")


def test_the_key_of_an_error_stands_before_its_cause() -> None:
    assert (
        sentence(ValueError("Missing\n    full_key: a.b\n    object_type=dict")) == "a.b: Missing"
    )


def test_a_persons_own_wish_for_tracebacks_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FULL, "1")
    assert not take_errors_from_hydra()
    monkeypatch.setenv(FULL, "0")
    assert take_errors_from_hydra()
    assert os.environ[FULL] == "1"
    give_errors_back()
    assert os.environ[FULL] == "0"
