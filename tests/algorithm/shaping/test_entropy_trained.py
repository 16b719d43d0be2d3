"""A small softmax policy, trained on nothing but the entropy band, on-policy: the two estimators at
work (drawn in docs/shaping.md).
"""

import pytest
import torch
from entropy_bands import band_term, entropies, start

from g2rpo.algorithm.shaping.entropy import EntropyBand


@pytest.mark.parametrize(("sharpness", "side"), [(6.0, "below"), (0.5, "above")])
def test_exact_entropy_is_moved_into_the_band(sharpness: float, side: str) -> None:
    before, *_, after = entropies("exact", sharpness)
    assert before < 0.15 if side == "below" else before > 1.5
    assert 0.19 < after < 0.61


@pytest.mark.parametrize("sharpness", [6.0, 0.5])
def test_sampled_nll_leaves_the_entropy_where_it_was(sharpness: float) -> None:
    before, *_, after = entropies("sampled_nll", sharpness)
    assert abs(after - before) < 0.1
    assert after < 0.2 or after > 0.6


def test_the_gradient_of_sampled_nll_vanishes_on_average_and_that_of_exact_entropy_does_not() -> (
    None
):
    norms = {}
    for estimator in ("exact", "sampled_nll"):
        band = EntropyBand(low=0.2, high=0.6, weight=1.0, estimator=estimator)
        logits = start(2.0)
        term = band_term(band, logits, torch.Generator().manual_seed(2), 200_000)
        norms[estimator] = torch.autograd.grad(term, logits)[0].norm().item()
    assert norms["exact"] > 0.1
    assert norms["sampled_nll"] < 0.02 * norms["exact"]


def test_the_expected_gradient_of_sampled_nll_is_exactly_zero() -> None:
    # every action once, weighted by its probability: the expectation instead of an average over
    # draws
    logits = start(2.0)
    logprobs = logits.log_softmax(1)
    (gradient,) = torch.autograd.grad((logprobs.detach().exp() * -logprobs).sum(), logits)
    assert gradient.abs().max().item() < 1e-15
