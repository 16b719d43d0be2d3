"""Where a run goes on: in its own folder, and `last` finds it."""

import os
from pathlib import Path

import pytest

from g2rpo import paths
from g2rpo.training import run_folder as run_folder_module
from g2rpo.training.run_folder import newest_unfinished, run_folder


def killed(outputs: Path, name: str, age_s: int, *, finished: bool = False) -> Path:
    last = outputs / "2026-01-01" / name / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.touch()
    os.utime(last, (10_000 - age_s, 10_000 - age_s))
    if finished:
        (last.parents[1] / "summary.json").touch()
    return last.parents[1]


def test_last_is_the_newest_run_that_has_a_checkpoint_and_no_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = tmp_path / "outputs"
    assert newest_unfinished(outputs) is None
    killed(outputs, "a", age_s=30)
    newest = killed(outputs, "b", age_s=20)
    killed(outputs, "c", age_s=10, finished=True)
    (outputs / "2026-01-01" / "d").mkdir()
    assert newest_unfinished(outputs) == newest
    monkeypatch.chdir(tmp_path)
    assert run_folder("last", "outputs/new") == "outputs/2026-01-01/b"


def test_a_named_run_goes_on_in_its_folder_and_a_new_one_in_a_new_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_folder("outputs/2026-01-01/b", "outputs/new") == "outputs/2026-01-01/b"
    assert run_folder(None, "outputs/new") == "outputs/new"
    assert (
        run_folder("last", "outputs/new") == "outputs/new"
    )  # there is none, which the run then says


def test_a_program_is_called_as_its_user_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_folder_module.started(Path(paths.SCRIPTS / "train.py")).startswith("python ")
    monkeypatch.chdir(tmp_path)
    assert run_folder_module.started(tmp_path / "mine.py") == "python mine.py"
    for module in (paths, run_folder_module):
        monkeypatch.setattr(module, "IN_CHECKOUT", False)
    monkeypatch.setattr(run_folder_module, "SCRIPTS", tmp_path / "programs")
    assert run_folder_module.started(tmp_path / "programs" / "cold_start.py") == "g2rpo cold-start"
    assert paths.command("train") == "g2rpo train"
