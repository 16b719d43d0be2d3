"""The other road: the definitions, in float64, with all logits at once."""

import pytest
import torch
from closeness import near
from torch import Tensor

from g2rpo.policy.float32_linear import use_onednn
from g2rpo.policy.head import head_stats

VOCABULARY, WIDTH = 37, 8
FORBIDDEN = (0, 5, 6, 36)
TARGETS = (3, 35, 3, 1, 20)
ROUNDING = 8 * torch.finfo(torch.float32).eps
"""Relative error of a logit, which is an absolute one of log-probabilities and so a relative one of
probabilities and gradients.
"""


def largest_logit(head: torch.nn.Linear, hidden: Tensor) -> float:
    return float((hidden @ head.weight.T).detach().abs().max())


@pytest.fixture
def head() -> torch.nn.Linear:
    torch.manual_seed(1)
    return torch.nn.Linear(WIDTH, VOCABULARY, bias=False)


@pytest.fixture
def hidden() -> Tensor:
    # logits of very different size: the largest so far changes from piece to piece
    return (
        torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(2))
        * torch.tensor([[1.0], [30.0], [5.0], [0.0], [200.0]])
    ).requires_grad_()


def by_definition(
    head: torch.nn.Linear, hidden: Tensor, temperature: float, forbidden: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    allowed = [token for token in range(VOCABULARY) if token not in forbidden]
    logits = (hidden.double() @ head.weight.double().T)[:, allowed] / temperature
    probs = (logits - logits.max(1, keepdim=True).values).exp()
    probs = probs / probs.sum(1, keepdim=True)
    chosen = torch.tensor([allowed.index(token) for token in TARGETS])
    logprobs = logits.log_softmax(1)
    return logprobs[torch.arange(5), chosen], -(probs * logprobs).sum(1)


@pytest.mark.parametrize("columns", [1, 2, 7, 36, 37, 100, None])
@pytest.mark.parametrize(("temperature", "forbidden"), [(1.0, ()), (0.6, FORBIDDEN)])
def test_pieces_of_any_width_give_the_numbers_and_gradients_of_the_definitions(
    columns: int | None,
    temperature: float,
    forbidden: tuple[int, ...],
    head: torch.nn.Linear,
    hidden: Tensor,
) -> None:
    weights = torch.tensor([[0.5, -2.0, 1.0, 3.0, -0.7], [1.5, 0.3, -1.0, 2.0, 0.9]])
    found = []
    for logprobs, entropy in (
        head_stats(
            head,
            hidden,
            torch.tensor(TARGETS),
            forbidden=forbidden,
            temperature=temperature,
            columns=columns,
        ),
        by_definition(head, hidden, temperature, forbidden),
    ):
        grads = torch.autograd.grad(
            (weights[0] * logprobs).sum() + (weights[1] * entropy).sum(), (hidden, head.weight)
        )
        found.append([part.detach().float() for part in (logprobs, entropy, *grads)])
    for ours, defined in zip(*found, strict=True):
        assert near(ours, defined, ROUNDING * largest_logit(head, hidden) / temperature)


@pytest.mark.parametrize("unused", [0, 1])
def test_either_number_has_its_gradient_where_the_other_is_not_used(
    unused: int, head: torch.nn.Linear, hidden: Tensor
) -> None:
    ours = head_stats(head, hidden, torch.tensor(TARGETS), columns=5)[1 - unused].sum()
    defined = by_definition(head, hidden, 1.0, ())[1 - unused].sum()
    for mine, theirs in zip(
        *(torch.autograd.grad(value, (hidden, head.weight)) for value in (ours, defined)),
        strict=True,
    ):
        assert near(mine, theirs, ROUNDING * largest_logit(head, hidden))


def test_a_forbidden_target_has_probability_zero_and_no_gradient_of_its_own(
    head: torch.nn.Linear, hidden: Tensor
) -> None:
    logprobs, entropy = head_stats(
        head, hidden, torch.tensor([5, 3, 3, 3, 36]), forbidden=FORBIDDEN, columns=4
    )
    assert logprobs.isneginf().tolist() == [True, False, False, False, True]
    grads = torch.autograd.grad(entropy.sum() + logprobs.sum(), (hidden, head.weight))
    assert all(grad.isfinite().all() for grad in grads)
    assert grads[1][list(FORBIDDEN)].eq(0).all()


def test_a_temperature_of_zero_counts_as_one(head: torch.nn.Linear, hidden: Tensor) -> None:
    targets = torch.tensor(TARGETS)
    for greedy, one in zip(
        head_stats(head, hidden, targets, temperature=0.0),
        head_stats(head, hidden, targets),
        strict=True,
    ):
        assert torch.equal(greedy, one)


def test_a_frozen_head_gets_no_gradient(head: torch.nn.Linear, hidden: Tensor) -> None:
    head.weight.requires_grad_(False)
    head_stats(head, hidden, torch.tensor(TARGETS))[0].sum().backward()
    assert head.weight.grad is None
    assert hidden.grad.abs().max() > 0


def test_half_precision_weights_give_float32_numbers_near_the_exact_ones(
    head: torch.nn.Linear, hidden: Tensor
) -> None:
    head, hidden = head.bfloat16(), hidden.detach().bfloat16().requires_grad_()
    logprobs, entropy = head_stats(head, hidden, torch.tensor(TARGETS), columns=6)
    assert logprobs.dtype == entropy.dtype == torch.float32
    exact = by_definition(head, hidden, 1.0, ())
    torch.testing.assert_close(logprobs, exact[0].float(), rtol=0.02, atol=0.05)
    grads = torch.autograd.grad(logprobs.sum(), (hidden, head.weight))
    expected = torch.autograd.grad(exact[0].sum(), (hidden, head.weight))
    for ours, theirs in zip(grads, expected, strict=True):
        assert ours.dtype == torch.bfloat16
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_a_head_that_multiplies_with_onednn_is_computed_in_chunks_too(
    head: torch.nn.Linear, hidden: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = torch.tensor(TARGETS)
    expected = head_stats(head, hidden, targets, forbidden=FORBIDDEN)
    monkeypatch.setattr("g2rpo.policy.float32_linear.is_faster", lambda: True)
    use_onednn(head)
    monkeypatch.setattr("g2rpo.policy.head._called", None)
    found = head_stats(head, hidden, targets, forbidden=FORBIDDEN)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_a_head_that_is_more_than_a_matrix_is_called(
    head: torch.nn.Linear, hidden: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("g2rpo.policy.head.CALLED_TOKENS", 2)
    shift = torch.linspace(-2, 3, VOCABULARY)
    biased = torch.nn.Linear(WIDTH, VOCABULARY)
    biased.weight, biased.bias = head.weight, torch.nn.Parameter(shift)
    hooked = torch.nn.Linear(WIDTH, VOCABULARY, bias=False)
    hooked.weight = head.weight
    hooked.register_forward_hook(lambda _module, _args, logits: logits + shift)
    wide = torch.cat([hidden, torch.ones(5, 1)], 1)  # the same as a matrix with one more column
    matrix = torch.nn.Linear(WIDTH + 1, VOCABULARY, bias=False)
    matrix.weight = torch.nn.Parameter(torch.cat([head.weight, shift[:, None]], 1))
    targets = torch.tensor(TARGETS)
    expected = head_stats(matrix, wide, targets, forbidden=FORBIDDEN, temperature=0.7)
    (slope,) = torch.autograd.grad(expected[0].sum() + expected[1].sum(), hidden)
    for other in (biased, hooked):
        found = head_stats(other, hidden, targets, forbidden=FORBIDDEN, temperature=0.7)
        bound = ROUNDING * largest_logit(matrix, wide) / 0.7
        assert all(near(ours, theirs, bound) for ours, theirs in zip(found, expected, strict=True))
        assert near(torch.autograd.grad(found[0].sum() + found[1].sum(), hidden)[0], slope, bound)
