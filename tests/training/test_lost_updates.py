"""Lost updates against the distances between neighboring bfloat16 numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from g2rpo.training.build import build_module, build_trainer
from g2rpo.training.lost_updates import SAMPLED, lost_update_frac, refuse_lost_updates
from g2rpo.training.parts import build_parts


def step_of(weight: Tensor, direction: int) -> Tensor:
    """Distance from positive bfloat16 weights to their next neighbor, by counting bit patterns."""
    neighbor = (weight.view(torch.int16) + direction).view(torch.bfloat16)
    return (neighbor.double() - weight.double()).abs()


@given(
    exponent=st.integers(-24, -7),
    fraction=st.floats(0.05, 0.95),  # an exact power of 2 is a tie, which rounds to even
    scale=st.sampled_from([1e-4, 1e-2, 1.0]),
    seed=st.integers(0, 100),
)
def test_a_step_below_half_the_distance_to_the_next_number_is_lost(
    exponent: int, fraction: float, scale: float, seed: int
) -> None:
    lr = 2 ** (exponent + fraction)
    values = torch.rand(200, generator=torch.Generator().manual_seed(seed)) + 1e-3
    weight = (scale * values).bfloat16()
    expected = sum((step_of(weight, d) / 2 > lr).double().mean().item() for d in (1, -1)) / 2
    assert lost_update_frac([weight], lr) == pytest.approx(expected, abs=1e-9)
    assert lost_update_frac([-weight], lr) == pytest.approx(expected, abs=1e-9)


def test_a_half_step_by_hand() -> None:
    # between 1 and 2 numbers are 2^-7 apart, between 1/2 and 1 they are 2^-8 apart
    weight = torch.tensor([1.0], dtype=torch.bfloat16)
    assert lost_update_frac([weight], 2**-10) == 1.0
    assert lost_update_frac([weight], 2**-8.5) == 0.5  # up it is lost, down it is not
    assert lost_update_frac([weight], 2**-7) == 0.0
    assert lost_update_frac([torch.tensor([1.0])], 2**-10) == 0.0
    assert lost_update_frac([], 1e-3) == lost_update_frac([torch.zeros(0)], 1e-3) == 0.0


def test_tensors_count_by_their_size() -> None:
    small, large = torch.ones(100).bfloat16(), torch.zeros(3 * SAMPLED + 1).bfloat16()
    assert lost_update_frac([small, large], 1e-6) == pytest.approx(100 / (100 + len(large)))


def test_it_predicts_what_adam_moves() -> None:
    weight = (0.02 * torch.randn(5000, generator=torch.Generator().manual_seed(1))).bfloat16()
    parameter = torch.nn.Parameter(weight.clone())
    parameter.grad = torch.randn(5000).bfloat16()
    torch.optim.AdamW([parameter], lr=1e-5, weight_decay=0.0).step()
    unmoved = (parameter == weight).double().mean().item()
    assert 0.5 < unmoved == pytest.approx(lost_update_frac([weight], 1e-5), abs=0.01)


def low_parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))


def test_a_plain_optimizer_is_refused_with_the_share() -> None:
    with pytest.raises(
        ValueError,
        match=r"model\.dtype: expected float32 .* AdamW, got bfloat16: at optimizer\.lr=2e-06, "
        r"rounding loses 100% .*trainer\.precision=bf16-mixed.*optimizer=adamw_kahan",
    ):
        refuse_lost_updates(torch.optim.AdamW([low_parameter()], lr=2e-6))


def test_float32_weights_and_compensating_optimizers_pass(composed: Callable[..., Any]) -> None:
    refuse_lost_updates(torch.optim.AdamW([torch.nn.Parameter(torch.ones(4))], lr=2e-6))
    refuse_lost_updates(instantiate(composed("optimizer=adamw_kahan").optimizer)([low_parameter()]))
    stochastic = torch.optim.AdamW([low_parameter()], lr=2e-6)
    stochastic.bf16_stochastic_round = True
    refuse_lost_updates(stochastic)
    stochastic.bf16_stochastic_round = False
    with pytest.raises(ValueError, match="rounding loses"):
        refuse_lost_updates(stochastic)


def test_a_run_is_refused_when_its_module_makes_the_optimizer(
    composed: Callable[..., Any], tmp_path: Path
) -> None:
    overrides = (f"run_dir={tmp_path}", "model.dtype=bfloat16", "reward_workers=inline")
    for more, refused in (((), True), (("model/adapter=lora",), False)):
        cfg = composed(*overrides, *more)
        module = build_module(cfg, build_parts(cfg), build_trainer(cfg))
        if refused:
            with pytest.raises(ValueError, match=r"rounding loses \d+% of the updates"):
                module.configure_optimizers()
        else:  # adapters are float32
            module.configure_optimizers()


def test_kahan_compensation_keeps_small_steps() -> None:
    from optimi import AdamW

    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = AdamW([weight], lr=1e-3, weight_decay=0.0, kahan_sum=True)
    for _ in range(20):  # each step is a quarter of the distance below 1
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    kept = weight.double() + optimizer.state[weight]["kahan_comp"].double()
    torch.testing.assert_close(kept, torch.full_like(kept, 1 - 20e-3), atol=2e-3, rtol=0)


@pytest.mark.slow
def test_bf16_mixed_moves_the_weights_as_float32_does() -> None:
    from precision import measure

    found = measure(2e-6, 20, 12)
    assert found["bf16-mixed"].share >= 0.9
    assert found["bf16-mixed"].cosine >= 0.99
    assert found["bfloat16, adamw_kahan"].cosine >= 0.98
    assert found["bfloat16"].share < 0.05
