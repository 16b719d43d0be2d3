"""Every file of sweeps/ composes, every job of it builds its parts, and the command of its second
line is what it says.
"""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from g2rpo.config_hash import config_hash
from g2rpo.training.parts import build_parts

ROOT = Path(__file__).parents[1]
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
SMALL = [
    "trainer.max_steps=1",
    "batch.prompts_per_step=2",
    "batch.group_size=2",
    "heldout.prompts_per_task=1",
    "heldout.samples=1",
    "gradient_conflict=none",
    "filter=none",
    "reward_workers=inline",
    "rollout.max_new_tokens=8",
]


def params(file: Path) -> dict[str, str]:
    return {
        str(key): str(value) for key, value in OmegaConf.load(file).hydra.sweeper.params.items()
    }


def grid(file: Path) -> list[list[str]]:
    """Overrides of every job but those that differ by the seed alone; of a continuous range both
    ends.
    """
    choices = []
    for key, value in params(file).items():
        (override,) = OverridesParser.create().parse_overrides([f"{key}={value}"])
        if override.is_sweep_override() and not override.is_discrete_sweep():
            found = override.value()
            choices.append([f"{key}={found.start}", f"{key}={found.end}"])
        else:
            values = (
                list(override.sweep_string_iterator())
                if override.is_sweep_override()
                else [override.get_value_element_as_str()]
            )
            choices.append([f"{key}={one}" for one in (values[:1] if key == "seed" else values)])
    return [list(job) for job in itertools.product(*choices)]


def composed_job(file: Path, overrides: list[str]) -> Any:
    path = OmegaConf.to_container(OmegaConf.load(file).defaults)
    assert isinstance(path, list)
    # without Hydra's own groups, which only the multirun needs, and which optional packages bring
    groups = {
        k.removeprefix("override "): v
        for entry in path
        if isinstance(entry, dict)
        for k, v in entry.items()
        if "hydra/" not in k
    }
    given = [
        f"{'+' if group == 'row' else ''}{group}={name}"
        for group, name in groups.items()
        if f"{group}=" not in " ".join(overrides)
    ]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        words = [f"+{word}" if word.startswith("row=") else word for word in overrides]
        return compose("config", [f"hydra.searchpath=[file://{ROOT / 'sweeps'}]", *given, *words])


@pytest.mark.parametrize(
    "file",
    [
        # a search of 30 trials
        pytest.param(file, marks=pytest.mark.slow) if file.stem == "shaping_search" else file
        for file in SWEEPS
    ],
    ids=lambda file: file.stem,
)
def test_every_job_of_a_sweep_builds_its_parts(file: Path) -> None:
    hashes = set()
    for overrides in grid(file):
        cfg = composed_job(file, overrides)
        build_parts(cfg)
        hashes.add(config_hash(cfg))
    assert len(hashes) == len(grid(file))


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_a_sweep_says_its_question_its_cost_and_its_command_first_and_varies_the_seed_openly(
    file: Path,
) -> None:
    first, second = file.read_text().splitlines()[:2]
    assert re.match(r"# .*\? .*(runs|jobs|run each).*hours? on two cores", first)
    assert second.startswith(f"# python train.py -cd sweeps -cn {file.stem} -m")
    assert "seed" in params(file)
    plain = OmegaConf.load(file).hydra
    assert (plain.mode, plain.sweep.dir) == ("MULTIRUN", f"outputs/sweeps/{file.stem}")


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_the_number_of_jobs_in_the_first_line_is_that_of_the_grid(file: Path) -> None:
    plain = OmegaConf.load(file).hydra.sweeper
    seeds = len(params(file)["seed"].split(","))
    jobs = plain.n_trials if "n_trials" in plain else len(grid(file)) * seeds
    assert re.search(rf"\b{jobs} (demo runs|jobs|trials)", file.read_text().splitlines()[0])


@pytest.mark.process
def test_a_row_of_the_ablation_wins_over_a_recipe() -> None:
    cfg = composed_job(ROOT / "sweeps" / "paper_ablation.yaml", ["row=full"])
    assert (cfg.advantage._target_, cfg.shaping.length is None, cfg.shaping.entropy is None) == (
        "g2rpo.algorithm.advantage.g2rpo.G2RPO",
        False,
        False,
    )
    done = command(
        ["-cn", "paper_ablation", "row=full", "experiment=grpo_baseline", "--cfg", "job"]
    )
    assert done.returncode == 0, done.stderr
    recipe = OmegaConf.create(done.stdout)
    assert (recipe.advantage._target_, recipe.trainer.max_steps) == (
        "g2rpo.algorithm.advantage.g2rpo.G2RPO",
        400,
    )
    assert recipe.shaping.length is not None


def command(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "train.py", "-cd", "sweeps", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.process
def test_an_unknown_choice_fails_before_the_first_job(tmp_path: Path) -> None:
    done = command(
        ["-cn", "paper_ablation", "-m", "row=base,grop", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    )
    assert done.returncode != 0
    assert "Could not find 'row/grop'" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()] == []


@pytest.mark.process
def test_a_rank_of_another_run_starts_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    done = command(["-cn", "paper_ablation", "-m", f"hydra.sweep.dir={tmp_path / 'sweep'}"])
    assert done.returncode != 0
    assert "a sweep is started once, not by every rank" in done.stderr


@pytest.mark.process
@pytest.mark.slow
def test_a_sweep_trains_each_job_in_a_process_of_its_own_and_the_base_not_at_all(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "sweep"
    words = [
        "-cn",
        "paper_ablation",
        "-m",
        "row=base,grpo",
        "seed=3",
        *SMALL,
        f"hydra.sweep.dir={folder}",
    ]
    done = command(words)
    assert done.returncode == 0, done.stderr
    summaries = {
        name: json.loads((folder / f"row={name},seed=3" / "summary.json").read_text())
        for name in ("base", "grpo")
    }
    assert {name: summary["steps"] for name, summary in summaries.items()} == {"base": 0, "grpo": 1}
    plan = json.loads((folder / "sweep.json").read_text())["jobs"]
    assert {name: summary["config_hash"] for name, summary in summaries.items()} == {
        name: plan[f"row={name},seed=3"]["config_hash"] for name in summaries
    }
    choices = OmegaConf.load(
        folder / "row=grpo,seed=3" / ".hydra" / "hydra.yaml"
    ).hydra.runtime.choices
    assert (choices.advantage, choices.row) == ("grpo", "grpo")
    assert (folder / "row=base,seed=3" / "report.html").is_file()
    assert (folder / "sweep.html").is_file()
    lines = [line for line in done.stdout.splitlines() if "held-out" in line]
    assert [line.partition("] ")[2].partition(" ")[0] for line in lines] == ["1/2", "2/2"]
    assert "done already" in command(words).stdout


@pytest.mark.process
@pytest.mark.slow
def test_ranks_of_a_job_train_that_job_and_start_no_sweep(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    ranks = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
    done = command(
        [
            "-cn",
            "advantage_ablation",
            "-m",
            "advantage=grpo,g2rpo",
            "seed=0",
            *SMALL,
            *ranks,
            f"hydra.sweep.dir={folder}",
        ]
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "advantage=g2rpo,seed=0",
        "advantage=grpo,seed=0",
    ]
    for job in ("advantage=g2rpo,seed=0", "advantage=grpo,seed=0"):
        assert json.loads((folder / job / "summary.json").read_text())["steps"] == 1
        console = (folder / job / "console.log").read_text()
        assert "MEMBER: 2/2" in console
        assert "[HYDRA]" not in console


@pytest.mark.process
@pytest.mark.slow
def test_a_search_maximises_the_held_out_score_and_takes_the_same_way_again(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs the extra [sweeps]")
    folder = tmp_path / "sweep"
    words = [
        "-cn",
        "shaping_search",
        "-m",
        *SMALL,
        "hydra.sweeper.n_trials=2",
        f"hydra.sweep.dir={folder}",
    ]
    first = command(words)
    assert first.returncode == 0, first.stderr
    jobs = json.loads((folder / "sweep.json").read_text())["jobs"]
    found = OmegaConf.load(folder / "optimization_results.yaml")
    scores = [
        json.loads((folder / name / "summary.json").read_text())["heldout"]["after"]["macro"]
        for name in jobs
    ]
    assert len(jobs) == 2
    assert found.best_value == max(scores)
    second = command([*words, "hydra.sweeper.n_trials=3"])
    assert second.returncode == 0, second.stderr
    assert "1/3 done already" in second.stdout
    assert list(json.loads((folder / "sweep.json").read_text())["jobs"])[:2] == list(jobs)
