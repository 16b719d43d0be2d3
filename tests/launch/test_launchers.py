"""Whole runs under each launcher: a rank that fails ends all; a signal saves on all ranks."""

import signal
import time
from pathlib import Path

import pytest
from cli.runs import NO_HELDOUT, SMALL, metrics
from launch.launchers import ended, lightning, srun, started, torchrun, torchrun_nodes

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
ONE_NODE = ("trainer.accelerator=cpu", "trainer.devices=2")
TWO_NODES = ("trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2")
LAUNCHERS = {lightning: ONE_NODE, torchrun: ONE_NODE, torchrun_nodes: TWO_NODES, srun: ONE_NODE}
PLUG_INS = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests' / 'cli' / 'plug_ins'}"}


FAILURES = {
    "raise": ("this engine is broken", "sampling for prompts"),
    "kill": ("ended without a message", "(last on tasks "),
    "hang": ("hangs in generate (", "(last on tasks "),
    "nan": ("loss became nan (rank 1, prompts ",),
}
HANG_S = 20  # the first update of a busy machine takes seconds


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize(
    ("trainer", "how"), [("ddp", "kill"), ("ddp", "nan"), ("fsdp", "raise"), ("fsdp", "hang")]
)
def test_a_rank_that_fails_in_a_step_ends_the_run_and_is_named(
    trainer: str, launcher, how: str, tiny_folder: Path, tmp_path: Path
) -> None:
    fails = (
        ("loss._target_=misbehaving.NoNumberOnOneRank", "+loss.on_rank=1")
        if how == "nan"
        else (
            "rollout._target_=misbehaving.OneRankFails",
            f"+rollout.how={how}",
            "+rollout.on_rank=1",
        )
    )
    script = [str(ROOT / "train.py"), *SMALL, NO_HELDOUT, f"model.path={tiny_folder}"]
    script += [f"trainer={trainer}", *LAUNCHERS[launcher], *fails]
    script += [f"hang_s={HANG_S}"] if how == "hang" else []
    run = ended(started(launcher(script), tmp_path, PLUG_INS), tmp_path, limit_s=300)
    ended_s = time.time()
    assert 0 not in run.codes
    assert run.left == []
    assert ended_s - (tmp_path / "failed").stat().st_mtime < 60 + HANG_S
    (folder,) = tmp_path.glob("outputs/*/*")  # all ranks agree
    said = (folder / "error.txt").read_text() + run.text
    assert "rank 1" in said
    for words in FAILURES[how]:
        assert words in said


def test_another_number_of_devices_than_srun_started_is_named_once(
    tiny_folder: Path, tmp_path: Path
) -> None:
    script = [str(ROOT / "train.py"), *SMALL, NO_HELDOUT, f"model.path={tiny_folder}"]
    run = ended(started(srun([*script, "trainer.accelerator=cpu"]), tmp_path), tmp_path)
    assert (run.codes, run.left) == ([1, 1], [])
    assert run.seconds < 60
    expected = "add trainer=ddp or trainer=fsdp trainer.devices=2 trainer.num_nodes=1"
    assert run.text.count(expected) == 1


@pytest.mark.parametrize(
    ("launcher", "signum"), [(srun, signal.SIGUSR1), (torchrun, signal.SIGTERM)]
)
def test_a_signal_saves_once_and_ends_all_ranks_together(
    launcher, signum: signal.Signals, tiny_folder: Path, tmp_path: Path
) -> None:
    script = [str(ROOT / "train.py"), *SMALL, NO_HELDOUT, f"model.path={tiny_folder}"]
    script += ["trainer=ddp", *ONE_NODE, "trainer.max_steps=100000", "hydra.run.dir=run"]
    processes = started(launcher(script), tmp_path)
    deadline_s = time.monotonic() + 240
    while not (tmp_path / "run" / "metrics.csv").exists() or len(metrics(tmp_path / "run")) < 3:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    for process in processes:  # torchrun passes it on to its ranks
        process.send_signal(signum)
    run = ended(processes, tmp_path)
    assert run.left == []
    assert 0 not in run.codes
    if launcher is srun:
        assert run.codes == [128 + signum] * 2
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    assert run.text.count("next: python ") == 1
    assert f"resume={tmp_path / 'run'}" in run.text
    assert not (tmp_path / "run" / "error.txt").exists()
