"""A benchmark is one .py and one .yaml, also outside this repository: found by name, asked, and
found again by a job of a sweep.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate

from g2rpo.benchmark.evaluation import by_name
from g2rpo.benchmark.evaluation.by_name import benchmark_names, benchmark_settings, selected
from g2rpo.data.gym.source import TASKS

ROOT = Path(__file__).parents[3]
THEIRS = """
from g2rpo.benchmark.multiple_choice import MultipleChoice


class Colors(MultipleChoice):
    name = "colors"
    task = "chart"
    demo_task = "general_vqa"

    def demo(self, prompt, number, wrong):
        row = {"index": number, "question": prompt.text, "image": prompt.images[0], "answer": "A"}
        return [row | dict(zip("ABCD", [prompt.answer, *wrong]))]
"""


def test_names_are_the_files_of_the_folder() -> None:
    assert benchmark_names() == sorted(
        file.stem for file in (ROOT / "conf" / "benchmark").glob("*.yaml")
    )
    assert benchmark_settings("mmstar")["_target_"] == "g2rpo.benchmark.mmstar.MMStar"


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"unknown benchmark 'chartqs'; did you mean chartqa\? expected some of: ai2d,"
            r" .*robospatial"
        ),
    ):
        benchmark_settings("chartqs")


def test_quick_stands_for_one_benchmark_of_each_task_also_for_ones_own(
    composed: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = composed("run_dir=x", "eval=quick").eval.benchmarks
    names = selected(chosen, dict)
    built = [instantiate(composed("run_dir=x", f"+benchmark@probe={name}").probe) for name in names]
    assert [one.task for one in built] == [*dict.fromkeys(one.task for one in built)]
    assert {one.task for one in built} == set(TASKS)
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "colors.yaml").write_text("_target_: theirs.Colors\nquick: true\n")
    monkeypatch.setattr(by_name, "_folders", lambda: iter([tmp_path, ROOT / "conf"]))
    assert selected("quick", dict) == sorted([*names, "colors"])


def test_a_name_without_brackets_is_answered_with_brackets() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'eval\.benchmarks=\[mmmu\]'\?"):
        selected("mmmu", dict)


def test_no_benchmark_is_composed_into_a_run_and_one_of_them_can_still_be_built_alone(
    composed: Callable[..., Any],
) -> None:
    cfg = composed("run_dir=x", "+benchmark@probe=mmmu")
    assert cfg.eval.suite == {}
    assert cfg.probe._target_ == "g2rpo.benchmark.mmmu.MMMU"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder with a benchmark that g2rpo has never heard of."""
    (tmp_path / "their_colors.py").write_text(THEIRS)
    (tmp_path / "conf" / "benchmark").mkdir(parents=True)
    (tmp_path / "conf" / "benchmark" / "colors.yaml").write_text(
        "# Theirs.\n_target_: their_colors.Colors\n"
    )
    return tmp_path


SMALL = (
    "heldout=none",
    "eval.benchmarks=[colors,mmstar]",
    "eval.rows=demo",
    "eval.limit=2",
    "eval.max_new_tokens=4",
    "reward_workers=inline",
)


@pytest.mark.process
@pytest.mark.parametrize(
    "program",
    [
        ["evaluate.py"],
        pytest.param(
            ["train.py", "-m", "seed=3", "trainer.limit_train_batches=0"], marks=pytest.mark.slow
        ),
    ],
)
def test_a_benchmark_of_ones_own_is_asked_beside_ours(program: list[str], theirs: Path) -> None:
    where = [f"hydra.run.dir={theirs / 'run'}", f"hydra.sweep.dir={theirs / 'run'}"]
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / program[0]),
            "--config-dir",
            str(theirs / "conf"),
            *program[1:],
            *SMALL,
            *where,
        ],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(theirs), os.environ.get("PYTHONPATH", "")])},
        cwd=theirs,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (summary,) = (theirs / "run").rglob("summary.json")
    found = json.loads(summary.read_text())["benchmarks"]
    assert list(found) == ["colors", "mmstar"]
    assert (found["colors"]["rows"], "published" in found["colors"]) == (2, False)
