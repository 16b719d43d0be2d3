"""Whole runs in bf16-mixed and with bfloat16 weights: dtypes of what they leave, and resuming."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from g2rpo import cli

SMALL = (
    "model=folder",
    "heldout=none",
    "batch.prompts_per_step=2",
    "batch.group_size=2",
    "batch.num_minibatches=2",
    "rollout.max_new_tokens=4",
    "filter=none",
    "reward_workers=inline",
    "task_mix=math",
    "optimizer.lr=1e-5",
    "trainer.accelerator=cpu",
    "callbacks.checkpoint.every_n_train_steps=2",
)
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(composed: Callable[..., Any], tiny_folder: Path, tmp_path: Path) -> Run:
    """`run("a", ...)` trains in folder `a` and returns its last checkpoint."""

    def train(name: str, *overrides: str) -> dict[str, Any]:
        folder = tmp_path / name
        cli.train(composed(*SMALL, f"model.path={tiny_folder}", f"run_dir={folder}", *overrides))
        last: dict[str, Any] = torch.load(folder / "checkpoints/last.ckpt", weights_only=False)
        return last

    return train


def test_bf16_mixed_keeps_float32_to_resume_from_and_exports_bfloat16(
    run: Run, tmp_path: Path
) -> None:
    last = run("mixed", "trainer.precision=bf16-mixed", "trainer.max_steps=2", "loss.kl_coef=0.1")
    states = last["optimizer_states"][0]["state"].values()
    assert {value.dtype for value in last["state_dict"].values()} == {torch.float32}
    assert {state["exp_avg"].dtype for state in states} == {torch.float32}
    final = load_file(tmp_path / "mixed/checkpoints/final/model.safetensors")
    assert {value.dtype for value in final.values()} == {torch.bfloat16}
    rounded = last["state_dict"]["policy.model.language_model.norm.weight"].bfloat16()
    assert torch.equal(final["model.language_model.norm.weight"], rounded)


@pytest.mark.slow
def test_bfloat16_weights_with_compensation_resume_to_the_bit(run: Run) -> None:
    low = ("model.dtype=bfloat16", "optimizer=adamw_kahan", "optimizer.lr=1e-5")
    whole = run("whole", *low, "trainer.max_steps=4")
    run("killed", *low, "trainer.max_steps=2")
    folder = Path(whole["hyper_parameters"]["run_dir"]).with_name("killed")
    resumed = run("killed", *low, "trainer.max_steps=4", f"resume={folder}")
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    for index, state in whole["optimizer_states"][0]["state"].items():
        other = resumed["optimizer_states"][0]["state"][index]
        assert all(torch.equal(value, other[name]) for name, value in state.items())
        assert state["kahan_comp"].abs().max() > 0 or not state["exp_avg"].abs().max()
