"""The sbatch scripts in examples/, run with stand-ins for srun and scontrol."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.sbatch"))
NODES = {"one_node": 1, "four_nodes": 4}
SRUN = """#!/usr/bin/env python3
import json, os, sys
json.dump([sys.argv[1:], {name: os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT")}],
          open("srun.json", "w"))
sys.exit(int(os.environ["SRUN_CODE"]))
"""
SCONTROL = """#!/usr/bin/env bash
echo "$*" >> scontrol.txt
if [ "$1" = show ]; then echo node7; echo node8; fi
"""


def options(script: Path) -> dict[str, str]:
    """The `#SBATCH --name=value` lines."""
    return dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", script.read_text(), flags=re.M))


@pytest.fixture
def submitted(tmp_path: Path) -> Callable[..., tuple[int, list[str], dict[str, str]]]:
    """`submitted(script, "seed=1", code=0)`: exit code, and what srun was called with."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(script: Path, *words: str, code: int = 0) -> tuple[int, list[str], dict[str, str]]:
        given = options(script)
        env = os.environ | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SRUN_CODE": str(code),
            "SLURM_JOB_ID": "123456",
            "SLURM_JOB_NODELIST": "node[7-8]",
            "SLURM_NNODES": given["nodes"],
            "SLURM_NTASKS_PER_NODE": given["ntasks-per-node"],
        }
        for name in ("MASTER_ADDR", "MASTER_PORT"):
            env.pop(name, None)
        done = subprocess.run(["bash", str(script), *words], cwd=tmp_path, env=env, check=False)
        called, variables = json.loads((tmp_path / "srun.json").read_text())
        return done.returncode, called, variables

    return run


@pytest.mark.process
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_is_bash_and_its_command_composes(
    script: Path, submitted: Callable[..., Any], composed: Callable[..., Any]
) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    code, called, variables = submitted(script, "experiment=smoke", "seed=3")
    assert (code, variables) == (0, {"MASTER_ADDR": "node7", "MASTER_PORT": "18456"})
    assert called[:5] == ["--kill-on-bad-exit=1", "python", "-m", "g2rpo", "train"]
    cfg = composed(*called[5:])
    assert (cfg.seed, cfg.batch.group_size) == (3, 4)
    assert cfg.trainer.strategy._target_.endswith("ShardedStrategy")
    assert (cfg.trainer.devices, cfg.trainer.num_nodes) == (8, NODES[script.stem])


def test_there_is_a_script_for_one_node_and_one_for_four() -> None:
    assert {script.stem: int(options(script)["nodes"]) for script in SCRIPTS} == NODES
    assert {options(script)["gpus-per-node"] for script in SCRIPTS} == {"8"}


@pytest.mark.process
def test_a_job_whose_time_is_up_is_queued_again_and_resumes(
    submitted: Callable[..., Any], tmp_path: Path
) -> None:
    script = ROOT / "examples" / "one_node.sbatch"
    code, called, _ = submitted(script, code=138)
    assert code == 138
    assert "requeue 123456" in (tmp_path / "scontrol.txt").read_text()
    assert "hydra.run.dir=outputs/slurm/123456" in called
    assert not [word for word in called if word.startswith("resume")]
    checkpoint = tmp_path / "outputs" / "slurm" / "123456" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    (tmp_path / "scontrol.txt").unlink()
    code, called, _ = submitted(script, code=1)
    assert code == 1
    assert "resume=outputs/slurm/123456" in called
    assert "requeue" not in (tmp_path / "scontrol.txt").read_text()


@pytest.mark.process
def test_torchrun_lines_of_the_document_compose(composed: Callable[..., Any]) -> None:
    text = (ROOT / "docs" / "clusters.md").read_text().replace("\\\n", " ")
    lines = [
        shlex.split(line) for line in text.splitlines() if re.match("torchrun .*train.py", line)
    ]
    assert len(lines) == 2
    for words in lines:
        cfg = composed(*words[words.index("train.py") + 1 :])
        (per_node,) = [word for word in words if word.startswith("--nproc-per-node=")]
        assert int(per_node.partition("=")[2]) == cfg.trainer.devices
