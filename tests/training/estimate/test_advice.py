"""Advice is a command line: each is applied to a composed configuration, which must then need less
memory than before and have another value than before.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from g2rpo.training.estimate.advice import advise
from g2rpo.training.estimate.changes import Setup
from g2rpo.training.estimate.shape import Shape
from g2rpo.training.estimate.total import GIB, Estimate
from g2rpo.training.estimate_run import estimated
from g2rpo.training.parts import build_parts

GPU = ("estimate.tflops=989", "estimate.gb_per_s=3350", "estimate.prompt_tokens=3000")
TINY = ("estimate.prompt_tokens=60", "estimate.image_tokens=16", "trainer.accelerator=cpu")
Model = "model=qwen3_vl_8b"
GRID = {
    "whole model, one GPU": (Model, *GPU, "estimate.gib=60"),
    "float32 masters": (
        Model,
        *GPU,
        "estimate.gib=80",
        "model.dtype=float32",
        "trainer.precision=bf16-mixed",
        "trainer=ddp",
        "trainer.devices=8",
        "rollout=vllm",
        "batch.micro_batch_prompts=1",
    ),
    "a KL term and an engine that stays awake": (
        Model,
        *GPU,
        "estimate.gib=40",
        "loss.kl_coef=0.1",
        "rollout=vllm",
        "rollout.sleep=false",
        "rollout.gpu_memory_utilization=0.7",
        "batch.micro_batch_tokens=200000",
    ),
    "no checkpointing, repeated prompts": (
        "model=qwen3_vl_2b",
        *GPU,
        "estimate.gib=24",
        "model.gradient_checkpointing=false",
        "policy.prefix=repeated",
        "batch.group_size=16",
    ),
    "LoRA, long completions": (
        "model=qwen3_vl_4b",
        "model/adapter=lora",
        *GPU,
        "estimate.gib=24",
        "rollout=vllm",
        "rollout.max_new_tokens=16384",
        "batch.micro_batch_prompts=1",
    ),
    "float32 masters, sharded, too little for their moments": (
        Model,
        *GPU,
        "estimate.gib=45",
        "model.dtype=float32",
        "trainer.precision=bf16-mixed",
        "trainer=fsdp",
        "trainer.devices=2",
        "rollout=vllm",
        "rollout.gpu_memory_utilization=0.5",
        "batch.micro_batch_prompts=1",
    ),
    "the small model": (*TINY, "estimate.gib=1.3", "batch.group_size=64"),
}
FAST = "the small model"
"""The grid takes half a minute; this entry is part of the fast suite."""


def found(composed: Callable[..., Any], tmp_path: Path, options: tuple[str, ...]) -> tuple:
    cfg = composed(*options, f"run_dir={tmp_path}", config="estimate")
    parts = build_parts(cfg)
    result: Estimate = estimated(cfg, parts, lambda: [])
    return cfg, result


@pytest.mark.parametrize(
    "name", [name if name == FAST else pytest.param(name, marks=pytest.mark.slow) for name in GRID]
)
def test_every_advice_changes_a_setting_and_lowers_the_estimate(
    composed: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    options = GRID[name]
    cfg, before = found(composed, tmp_path, options)
    assert before.peak > before.device.memory
    assert before.advice
    last = before
    for step in before.advice:
        options = (*options, *step.override.split())
        changed, after = found(composed, tmp_path, options)
        for part in step.override.split():
            key = part.partition("=")[0].lstrip("+").replace("/", ".")
            assert OmegaConf.select(changed, key) != OmegaConf.select(cfg, key), part
        assert after.peak < last.peak, step
        # the peak that is promised is that of the changed configuration
        assert after.peak == pytest.approx(step.peak, rel=0.02), step
        cfg, last = changed, after
    assert last.peak <= before.device.memory


def test_nothing_is_advised_where_all_fits(shape: Shape, load: Callable, device: Callable) -> None:
    roomy, tight = (
        Setup(
            shape=shape,
            load=load(prompts=1, group_size=2, row_completions=1, micro_batch_prompts=1),
            device=device(memory=memory, copies=False),
            state=0,
            copies=0,
            processes=1,
        )
        for memory in (10**7, 10)
    )
    assert advise(roomy, {}.__getitem__) == []
    # keys that a model or an engine does not have are not named
    assert not [
        step for step in advise(tight, {}.__getitem__) if re.match(r"model\.", step.override)
    ]


def test_moments_of_8_bits_are_advised_where_nothing_is_sharded_and_given_up_for_shards(
    composed: Callable[..., Any], tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    alone = ("model=qwen3_vl_2b", *GPU, "model.dtype=float32", "trainer.precision=bf16-mixed")
    alone = (*alone, "rollout=vllm", "batch.micro_batch_prompts=1")
    several = ("trainer=ddp", "trainer.devices=4", "optimizer=adamw_8bit")
    for more, expected in (
        (("estimate.gib=30",), "optimizer=adamw_8bit"),
        (("estimate.gib=20", *several), "fsdp optimizer=adamw"),
    ):
        _, before = found(composed, tmp_path, (*alone, *more))
        (step,) = [step for step in before.advice if step.override.endswith(expected)]
        at = before.advice.index(step)
        words = [word for one in before.advice[: at + 1] for word in one.override.split()]
        _, after = found(composed, tmp_path, (*alone, *more, *words))
        assert after.peak == pytest.approx(step.peak, rel=0.02)


def test_results_are_left_alone_as_long_as_something_else_helps(
    composed: Callable[..., Any], tmp_path: Path
) -> None:
    _, result = found(composed, tmp_path, GRID["float32 masters"])
    assert [step.override for step in result.advice] == ["trainer=fsdp"]
    assert result.peak > 100 * GIB
