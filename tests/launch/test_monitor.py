"""A rank that fails ends all ranks; processes without a model."""

from pathlib import Path

import pytest
from launch.launchers import ended, srun, started, torchrun, torchrun_nodes

pytestmark = pytest.mark.process
SCRIPT = str(Path(__file__).with_name("small_run.py"))
SOURCE = Path(__file__).parents[2] / "src"
WORDS = {
    "raise": "rank {0} of 2 on {1}: no memory (last on tasks chart{0}, ocr)",
    "kill": "rank {0} of 2 on {1} ended without a message: it was killed",
    "hang": "rank {0} of 2 on {1} hangs in main (",
    "stop": "rank {0} of 2 on {1} does not answer: it is stopped or stuck (last on tasks chart{0},",
}


def words(how: str, rank: int) -> str:
    import socket

    return WORDS[how].format(rank, socket.gethostname())


def test_a_killed_rank_ends_the_others_within_seconds_and_is_named(tmp_path: Path) -> None:
    run = ended(started(srun([SCRIPT, "kill", "1", "60"]), tmp_path), tmp_path)
    assert (run.codes, run.left) == ([1, -9], [])
    assert run.text.count(words("kill", 1)) == 1
    assert run.seconds < 30


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [srun, torchrun, torchrun_nodes])
@pytest.mark.parametrize(
    ("how", "rank"), [("raise", 0), ("raise", 1), ("kill", 0), ("hang", 1), ("stop", 1)]
)
def test_a_rank_that_fails_ends_all_and_is_named(
    launcher, how: str, rank: int, tmp_path: Path
) -> None:
    run = ended(started(launcher([SCRIPT, how, str(rank), "2"]), tmp_path), tmp_path)
    assert 0 not in run.codes
    assert run.left == []
    assert run.seconds < 60
    # torchrun may end rank 1 before it can say that rank 0 was killed, and says so itself
    said = words(how, rank) if (how, rank) != ("kill", 0) else ""
    assert said in run.text or "Signal 9 (SIGKILL)" in run.text
    if said:
        assert f"(last on tasks chart{rank}, ocr)" in run.text
    if how in ("hang", "stop"):
        assert "Thread" in next(tmp_path.rglob("stack_rank0.txt")).read_text()


@pytest.mark.slow
def test_engines_of_a_killed_rank_and_of_the_others_end(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    places = [str(SOURCE), str(SOURCE.parent / "tests" / "rollout")]
    fake = {"FAKE_ENGINE": str(tmp_path / "engine"), "PYTHONPATH": ":".join(places)}
    run = ended(started(srun([SCRIPT, "engine", "1", "60"]), tmp_path, fake), tmp_path)
    assert (run.codes, run.left) == ([1, -9], [])
    assert (tmp_path / "engine" / "calls.jsonl").read_text().count('"start"') == 2
    assert run.text.count(words("kill", 1)) == 1


@pytest.mark.slow
def test_a_stopped_rank_0_is_named_and_killed_by_the_others(tmp_path: Path) -> None:
    run = ended(started(srun([SCRIPT, "stop", "0", "2"]), tmp_path), tmp_path)
    assert (run.codes, run.left) == ([-9, 1], [])
    assert words("stop", 0) in run.text
