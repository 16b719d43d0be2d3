"""`pilot.py` end to end: asks, writes a file that is a valid choice, and leaves the weights
alone.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from g2rpo.training.pilot_run import measure_bands

SMALL = (
    "pilot.prompts_per_task=3",
    "task_mix=generalist",
    "batch.group_size=4",
    "batch.prompts_per_step=2",
    "rollout.max_new_tokens=8",
    "trainer.accelerator=cpu",
)


def run(composed: Callable[..., Any], folder: Path, conf: Path | None, *overrides: str) -> float:
    return measure_bands(composed(*SMALL, f"run_dir={folder}", *overrides, config="pilot"), conf)


def test_a_pilot_writes_a_shaping_file_that_builds_and_keeps_the_one_it_replaces(
    composed: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "conf"
    (conf / "shaping").mkdir(parents=True)
    (conf / "shaping" / "proposed.yaml").write_text("old: true\n")
    accuracy = run(composed, tmp_path / "run", conf)
    shown = capsys.readouterr().out
    written = (conf / "shaping" / "proposed.yaml").read_text()
    assert written == (tmp_path / "run" / "shaping" / "proposed.yaml").read_text()
    assert (tmp_path / "run" / "proposed.replaced.yaml").read_text() == "old: true\n"
    shaping = instantiate(OmegaConf.create(written), _convert_="all")
    assert (shaping.entropy.low > 0).all()
    measured = json.loads((tmp_path / "run" / "pilot.json").read_text())
    assert {task: found["prompts"] for task, found in measured.items()} == dict.fromkeys(
        measured, 3
    )
    assert all(
        found["completions"] == 12 and found["tokens"][4] <= 8 for found in measured.values()
    )
    assert accuracy == pytest.approx(sum(found["accuracy"] for found in measured.values()) / 6)
    assert "next: python train.py shaping=proposed, with" in shown.replace("\n", " ")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_without_a_configuration_folder_the_file_stays_in_the_run_and_is_found_from_there(
    composed: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(composed, tmp_path / "run", None, "task_mix=math", "pilot.name=mine")
    found = composed("shaping=mine", f"hydra.searchpath=[file://{tmp_path / 'run'}]")
    assert list(found.shaping.length.bands) == ["math"]
    assert f"shaping=mine 'hydra.searchpath=[file://{tmp_path / 'run'}]'" in capsys.readouterr().out


def test_a_pilot_repeats_itself(composed: Callable[..., Any], tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        run(composed, tmp_path / name, None, "task_mix=chart")
        texts.append((tmp_path / name / "pilot.json").read_text())
    assert texts[0] == texts[1]
