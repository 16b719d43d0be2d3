"""Names of folders, and how a job's state is read from what lies in its folder."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from g2rpo.sweep.job import SILENCE_S, Job, job_name, state_of, why, write_mark


def test_names_stay_apart_where_digits_or_ends_are_cut_off() -> None:
    names = {job_name({"a.weight": f"0.22852{i}"}) for i in range(5)}
    assert len(names) == 5
    assert {name.partition(",")[0] for name in names} == {"weight=0.2285"}
    long = [
        job_name({"shaping.length.bands.math": "[" + ",".join(["123"] * 60) + f",{i}]"})
        for i in range(2)
    ]
    assert long[0] != long[1]
    assert max(map(len, long)) <= 130


def test_a_name_holds_nothing_that_a_folder_should_not() -> None:
    assert (
        job_name({"model.path": "/models/my qwen", "task_mix.weights": "{math: 1}"})
        == "path=models-my-qwen,weights=math-1"
    )


def test_a_summary_of_other_settings_is_no_end(job: Callable[..., Job]) -> None:
    one = job(seed=1)
    one.folder.mkdir(parents=True)
    (one.folder / "summary.json").write_text(json.dumps({"config_hash": "000000000000"}))
    assert state_of(one.folder, one.hash) == "waiting"
    (one.folder / "summary.json").write_text(json.dumps({"config_hash": one.hash}))
    assert state_of(one.folder, one.hash) == "finished"


@pytest.mark.parametrize(("code", "state"), [(1, "failed"), (-9, "stopped"), (0, "stopped")])
def test_an_exit_code_tells_failed_from_killed(code: int, state: str, tmp_path: Path) -> None:
    write_mark(tmp_path, 1, time.time(), code)
    assert state_of(tmp_path, "x") == state


def test_what_hydra_adds_below_its_message_is_not_the_reason(tmp_path: Path) -> None:
    (tmp_path / "error.txt").write_text(
        "Traceback ...\nValueError('batch.group_size=1: at least 2')\nfull_key: batch\n "
        " object_type=dict\n"
    )
    assert why(tmp_path, 1) == "ValueError('batch.group_size=1: at least 2')"


def test_a_process_that_is_gone_or_is_another_one_by_now_does_not_run(tmp_path: Path) -> None:
    write_mark(tmp_path, os.getpid(), time.time())  # lives, but has nothing to do with the folder
    assert state_of(tmp_path, "x") == "stopped"
    write_mark(tmp_path, 2**22 + 1, time.time())
    assert state_of(tmp_path, "x") == "stopped"


def test_a_process_of_another_machine_runs_until_it_falls_silent(tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    path.write_text(
        json.dumps({"host": "elsewhere", "pid": 1, "started_s": 0.0, "exit_code": None})
    )
    assert state_of(tmp_path, "x") == "running"
    os.utime(path, (time.time() - SILENCE_S - 1,) * 2)
    assert state_of(tmp_path, "x") == "stopped"


def test_a_configuration_survives_freezing_with_its_hash(
    composed: Callable[..., object], job: Callable[..., Job], tmp_path: Path
) -> None:
    from omegaconf import OmegaConf

    cfg = composed(
        "shaping=full", "model=folder", "model.path=x", "optimizer.lr=1e-6", "loss.dual_clip=null"
    )
    one = Job(
        name="a",
        folder=tmp_path,
        values={},
        overrides=["shaping=full"],
        cfg=cfg,
        hydra=OmegaConf.create({}),
    )  # type: ignore[arg-type]
    one.freeze()
    from g2rpo.config_hash import config_hash

    frozen = one.frozen()
    assert frozen is not None
    assert config_hash(frozen) == one.hash
