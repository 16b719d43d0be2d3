"""The command line and the environment of a job: nothing of the sweep is in them, and nothing of
another run's ranks.
"""

import json
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from g2rpo.sweep.process import Task, quoted


def task(folder: Path) -> Task:
    return Task(script="/repo/train.py", folder=str(folder), cwd="/repo", group="paper_ablation")


@pytest.mark.parametrize(
    "text", ["/a/advantage=grpo,seed=0", "/a/it's", "/with blank/[1]{2}", "/a/x=1.5,y=-2"]
)
def test_hydra_reads_a_quoted_folder_back(text: str) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"hydra.run.dir={quoted(text)}"])
    assert not override.is_sweep_override()
    assert str(override.value()) == text


def test_the_command_names_the_frozen_configuration_and_no_choice_of_the_sweep(
    tmp_path: Path,
) -> None:
    words = task(tmp_path / "row=full,seed=1").command()[1:]
    folder = tmp_path / "row=full,seed=1"
    assert words == [
        "/repo/train.py",
        "--config-path",
        f"{folder}/.hydra",
        "--config-name",
        "config",
        f"hydra.run.dir='{folder}'",
        "hydra.output_subdir=null",
    ]


def test_a_job_with_a_checkpoint_goes_on_from_it(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert task(tmp_path).command()[-1] == f"resume='{tmp_path}'"


def test_a_job_is_no_rank_of_whatever_started_the_sweep() -> None:
    given = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "4",
        "MASTER_PORT": "29500",
        "PATH": "/bin",
        "SLURM_NTASKS": "1",
        "SLURM_JOB_ID": "7",
    }
    assert task(Path("/x")).environment(given) == {
        "PATH": "/bin",
        "SLURM_JOB_ID": "7",
        "WANDB_RUN_GROUP": "paper_ablation",
    }


def test_several_slurm_tasks_stay_the_ranks_of_their_run() -> None:
    given = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"}
    assert task(Path("/x")).environment(given) == given | {"WANDB_RUN_GROUP": "paper_ablation"}


def test_a_group_that_the_user_has_named_stays() -> None:
    assert (
        json.dumps(task(Path("/x")).environment({"WANDB_RUN_GROUP": "mine"}))
        == '{"WANDB_RUN_GROUP": "mine"}'
    )
