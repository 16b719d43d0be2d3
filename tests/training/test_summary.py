"""`summary.json`: its presence means that a run is finished."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from g2rpo.training.heldout import HeldoutResult
from g2rpo.training.summary import config_hash, summarize, write_summary

BEFORE = HeldoutResult(sampled={"macro": 0.25, "math": 0.25}, greedy={"macro": 0.5, "math": 0.5})
AFTER = HeldoutResult(sampled={"macro": 0.75, "math": 0.75}, greedy={"macro": 1.0, "math": 1.0})


def written(
    folder: Path, before: HeldoutResult = BEFORE, after: HeldoutResult = AFTER
) -> dict[str, Any]:
    cfg = OmegaConf.create({"seed": 1})
    write_summary(
        folder,
        summarize(
            cfg,
            steps=7,
            before=before,
            after=after,
            stage_s={"train": 1.5},
            drawn={"math": 9},
            skipped={},
        ),
    )
    return json.loads(
        (folder / "summary.json").read_text(), parse_constant=lambda name: f"{name} is no JSON"
    )


def test_scores_before_and_after_stand_under_their_own_names(tmp_path: Path) -> None:
    summary = written(tmp_path)
    assert (summary["status"], summary["steps"], summary["stage_s"], summary["benchmarks"]) == (
        "finished",
        7,
        {"train": 1.5},
        {},
    )
    assert summary["heldout"] == {
        "before": {"macro": 0.25, "math": 0.25},
        "after": {"macro": 0.75, "math": 0.75},
    }
    assert summary["heldout_greedy"] == {
        "before": {"macro": 0.5, "math": 0.5},
        "after": {"macro": 1.0, "math": 1.0},
    }
    assert {"g2rpo", "python", "torch", "transformers", "lightning", "hydra-core"} <= set(
        summary["versions"]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_without_heldout_prompts_the_file_is_json_all_the_same(tmp_path: Path) -> None:
    nothing = HeldoutResult(sampled={"macro": math.nan}, greedy={"macro": math.nan})
    assert written(tmp_path, nothing, nothing)["heldout"] == {"before": {}, "after": {}}


def test_the_hash_names_the_settings_and_not_the_place(composed: Callable[..., Any]) -> None:
    first, elsewhere, resumed, logged = (
        config_hash(composed(*overrides, "model=folder", "model.path=x"))
        for overrides in (
            ["run_dir=a"],
            ["run_dir=b"],
            ["run_dir=a", "resume=a"],
            ["run_dir=a", "logger=wandb"],
        )
    )
    assert first == elsewhere == resumed == logged
    others = [["seed=1"], ["advantage=grpo"], ["optimizer.lr=1e-5"], ["batch.prompts_per_step=5"]]
    hashes = {
        config_hash(composed(*overrides, "run_dir=a", "model=folder", "model.path=x"))
        for overrides in others
    }
    assert len(hashes | {first}) == 5
