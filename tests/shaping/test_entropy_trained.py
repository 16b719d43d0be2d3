"""A small softmax policy, trained on nothing but the entropy band, on-policy: the two estimators at work."""

import pytest
import torch
from torch import Tensor

from g2rpo.records import task_index
from g2rpo.shaping.entropy import EntropyBand, task_sums

MATH = task_index("math")
STATES, ACTIONS, SAMPLES = 4, 8, 64


def start(sharpness: float) -> Tensor:
    """Logits of a policy whose favourite action stands out by `sharpness`: 6 is nearly decided, 0.5 nearly uniform."""
    logits = 0.3 * torch.randn(STATES, ACTIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits[:, 2] += sharpness
    return logits.requires_grad_()


def token_stats(logits: Tensor, generator: torch.Generator, samples: int) -> tuple[Tensor, Tensor]:
    """Entropy of each state's distribution and log-probability of actions drawn from it, both [states, samples]."""
    logprobs = logits.log_softmax(1)
    actions = torch.multinomial(logprobs.detach().exp(), samples, replacement=True, generator=generator)
    entropy = -(logprobs.exp() * logprobs).sum(1, keepdim=True)
    return entropy.expand(STATES, samples), logprobs.gather(1, actions)


def mean_entropy(logits: Tensor) -> float:
    return token_stats(logits, torch.Generator(), 1)[0].mean().item()


def band_term(band: EntropyBand, logits: Tensor, generator: torch.Generator, samples: int) -> Tensor:
    measured = band.token_entropy(*token_stats(logits, generator, samples))
    mask, tasks = torch.ones_like(measured, dtype=torch.bool), torch.full((STATES,), MATH)
    sums, tokens = task_sums(measured.detach(), mask, tasks)
    signs, _ = band.signs(sums, tokens)
    return band.loss(measured, mask, tasks, signs, tokens)


def trained(estimator: str, sharpness: float) -> tuple[float, float]:
    """Entropy before and after 300 steps of gradient descent."""
    band = EntropyBand(low=0.2, high=0.6, weight=1.0, estimator=estimator)
    logits, generator = start(sharpness), torch.Generator().manual_seed(1)
    before = mean_entropy(logits)
    for _ in range(300):
        (gradient,) = torch.autograd.grad(band_term(band, logits, generator, SAMPLES), logits)
        logits = (logits - 1.0 * gradient).detach().requires_grad_()
    return before, mean_entropy(logits)


@pytest.mark.parametrize(("sharpness", "side"), [(6.0, "below"), (0.5, "above")])
def test_exact_entropy_is_moved_into_the_band(sharpness: float, side: str) -> None:
    before, after = trained("exact", sharpness)
    assert before < 0.15 if side == "below" else before > 1.5
    assert 0.19 < after < 0.61


@pytest.mark.parametrize("sharpness", [6.0, 0.5])
def test_sampled_nll_leaves_the_entropy_where_it_was(sharpness: float) -> None:
    before, after = trained("sampled_nll", sharpness)
    assert abs(after - before) < 0.1
    assert after < 0.2 or after > 0.6


def test_the_gradient_of_sampled_nll_vanishes_on_average_and_that_of_exact_entropy_does_not() -> None:
    norms = {}
    for estimator in ("exact", "sampled_nll"):
        band = EntropyBand(low=0.2, high=0.6, weight=1.0, estimator=estimator)
        logits = start(2.0)
        term = band_term(band, logits, torch.Generator().manual_seed(2), 200_000)
        norms[estimator] = torch.autograd.grad(term, logits)[0].norm().item()
    assert norms["exact"] > 0.1
    assert norms["sampled_nll"] < 0.02 * norms["exact"]


def test_the_expected_gradient_of_sampled_nll_is_exactly_zero() -> None:
    # every action once, weighted by its probability: the expectation instead of an average over draws
    logits = start(2.0)
    logprobs = logits.log_softmax(1)
    (gradient,) = torch.autograd.grad((logprobs.detach().exp() * -logprobs).sum(), logits)
    assert gradient.abs().max().item() < 1e-15
