"""A disk that is full, gone or moved ends a run with one sentence; its last checkpoint is whole."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.runs import NO_HELDOUT, SMALL, script

from g2rpo.training.checkpoint_io import read_checkpoint

pytestmark = [pytest.mark.process, pytest.mark.slow]
PLUG_INS = Path(__file__).parent / "plug_ins"
OPTIONS = (*SMALL, NO_HELDOUT, "gradient_conflict=none")


def broken(model: Path, folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    """Train three steps with a checkpoint after each; the disk breaks after the second."""
    return script(
        "train.py",
        *OPTIONS,
        f"model.path={model}",
        "trainer.max_steps=3",
        "callbacks.checkpoint.every_n_train_steps=1",
        "+callbacks.breaks._target_=breaks.Breaks",
        f"+callbacks.breaks.how={how}",
        "+callbacks.breaks.after=2",
        f"hydra.run.dir={folder}",
        path=PLUG_INS,
    )


def test_a_full_disk_ends_a_run_and_leaves_the_checkpoint_of_the_step_before(
    tiny_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    ended = broken(tiny_folder, folder, "full")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr + ended.stdout
    assert "cannot be written: File too large; " in ended.stdout + ended.stderr
    assert f"GB are free in {folder}" in ended.stdout + ended.stderr
    assert f"resume={folder}" in ended.stderr
    kept = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert kept["global_step"] >= 1
    assert not list((folder / "checkpoints").glob(".*"))  # what was cut off takes no space
    assert not (folder / "summary.json").exists()


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_a_run_ends_when_its_folder_goes_away(tiny_folder: Path, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "run"
    ended = broken(tiny_folder, folder, how)
    assert ended.returncode == 1
    words = ended.stdout + ended.stderr
    assert "Traceback" not in words
    assert f"{folder}: this run folder was removed or renamed" in words
    assert not (folder / "summary.json").exists()
    if how == "renamed":
        assert read_checkpoint(tmp_path / "moved" / "checkpoints" / "last.ckpt")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"this process may not mount a file system: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_file_system_without_space_is_announced_and_named(
    tiny_folder: Path, small_disk: Path
) -> None:
    folder = small_disk / "run"
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2_700_000))
    ended = script(
        "train.py",
        *OPTIONS,
        f"model.path={tiny_folder}",
        "trainer.max_steps=3",
        "callbacks.checkpoint.every_n_train_steps=1",
        f"hydra.run.dir={folder}",
    )
    words = ended.stdout + ended.stderr
    assert ended.returncode == 1
    assert "checkpoints need up to" in words
    assert "cannot be written: No space left on device; 0.000 GB are free in" in words
    assert "Traceback" not in words
