import math

import pytest
import torch

from g2rpo.algorithm.loss.cispo import CISPOLoss


@pytest.mark.parametrize(
    ("ratio", "weight", "cut"),
    [(1.0, 1.0, 0), (1.29, 1.29, 0), (5.0, 1.3, 1), (0.4, 0.8, 1)],
)
@pytest.mark.parametrize("advantage", [2.0, -0.5])
def test_every_token_keeps_a_gradient_of_its_clipped_weight(
    ratio: float, weight: float, cut: int, advantage: float
) -> None:
    logprobs = torch.tensor([[math.log(ratio) - 1.5]], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([[-1.5]], dtype=torch.float64)
    value, stats = CISPOLoss()(
        logprobs,
        old,
        torch.tensor([advantage], dtype=torch.float64),
        torch.ones(1, 1, dtype=torch.bool),
    )
    value.backward()
    assert value.item() == pytest.approx(-advantage * weight * (math.log(ratio) - 1.5))
    assert logprobs.grad.item() == pytest.approx(-advantage * weight)
    assert stats["clip_frac"].item() == cut
