"""The gradient of a policy is measured in float64 and scaled down to its bound."""

import pytest
import torch

from g2rpo.training.gradients import PIECE, clip_gradients, gradient_norm


@pytest.fixture
def layer() -> torch.nn.Linear:
    layer = torch.nn.Linear(2, 3)
    layer.weight.grad, layer.bias.grad = torch.zeros(3, 2), torch.zeros(3)
    return layer


def test_a_gradient_is_scaled_down_to_its_bound_and_measured_before(layer: torch.nn.Linear) -> None:
    layer.weight.grad[0, 1], layer.bias.grad[2] = 3.0, -4.0
    assert clip_gradients(layer, 10.0, ["math"]) == 5.0
    assert layer.weight.grad[0, 1] == 3.0
    assert clip_gradients(layer, 1.0, ["math"]) == 5.0
    assert layer.weight.grad[0, 1].item() == pytest.approx(0.6, abs=1e-7)
    assert layer.bias.grad[2].item() == pytest.approx(-0.8, abs=1e-7)


def test_a_norm_that_is_not_finite_names_the_prompts(layer: torch.nn.Linear) -> None:
    layer.bias.grad[1] = float("nan")
    words = r"gradient norm became nan \(prompts chart 'b', math 'a'\)"
    with pytest.raises(FloatingPointError, match=words):
        clip_gradients(layer, 1.0, ["math 'a'", "chart 'b'"])


def test_a_weight_without_a_gradient_counts_nothing(layer: torch.nn.Linear) -> None:
    layer.weight.grad, layer.bias.grad[:] = None, 2.0
    assert gradient_norm(layer) == pytest.approx(12.0**0.5, rel=1e-15)


def test_the_norm_of_a_large_tensor_loses_nothing() -> None:
    large = torch.nn.Linear(PIECE // 1024, 1025, bias=False)  # more than one piece
    large.weight.grad = torch.full_like(large.weight, 1e-3)
    exact = large.weight.numel() ** 0.5 * float(torch.tensor(1e-3))
    assert gradient_norm(large) == pytest.approx(exact, rel=1e-12)
