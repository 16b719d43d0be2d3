import math

import pytest
import torch

from g2rpo.algorithm.loss.kl import completion_penalty, k1, k2, k3

LOGPROBS, REF = torch.tensor([[-1.0, -0.5, -2.0]]), torch.tensor([[-1.5, -0.5, -0.7]])


def test_the_three_estimators_by_hand() -> None:
    # the differences are .5, 0 and -1.3
    torch.testing.assert_close(k1(LOGPROBS, REF), torch.tensor([[0.5, 0.0, -1.3]]))
    torch.testing.assert_close(k2(LOGPROBS, REF), torch.tensor([[0.125, 0.0, 0.845]]))
    expected = [math.exp(-0.5) + 0.5 - 1, 0.0, math.exp(1.3) - 1.3 - 1]
    torch.testing.assert_close(k3(LOGPROBS, REF), torch.tensor([expected]), atol=1e-6, rtol=0)


def test_k3_is_bounded_where_the_reference_disagrees_completely() -> None:
    # d = -30 would be e^30; d = +30 is clamped to 20 and then to 10
    assert k3(torch.tensor([[-30.0, 0.0]]), torch.tensor([[0.0, -30.0]])).tolist() == [[10.0, 10.0]]
    # d = 8 is below both bounds: e^-8 + 8 - 1
    assert k3(torch.tensor([[0.0]]), torch.tensor([[-8.0]])).item() == pytest.approx(
        math.exp(-8) + 7, abs=1e-5
    )


def test_k1_and_k3_average_to_the_divergence() -> None:
    policy, reference = (
        torch.tensor([0.7, 0.2, 0.1]).double(),
        torch.tensor([0.3, 0.3, 0.4]).double(),
    )
    exact = (policy * (policy / reference).log()).sum()
    for estimator in (k1, k3):
        values = estimator(policy.log().unsqueeze(0), reference.log().unsqueeze(0))
        torch.testing.assert_close((policy * values).sum(), exact)


def test_the_penalty_of_a_completion_is_the_sum_over_its_tokens() -> None:
    logprobs, ref = torch.cat([LOGPROBS, LOGPROBS]).requires_grad_(), torch.cat([REF, REF])
    ref[1, 2] = float("-inf")
    penalty = completion_penalty(logprobs, ref, torch.tensor([[1, 1, 1], [1, 1, 0]]))
    torch.testing.assert_close(penalty, torch.tensor([-0.8, 0.5]))
    assert not penalty.requires_grad
    squares = completion_penalty(
        logprobs, ref, torch.tensor([[1, 1, 1], [0, 1, 0]]), estimator="k2"
    )
    torch.testing.assert_close(squares, torch.tensor([0.97, 0.0]))
