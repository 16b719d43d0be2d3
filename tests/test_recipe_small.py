"""The paper's recipe from end to end on two sharded CPU processes with vLLM: see
examples/recipe_small.sh.
"""

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest
import recipe_small
from omegaconf import OmegaConf
from transformers import AutoConfig

ROOT = Path(__file__).parents[1]
SMALLER = {
    "batch.prompts_per_step",
    "batch.micro_batch_tokens",
    "callbacks.checkpoint.every_n_train_steps",
    "data.files",
    "data.loading.max_prompt_tokens",
    "data.loading.workers",
    "rollout.max_model_len",
    "rollout.max_new_tokens",
    "trainer.max_steps",
}
"""Widths and counts of the recipe that the script may change."""


def recipe() -> dict[str, object]:
    """The keys of the recipe's yaml and their values."""
    found: dict[str, object] = {}

    def note(prefix: str, node: object) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                note(f"{prefix}{key}.", value)
            elif key != "defaults":
                found[f"{prefix}{key}"] = value

    path = ROOT / "conf" / "experiment" / "openvlthinker_v2.yaml"
    note("", OmegaConf.to_container(OmegaConf.load(path)))
    return found


def test_the_script_changes_widths_and_counts_only() -> None:
    text = (ROOT / "examples" / "recipe_small.sh").read_text().replace("\\\n", " ")
    command = next(line for line in text.splitlines() if line.startswith("python train.py"))
    keys = {word.partition("=")[0] for word in command.split()[2:] if "=" in word}
    assert keys & set(recipe()) == SMALLER & set(recipe())
    assert not {"trainer", "rollout", "filter", "shaping", "reward", "loss", "optimizer"} & keys


def test_the_tokenizer_has_as_many_tokens_as_the_real_one() -> None:
    words = recipe_small.tokenizer()
    assert len(words) == 151_936
    config = recipe_small.config(words)
    assert config.text_config.vocab_size == 151_936
    assert words.decode([config.image_token_id]) == "<|image_pad|>"
    for answer in recipe_small.ANSWERS:
        assert len(words.encode(answer)) == 1


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.process
def test_the_recipe_runs_end_to_end(tmp_path: Path) -> None:
    sample = ROOT.parent / "shared" / "data" / "openvlthinker_sample_train.json"
    rows = [str(sample)] if sample.is_file() else [""]
    done = subprocess.run(
        ["bash", str(ROOT / "examples" / "recipe_small.sh"), str(tmp_path), *rows],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    run = tmp_path / "run"
    used = OmegaConf.load(run / ".hydra" / "config.yaml")
    for key, value in recipe().items():
        if key not in SMALLER:
            assert OmegaConf.select(used, key) == value, key
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", 8)
    with (run / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["rollout_batch"] for row in table if row.get("rollout_batch")][-1:] == ["2.0"]
    gaps = [float(row["rollout/sync_logprob_gap"]) for row in table if row["rollout_batch"]]
    assert len(gaps) == 2
    assert max(gaps) < 0.5  # bfloat16
    final = AutoConfig.from_pretrained(run / "checkpoints" / "final")
    assert final.text_config.vocab_size == 151_936
