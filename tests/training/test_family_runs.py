"""Runs with models of all families: trained, killed, resumed, with an adapter, used afterwards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_families import BUILDERS, SMALL
from transformers import AutoModelForImageTextToText

from g2rpo import cli
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.choose_family import families

QUICK = "smolvlm"
KINDS = [
    kind if kind == QUICK else pytest.param(kind, marks=pytest.mark.slow)
    for kind in sorted(BUILDERS)
]
LAYERS = ("model.adapter.targets=[q_proj,v_proj]", "loss.kl_coef=0.1")
"""Layers that every family has; experts are no linear layers."""
Run = Callable[..., Path]


@pytest.fixture
def run(composed: Callable[..., Any], tmp_path: Path) -> Run:
    """`run(kind, "a", ...)` trains a tiny checkpoint in folder `a` and returns its checkpoints."""

    def train(kind: str, name: str, *overrides: str) -> Path:
        if not (tmp_path / "base").exists():
            BUILDERS[kind](tmp_path / "base")
        prefix = "shared" if families()[kind].shares_prefix else "repeated"
        options = (f"model.path={tmp_path / 'base'}", f"policy.prefix={prefix}", *overrides)
        cli.train(composed(*SMALL, *options, f"run_dir={tmp_path / name}"))
        return tmp_path / name / "checkpoints"

    return train


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on_as_if_it_had_not_been(kind: str, run: Run, tmp_path: Path) -> None:
    whole = run(kind, "whole", "trainer.max_steps=3")
    run(kind, "killed", "trainer.max_steps=1")
    resumed = run(kind, "killed", "trainer.max_steps=3", f"resume={tmp_path / 'killed'}")
    weights, again, base = (
        load_file(folder / "model.safetensors")
        for folder in (whole / "final", resumed / "final", tmp_path / "base")
    )
    assert weights.keys() == again.keys() == base.keys()
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    assert any(not torch.equal(value, base[name]) for name, value in weights.items())
    assert AutoModelForImageTextToText.from_pretrained(whole / "final").config.model_type == kind


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_trained_merged_and_trained_further(
    kind: str, run: Run, tmp_path: Path
) -> None:
    from peft import PeftModel

    first = run(kind, "first", "trainer.max_steps=1", "model/adapter=lora", *LAYERS)
    merged = Checkpoint(path=str(first / "final")).policy().state_dict()
    base = AutoModelForImageTextToText.from_pretrained(tmp_path / "base")
    by_peft = PeftModel.from_pretrained(base, str(first / "adapter")).merge_and_unload()
    for name, value in by_peft.state_dict().items():
        assert torch.allclose(value, merged[name], atol=1e-6), name
    more = (f"model.adapter.path={first / 'adapter'}", "trainer.max_steps=1")
    second = run(kind, "second", *more)
    before, after = (
        load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (first, second)
    )
    assert before.keys() == after.keys()
    steps = [(after[name] - before[name]).abs().max() for name in before]
    assert 0 < max(steps) < 0.01  # one step from there, not from zero


def test_a_family_from_a_file_is_trained_without_a_change_of_the_package(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "my_family.py"
    file.write_text(
        "from pathlib import Path\n\n"
        "from g2rpo.policy.family.idefics3 import Idefics3\n\n\n"
        "class Mine(Idefics3):\n"
        "    model_types = ('smolvlm',)\n\n"
        "    def image_features(self, policy, batch):\n"
        "        Path(__file__).with_suffix('.seen').touch()\n"
        "        return super().image_features(policy, batch)\n"
    )
    run(QUICK, "mine", "trainer.max_steps=1", f"model.family={file}")
    assert file.with_suffix(".seen").exists()
