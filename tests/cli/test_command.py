"""`g2rpo <program>` in a checkout and from an installed wheel: the same programs, the same
words.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_families import BUILDERS

from g2rpo.cli.command import PROGRAMS, main

ROOT = Path(__file__).parents[2]
OWN = ("gui", "counting", "medical")


def g2rpo(
    *words: str, cwd: Path, program: tuple[str, ...] = (sys.executable, "-m", "g2rpo"), **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program, *words],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_help_names_every_program_and_every_program_has_a_script(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main([])
    shown = capsys.readouterr().out
    assert [name for name in (*PROGRAMS, "report", "sweep") if f"\n  {name} " not in shown] == []
    scripts = {file.stem.replace("_", "-") for file in ROOT.glob("*.py")}
    assert scripts == set(PROGRAMS)


def test_an_unknown_program_is_answered_with_the_programs() -> None:
    with pytest.raises(
        SystemExit, match=r"unknown program 'trian'; expected one of: train, evaluate, .*sweep"
    ):
        main(["trian"])
    with pytest.raises(
        SystemExit, match=r"unknown sweep 'advantages'; expected one of: advantage_ablation, "
    ):
        main(["sweep", "advantages"])


def test_sweeps_are_listed_with_their_questions(capsys: pytest.CaptureFixture[str]) -> None:
    main(["sweep"])
    shown = capsys.readouterr().out
    assert [
        file.stem for file in (ROOT / "sweeps").glob("*.yaml") if f"  {file.stem} " not in shown
    ] == []
    assert "Which advantage estimator?" in shown


@pytest.mark.process
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_program_composes_by_name_as_its_script_does(name: str, tmp_path: Path) -> None:
    by_name = g2rpo(name, "--cfg", "job", cwd=tmp_path)
    by_script = subprocess.run(
        [sys.executable, str(ROOT / f"{name.replace('-', '_')}.py"), "--cfg", "job"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert by_name.returncode == 0, by_name.stderr
    assert by_name.stdout == by_script.stdout
    assert "model:" in by_name.stdout


@pytest.mark.process
def test_a_sweep_by_name_composes_its_jobs(tmp_path: Path) -> None:
    done = g2rpo("sweep", "advantage_ablation", "advantage=grpo,grop", "seed=0", cwd=tmp_path)
    assert done.returncode == 1
    assert "Could not find 'advantage/grop'" in done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the wheel alone; it sees the libraries of this
    one.
    """
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"no wheel can be built here: {built.stderr[-200:]}")
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True
    )
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    subprocess.run(
        [*pip, "--python", str(folder / "venv"), "install", "--no-deps", "--no-index", str(wheel)],
        check=True,
    )
    (libraries,) = {path for path in sys.path if path.endswith("site-packages")}
    # a plain path entry: the .pth files of that folder, an editable g2rpo among them, are not
    # followed
    (site / "libraries.pth").write_text(f"{libraries}\n")
    return folder / "venv" / "bin"


@pytest.mark.process
@pytest.mark.slow
def test_the_wheel_brings_the_programs_their_configuration_and_the_sweeps(
    installed: Path, tmp_path: Path
) -> None:
    program = (str(installed / "g2rpo"),)
    help_ = g2rpo("--help", cwd=tmp_path, program=program, PYTHONPATH="")
    assert help_.returncode == 0, help_.stderr
    assert "g2rpo <program>" in help_.stdout
    checked = g2rpo("doctor", cwd=tmp_path, program=program, PYTHONPATH="")
    assert checked.returncode == 0, checked.stdout
    assert f"{installed.parent}/lib" in checked.stdout  # the installed files, not the checkout's
    package = next(installed.parent.glob("lib/python*/site-packages/g2rpo"))
    assert {file.name for file in (ROOT / "examples").glob("*.sbatch")} == {
        file.name for file in (package / "examples").iterdir()
    }
    assert (package / "py.typed").is_file()
    small = [
        "trainer.max_steps=2",
        "batch.prompts_per_step=2",
        "batch.group_size=2",
        "heldout.prompts_per_task=1",
        "rollout.max_new_tokens=16",
    ]
    done = g2rpo(
        "train",
        "experiment=smoke",
        *small,
        "filter=none",
        "hydra.run.dir=run",
        cwd=tmp_path,
        program=program,
        PYTHONPATH="",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 2
    scored = ["heldout.prompts_per_task=1", "rollout.max_new_tokens=16", "hydra.run.dir=scored"]
    checkpoint = ["model=folder", "model.path=run/checkpoints/final"]
    benchmarks = ["eval.benchmarks=[chartqa]", "eval.limit=2", "eval.rows=demo"]
    done = g2rpo(
        "evaluate",
        *checkpoint,
        *scored,
        "eval=quick",
        *benchmarks,
        cwd=tmp_path,
        program=program,
        PYTHONPATH="",
    )
    assert done.returncode == 0, done.stderr
    assert "chartqa" in (tmp_path / "scored" / "eval" / "table.csv").read_text()
    sweep = [
        "advantage_ablation",
        "advantage=grpo,g2rpo",
        "seed=0",
        *small,
        "filter=none",
        "gradient_conflict=none",
        "hydra.sweep.dir=sweep",
    ]
    done = g2rpo("sweep", *sweep, cwd=tmp_path, program=program, PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "sweep").glob("*/summary.json"))) == 2
    many = ["seed=0,1", *small, "filter=none", "hydra.sweep.dir=many"]
    done = g2rpo(
        "train", "-m", "experiment=smoke", *many, cwd=tmp_path, program=program, PYTHONPATH=""
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "many").glob("*/summary.json"))) == 2
    assert (
        g2rpo("report", "sweep", cwd=tmp_path, program=program, PYTHONPATH="").stdout.strip()
        == "sweep/sweep.html"
    )


@pytest.mark.process
@pytest.mark.slow
def test_the_wheel_takes_tasks_rewards_and_models_of_others_from_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    BUILDERS["smolvlm"](tmp_path / "model")
    shared = {"text": "?", "answer_type": "numerical"}
    rows = [{"id": str(i), "task": OWN[i % 3], "answer": str(i), **shared} for i in range(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "mine.py").write_text(
        "def variety(completions, **kwargs):\n"
        "    return [len(set(text)) / 100 for text in completions]\n\n\n"
        "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
        "    return {'score': float(ground_truth in solution_str), 'chars': len(solution_str)}\n"
    )
    options = (
        "data=jsonl",
        "data.files=rows.jsonl",
        "data.root=.",
        "data.heldout=0",
        "heldout=none",
        "model=folder",
        "model.path=model",
        "reward=functions",
        "reward.functions=[mine.py:variety,mine.py:compute_score]",
        "batch.prompts_per_step=3",
        "batch.group_size=2",
        "rollout.max_new_tokens=4",
        "filter=none",
        "trainer.accelerator=cpu",
        "hydra.run.dir=run",
    )
    program = (str(installed / "g2rpo"),)
    for more in (("trainer.max_steps=2",), ("trainer.max_steps=3", "resume=run")):
        done = g2rpo("train", *options, *more, cwd=tmp_path, program=program, PYTHONPATH="")
        assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["step"] for row in found] == ["1", "2", "3"]
    parts = [f"reward/{part}/{task}" for part in ("variety", "chars") for task in OWN]
    assert [row[name] for row in found for name in parts if not row[name]] == []
    page = g2rpo("report", "run", cwd=tmp_path, program=program, PYTHONPATH="")
    assert page.returncode == 0, page.stderr
    text = (tmp_path / "run" / "report.html").read_text()
    assert [name for name in (*OWN, "variety") if name not in text] == []
