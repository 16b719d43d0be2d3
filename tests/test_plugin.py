"""A plug-in needs nothing inside the repository: the example of CONTRIBUTING.md is written into an
empty folder and used from there.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from g2rpo.training.parts import build_parts

ROOT = Path(__file__).parents[1]

SOURCE = """
from g2rpo.records import Prompt


class Riddles:
    def __init__(self, *, answer: str) -> None:
        self.answer = answer

    def size(self, task: str, split: str) -> int | None:
        return 3 if task == "math" else 0

    def get(self, task: str, index: int, split: str) -> Prompt:
        return Prompt(
            id=f"riddle/{split}/{index}", task=task, text=f"{index}?", images=(),
            answer=self.answer, answer_type="numerical",
        )
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds the files of CONTRIBUTING.md's example: blocks of code whose first line
    is a path.
    """
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for path, code in re.findall(r"```(?:python|yaml)\n# (\S+/\S+)\n(.*?)```", text, flags=re.S):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(code)
    (tmp_path / "theirs" / "riddles.py").write_text(SOURCE)
    (tmp_path / "their_conf" / "data").mkdir()
    (tmp_path / "their_conf" / "data" / "riddles.yaml").write_text(
        '# Riddles.\n_target_: theirs.riddles.Riddles\nanswer: "42"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def _parts(elsewhere: Path, composed: Callable[..., Any], *overrides: str) -> Any:
    search = f"hydra.searchpath=[file://{elsewhere / 'their_conf'}]"
    return build_parts(composed(search, "model=tiny", f"run_dir={elsewhere}", *overrides))


def test_the_advantage_of_the_contributing_guide_builds_and_computes(
    elsewhere: Path, composed: Callable[..., Any]
) -> None:
    advantage = _parts(
        elsewhere, composed, "advantage=median", "advantage.scale=2.0"
    ).algorithm.advantage
    rewards, groups = torch.tensor([0.0, 3.0, 1.0, 1.0, 7.0, 9.0]), torch.tensor([4, 2, 4, 2, 4, 2])
    # group 4 holds 0, 1, 7 (median 1), group 2 holds 3, 1, 9 (median 3); twice the differences
    assert advantage(rewards, groups, torch.zeros(6, dtype=torch.long)).tolist() == [
        -2.0,
        0.0,
        0.0,
        -4.0,
        12.0,
        12.0,
    ]


def test_a_prompt_source_from_elsewhere_feeds_the_mixture(
    elsewhere: Path, composed: Callable[..., Any]
) -> None:
    parts = _parts(elsewhere, composed, "data=riddles", "task_mix=math", "data.answer='7'")
    assert parts.source.get("math", 2, "train").answer == "7"
    assert parts.source.size("chart", "train") == 0


def test_what_a_plug_in_refuses_is_said_with_its_key(
    elsewhere: Path, composed: Callable[..., Any]
) -> None:
    with pytest.raises(
        InstantiationException,
        match=r"(?s)advantage\.scale: expected a number above 0, got -1\.0.*full_key: advantage",
    ):
        _parts(elsewhere, composed, "advantage=median", "advantage.scale=-1.0")


@pytest.mark.process
def test_the_command_of_the_contributing_guide_finds_it(elsewhere: Path) -> None:
    (options,) = re.findall(
        r"^PYTHONPATH=\. python train\.py (.*)$", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.M
    )
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [".", os.environ.get("PYTHONPATH")]))
    }
    command = [sys.executable, str(ROOT / "train.py"), *options.split(), "--cfg", "job"]
    shown = subprocess.run(
        command, cwd=elsewhere, env=env, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert OmegaConf.create(shown.stdout).advantage == {
        "_target_": "theirs.median.MedianAdvantage",
        "scale": 1.0,
    }
