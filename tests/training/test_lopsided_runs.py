"""Whole runs in which one rank has no group to learn from, and another one has no image."""

import json
import math
from pathlib import Path

import pytest
from cli.runs import NO_HELDOUT, SMALL, metrics
from launch.launchers import ended, lightning, started, torchrun

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PLUG_INS = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests' / 'cli' / 'plug_ins'}"}
RANKS = 3


@pytest.mark.parametrize("trainer", ["ddp", "fsdp"])
@pytest.mark.parametrize("launcher", [lightning, torchrun])
def test_ranks_without_groups_or_images_take_part_in_every_step(
    launcher, trainer: str, tiny_folder: Path, tmp_path: Path
) -> None:
    small = [word for word in SMALL if not word.startswith("reward_workers")]
    script = [str(ROOT / "train.py"), *small, NO_HELDOUT, f"model.path={tiny_folder}"]
    script += ["batch.prompts_per_step=6", "filter=online"]
    script += ["data._target_=lopsided.NoImagesOnRank2", "loss._target_=lopsided.Noted"]
    script += [
        "reward_workers=inline",
        "~reward",
        "+reward={_target_: lopsided.NoSignalOnRank1}",
        "hydra.run.dir=run",
    ]
    script += [f"trainer={trainer}", "trainer.accelerator=cpu", f"trainer.devices={RANKS}"]
    words = torchrun(script, size=RANKS) if launcher is torchrun else launcher(script)
    run = ended(started(words, tmp_path, PLUG_INS), tmp_path, limit_s=600)
    assert (run.codes, run.left) == ([0], []), run.text
    judged = [(tmp_path / f"judged{rank}").read_text().split() for rank in range(RANKS)]
    assert "0" not in judged[1]
    assert set(judged[2]) == {"0"}
    learned = [tmp_path / f"learned{rank}" for rank in range(RANKS)]
    assert [file.exists() for file in learned] == [True, False, True]
    rows = metrics(tmp_path / "run")
    assert len(rows) == 2
    for row in rows:
        norm = float(row["optim/grad_norm"])
        assert math.isfinite(norm)
        assert norm > 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())
