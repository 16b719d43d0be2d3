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


@pytest.mark.parametrize("trainer", ["ddp", "fsdp"])
@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("how", ["raise", "kill"])
def test_a_rank_that_fails_in_a_step_ends_the_run_and_is_named(
    trainer: str, launcher, how: str, tiny_folder: Path, tmp_path: Path
) -> None:
    fails = ("rollout._target_=misbehaving.OneRankFails", f"+rollout.how={how}")
    script = [str(ROOT / "train.py"), *SMALL, NO_HELDOUT, f"model.path={tiny_folder}"]
    script += [f"trainer={trainer}", *LAUNCHERS[launcher], *fails, "+rollout.on_rank=1"]
    run = ended(started(launcher(script), tmp_path, PLUG_INS), tmp_path, limit_s=300)
    assert 0 not in run.codes
    assert run.left == []
    (folder,) = tmp_path.glob("outputs/*/*")  # all ranks agree
    said = (folder / "error.txt").read_text() + run.text
    expected = "this engine is broken" if how == "raise" else "ended without a message"
    assert "rank 1 of 2 on " in said
    assert expected in said


def test_a_signal_to_all_tasks_saves_once_and_ends_together(
    tiny_folder: Path, tmp_path: Path
) -> None:
    script = [str(ROOT / "train.py"), *SMALL, NO_HELDOUT, f"model.path={tiny_folder}"]
    script += ["trainer=ddp", *ONE_NODE, "trainer.max_steps=100000", "hydra.run.dir=run"]
    processes = started(srun(script), tmp_path)
    deadline_s = time.monotonic() + 240
    while not (tmp_path / "run" / "metrics.csv").exists() or len(metrics(tmp_path / "run")) < 3:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    for process in processes:
        process.send_signal(signal.SIGUSR1)
    run = ended(processes, tmp_path)
    assert (run.codes, run.left) == ([138, 138], [])
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    assert run.text.count("next: python train.py resume=") == 1
