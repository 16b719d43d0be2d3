"""Where a killed run goes on."""

from pathlib import Path

import pytest

from g2rpo.algorithm.advantage.ema_grpo import EMAGRPO
from g2rpo.algorithm.shaping import Shaping
from g2rpo.training.resume import load_part, resume_checkpoint


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
    return tmp_path / "run"


def test_a_new_run_has_no_checkpoint(killed: Path) -> None:
    assert resume_checkpoint(None, killed) is None


def test_a_resumed_run_has_the_last_one_of_its_folder(killed: Path) -> None:
    assert (
        resume_checkpoint(str(killed), killed.parent / "x" / ".." / "run")
        == killed / "checkpoints" / "last.ckpt"
    )


def test_a_folder_without_checkpoint_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"resume: expected a run folder with checkpoints/last\.ckpt, got .*; leave resume"
            r" out to start a new run"
        ),
    ):
        resume_checkpoint(str(tmp_path), tmp_path)


def test_a_run_cannot_go_on_in_another_folder(killed: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=rf"resume={killed}: .* own folder; leave hydra\.run\.dir out"
    ):
        resume_checkpoint(str(killed), tmp_path)


def test_an_advantage_that_does_not_find_its_state_is_refused() -> None:
    state = EMAGRPO().state_dict()
    load_part("advantage", EMAGRPO(), state)
    with pytest.raises(
        ValueError,
        match=r"resume: expected the advantage of the run to resume, got EMAGRPO, .*moments",
    ):
        load_part("advantage", EMAGRPO(), {})


def test_shaping_without_a_band_resumes_from_any_checkpoint() -> None:
    load_part("shaping", Shaping(length=None, entropy=None), {})
