"""Which W&B run a folder is, and which group it belongs to."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from g2rpo.training.tracking.identity import chosen, group_name, run_id, run_name, tags


def test_an_agent_decides_the_id_of_a_new_run_but_not_of_a_resumed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "fromagent")
    assert run_id(tmp_path, resumed=False) == "fromagent"
    monkeypatch.setenv("WANDB_RUN_ID", "another")
    assert run_id(tmp_path, resumed=True) == "fromagent"


def test_a_run_that_was_not_in_wandb_before_gets_an_id_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    first = run_id(tmp_path, resumed=True)
    assert run_id(tmp_path, resumed=True) == first
    assert run_id(tmp_path, resumed=False) != first


def test_a_sweep_named_by_a_clock_is_told_apart_by_its_day(tmp_path: Path) -> None:
    sweep = tmp_path / "2026-11-24" / "23-52-19"
    (sweep / "advantage=grpo" / "seed=1").mkdir(parents=True)
    (sweep / "multirun.yaml").touch()
    assert group_name(sweep / "advantage=grpo" / "seed=1") == "2026-11-24/23-52-19"


def test_a_single_run_has_no_group(tmp_path: Path) -> None:
    assert group_name(tmp_path / "2026-11-24" / "23-52-19") is None


def test_a_run_is_named_and_tagged_by_what_was_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "2026-01-02" / "03-04-05"
    (folder / ".hydra").mkdir(parents=True)
    assert (run_name(folder), tags(folder), chosen(folder)) == ("2026-01-02/03-04-05", [], {})
    choices = {
        "advantage": "g2rpo",
        "model": "tiny",
        "task_mix": "generalist",
        "hydra/launcher": "g2rpo",
        "experiment": None,
        "rows@eval.rows": "hub",
    }
    hydra = {"hydra": {"runtime": {"choices": choices}, "overrides": {"task": ["seed=3"]}}}
    OmegaConf.save(OmegaConf.create(hydra), folder / ".hydra" / "hydra.yaml")
    OmegaConf.save(OmegaConf.create({"seed": 3}), folder / ".hydra" / "config.yaml")
    assert run_name(folder) == "g2rpo-tiny-generalist-s3"
    assert tags(folder) == ["advantage=g2rpo", "model=tiny", "task_mix=generalist"]
    assert chosen(folder)["overrides"] == ["seed=3"]
