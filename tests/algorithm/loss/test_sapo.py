import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from g2rpo.algorithm.loss.sapo import SAPOLoss


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("advantage", "tau"), [(1.5, 2.0), (0.0, 2.0), (-1.5, 0.5)])
@pytest.mark.parametrize("ratio", [1.0, 1.7, 0.2])
def test_the_gate_is_a_sigmoid_with_a_slope_for_each_sign(
    advantage: float, tau: float, ratio: float
) -> None:
    logprobs = torch.tensor([[math.log(ratio) - 1.0]], dtype=torch.float64, requires_grad=True)
    loss = SAPOLoss(tau_positive=2.0, tau_negative=0.5)
    old = torch.tensor([[-1.0]], dtype=torch.float64)
    value, stats = loss(
        logprobs,
        old,
        torch.tensor([advantage], dtype=torch.float64),
        torch.ones(1, 1, dtype=torch.bool),
    )
    value.backward()
    gate = sigmoid(tau * (ratio - 1))
    assert value.item() == pytest.approx(-advantage * 4 / tau * gate)
    assert logprobs.grad.item() == pytest.approx(-advantage * 4 * gate * (1 - gate) * ratio)
    assert stats["clip_frac"].item() == 0


def test_at_a_ratio_of_one_the_slope_is_that_of_the_plain_surrogate() -> None:
    logprobs = torch.tensor([[-1.0], [-1.0]], requires_grad=True)
    value, _ = SAPOLoss()(
        logprobs, torch.tensor([[-1.0], [-1.0]]), torch.tensor([3.0, -2.0]), torch.ones(2, 1)
    )
    value.backward()
    torch.testing.assert_close(logprobs.grad, torch.tensor([[-1.5], [1.0]]))


def test_a_slope_of_zero_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"expected tau_positive > 0 and tau_negative > 0, got tau_positive=0\.0,"
            r" tau_negative=1\.05"
        ),
    ):
        SAPOLoss(tau_positive=0.0)


def test_the_choice_averages_per_completion_as_the_paper_does() -> None:
    conf = Path(__file__).parents[3] / "conf" / "loss" / "sapo.yaml"
    assert OmegaConf.load(conf).aggregation == "seq_mean"
