"""Against models and optimizers that are really built."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optimi
import pytest
import torch

from g2rpo.policy.adapter import LoRA
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.training.adamw_8bit import adamw_8bit
from g2rpo.training.estimate.changes import EIGHT_BITS, KAHAN
from g2rpo.training.estimate.shape import blank_policy, optimizer_bytes, shape_of

AdamW, SGD = torch.optim.AdamW, torch.optim.SGD


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_take_what_the_real_ones_take(tiny_folder: Path, dtype: str) -> None:
    checkpoint = Checkpoint(path=str(tiny_folder), dtype=dtype)
    real, shape = checkpoint.policy(), shape_of(blank_policy(checkpoint))
    assert shape.weights * shape.number == sum(
        p.numel() * p.element_size() for p in real.parameters()
    )
    assert shape == shape_of(real)


def test_an_8b_model_needs_only_its_configuration(config_of_8b: Path) -> None:
    shape = shape_of(blank_policy(Checkpoint(path=str(config_of_8b), dtype="bfloat16")))
    assert shape.weights * shape.number / 2**30 == pytest.approx(
        16.33, abs=0.01
    )  # 8.77e9 weights, as the Hub says
    assert (shape.layers, shape.queries, shape.keys, shape.tied, shape.merge) == (
        36,
        4096,
        1024,
        False,
        2,
    )
    assert shape.cost.head == 2 * 151_936 * 4096


def test_a_frozen_tower_is_not_trained(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(path=str(tiny_folder), freeze_vision=True)
    shape, real = shape_of(blank_policy(checkpoint)), checkpoint.policy()
    assert not shape.vision_trained
    assert shape.weights - shape.trained == sum(p.numel() for p in real.model.visual.parameters())


def test_an_adapter_is_all_that_is_trained_and_has_a_dtype_of_its_own(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(
        path=str(tiny_folder),
        dtype="bfloat16",
        adapter=LoRA(rank=3, targets=["q_proj", "down_proj"]),
    )
    real, shape = checkpoint.policy(), shape_of(blank_policy(checkpoint))
    assert shape == shape_of(real)
    text = real.config.get_text_config()
    queries = text.num_attention_heads * text.head_dim
    numbers = (
        3
        * (text.hidden_size + queries + text.intermediate_size + text.hidden_size)
        * text.num_hidden_layers
    )
    assert (shape.adapter, shape.trained) == (4 * numbers, 0)
    assert shape.weights == shape_of(Checkpoint(path=str(tiny_folder)).policy()).weights
    assert optimizer_bytes(partial(AdamW, lr=1.0), blank_policy(checkpoint))[0] == after_a_step(
        partial(AdamW, lr=1.0), real
    )


@pytest.mark.parametrize(
    "make", [partial(AdamW, lr=1e-4), partial(SGD, lr=0.1), partial(SGD, lr=0.1, momentum=0.9)]
)
def test_an_optimizer_holds_what_the_real_one_holds_after_a_step(
    tiny_folder: Path, make: Callable[..., torch.optim.Optimizer]
) -> None:
    checkpoint = Checkpoint(path=str(tiny_folder), dtype="bfloat16", freeze_vision=True)
    assert optimizer_bytes(make, blank_policy(checkpoint))[0] == after_a_step(
        make, checkpoint.policy()
    )


def test_an_optimizer_that_must_see_values_is_asked_with_a_small_weight(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(path=str(tiny_folder))
    make = partial(torch.optim.Adafactor, lr=1e-3)
    held, real = (
        optimizer_bytes(make, blank_policy(checkpoint))[0],
        after_a_step(make, checkpoint.policy()),
    )
    assert (
        0.2 < held / real < 5
    )  # a row and a column instead of a matrix: about a hundredth of the weights


def test_all_weights_at_once_take_another_copy_unless_told_otherwise(tiny_folder: Path) -> None:
    policy = blank_policy(Checkpoint(path=str(tiny_folder)))
    whole = sum(p.numel() * 4 for p in policy.parameters())
    for make in (partial(torch.optim.Adam, lr=1.0), partial(AdamW, lr=1.0, foreach=True)):
        assert optimizer_bytes(make, policy)[1] == whole
    for make in (
        partial(torch.optim.Adam, lr=1.0, foreach=False),
        partial(AdamW, lr=1.0, foreach=False),
        partial(AdamW, lr=1.0),  # fused on a GPU
    ):
        assert optimizer_bytes(make, policy)[1] == 0
    assert all(p.grad is None for p in policy.parameters())


def test_compensation_takes_a_third_number_and_no_copy(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(path=str(tiny_folder), dtype="bfloat16")
    make = partial(optimi.AdamW, lr=1e-4, kahan_sum=True, triton=False)
    held, copies = optimizer_bytes(make, blank_policy(checkpoint))
    assert (held, copies) == (after_a_step(make, checkpoint.policy()), 0)
    weights = sum(p.numel() for p in checkpoint.policy().parameters())
    assert held == pytest.approx(KAHAN * 2 * weights, rel=0.001)


def test_8_bits_are_counted_as_such_without_compiling(tiny_folder: Path) -> None:
    pytest.importorskip("torchao")
    checkpoint = Checkpoint(path=str(tiny_folder))
    held, copies = optimizer_bytes(partial(adamw_8bit, lr=1e-4), blank_policy(checkpoint))
    weights = sum(p.numel() for p in checkpoint.policy().parameters())
    # small weights keep float32 moments, and each large one has its own tables
    assert EIGHT_BITS < held / weights < 1.3 * EIGHT_BITS
    assert copies == 0


def test_random_numbers_of_the_run_are_left_alone(tiny_folder: Path) -> None:
    before = torch.get_rng_state()
    policy = blank_policy(Checkpoint(path=str(tiny_folder)))
    optimizer_bytes(partial(AdamW, lr=1.0), policy)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_that_is_not_here_says_what_to_do() -> None:
    with pytest.raises(
        ValueError,
        match=r"model.path=nobody/nothing: config.json cannot be read .*put the file into a folder",
    ):
        blank_policy(Checkpoint(path="nobody/nothing"))


def test_an_unknown_kind_of_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava"}))
    with pytest.raises(
        ValueError,
        match=r"model_type 'llava' is not supported; known are .*qwen3_vl, qwen3_vl_moe.* one file",
    ):
        blank_policy(Checkpoint(path=str(tmp_path)))


def after_a_step(make: Callable[..., torch.optim.Optimizer], policy: Any) -> int:
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = make(trained)
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return sum(
        v.numel() * v.element_size()
        for state in optimizer.state.values()
        for v in state.values()
        if torch.is_tensor(v)
    )
