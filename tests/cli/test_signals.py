"""A signal at any moment of a run ends it the same way, and the resumed run ends as if unbroken."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli.runs import ROOT, SMALL, json_lines, script, untimed

from g2rpo.training.checkpoint_io import read_checkpoint

pytestmark = [pytest.mark.process, pytest.mark.slow]
PLUG_INS = Path(__file__).parent / "plug_ins"
OPTIONS = (
    *SMALL,
    "heldout.prompts_per_task=1",
    "heldout.samples=1",
    "gradient_conflict=none",
    "trainer.max_steps=3",
    "trainer.val_check_interval=2",
    "callbacks.checkpoint.every_n_train_steps=1",
)
CASES = [
    ("before", "SIGINT", None),
    ("before", "SIGTERM", None),
    ("first", "SIGTERM", 0),
    ("rollout", "SIGUSR1", 1),
    ("decoded", "SIGTERM", 1),
    ("pass", "SIGINT", 1),
    ("update", "SIGHUP", 2),
    ("validation", "SIGUSR1", 2),
    ("validation", "SIGTERM", 2),
    ("save", "SIGHUP", 2),
]
"""When which signal comes, and the step whose state is saved."""


@pytest.fixture(scope="module")
def unbroken(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    ended = script("train.py", *OPTIONS, f"model.path={tiny_folder}", f"hydra.run.dir={folder}")
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize(("moment", "name", "step"), CASES)
def test_a_signal_ends_a_run_with_checkpoint_report_and_the_line_to_go_on(
    unbroken: Path, tiny_folder: Path, tmp_path: Path, moment: str, name: str, step: int | None
) -> None:
    folder = tmp_path / "run"
    options = (*OPTIONS, f"model.path={tiny_folder}")
    ended = script(
        "train.py",
        *options,
        "+callbacks.signals._target_=signals.Signals",
        f"+callbacks.signals.name={name}",
        f"+callbacks.signals.moment={moment}",
        f"hydra.run.dir={folder}",
        path=PLUG_INS,
    )
    words = ended.stdout + ended.stderr
    assert ended.returncode == 128 + signal.Signals[name], words
    assert f"stopped by {name}: checkpoint: " in ended.stdout
    assert "Traceback" not in words
    assert f"report: {folder.resolve() / 'report.html'}" in ended.stdout
    assert (folder / "report.html").exists()
    assert not (folder / "summary.json").exists()
    last = folder / "checkpoints" / "last.ckpt"
    assert last.exists() == (step is not None)
    if step is not None:
        state = read_checkpoint(last)
        assert (state["global_step"], state["g2rpo"]["rollout_batch"]) == (step, step)
        assert max([0, *(int(row["step"]) for row in untimed(folder))]) == step
    assert not (folder / "heldout" / "step_2.jsonl").exists()
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("next: python ")]
    assert (f" resume={folder} " in line) == last.exists()
    _, program, *typed = shlex.split(line.removeprefix("next: "))
    again = script(program, *typed, path=PLUG_INS)
    assert again.returncode == 0, again.stderr
    assert untimed(folder) == untimed(unbroken)
    assert json_lines(folder / "completions.jsonl") == json_lines(unbroken / "completions.jsonl")
    final = "checkpoints/final/model.safetensors"
    assert (folder / final).read_bytes() == (unbroken / final).read_bytes()


SRUN = """#!/usr/bin/env bash
shift  # --kill-on-bad-exit=1
exec env SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_STEP_ID=0 "$@"
"""
SCONTROL = """#!/usr/bin/env bash
echo "$*" >> "$SCONTROL_LOG"
if [ "$1" = show ]; then echo localhost; fi
"""


def test_a_job_that_slurm_warns_is_queued_again_once_and_goes_on(
    unbroken: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    search = [str(PLUG_INS), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {
        "PATH": os.pathsep.join(
            [str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "PYTHONPATH": os.pathsep.join(search),
        "SCONTROL_LOG": str(tmp_path / "scontrol.txt"),
        "TRAINER": "auto",
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "g2rpo",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NNODES": "1",
        "SLURM_NTASKS_PER_NODE": "1",
    }
    command = ["bash", str(ROOT / "examples" / "one_node.sbatch"), *OPTIONS]
    command += [
        f"model.path={tiny_folder}",
        "+callbacks.signals._target_=signals.Signals",
        "+callbacks.signals.name=SIGUSR1",
        "+callbacks.signals.moment=rollout",
    ]
    codes = []
    for _ in range(2):
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        codes.append(done.returncode)
    assert codes == [138, 0], done.stdout + done.stderr
    asked = (tmp_path / "scontrol.txt").read_text().splitlines()
    assert [line for line in asked if "requeue" in line] == ["requeue 4711"]
    folder = tmp_path / "outputs" / "slurm" / "4711"
    assert not list(folder.rglob("hpc_ckpt*"))
    assert untimed(folder) == untimed(unbroken)
