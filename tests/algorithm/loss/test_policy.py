"""What all losses share: masks, denominators, micro-batches, the KL term and the correction for a
foreign sampler.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from g2rpo.algorithm.loss.cispo import CISPOLoss
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.loss.gspo import GSPOLoss
from g2rpo.algorithm.loss.importance import Rejection
from g2rpo.algorithm.loss.sapo import SAPOLoss

LOSSES = {"clip": ClipLoss, "gspo": GSPOLoss, "cispo": CISPOLoss, "sapo": SAPOLoss}
MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
ADVANTAGES = torch.tensor([1.0, -2.0, 0.5])
REJECTION = Rejection(bounds=[0.75, 1.25], level="geometric")
each_loss = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES.keys())
each_aggregation = pytest.mark.parametrize("aggregation", ["token_mean", "seq_mean", "constant"])


def batch(seed: int, rows: int = 7, width: int = 6) -> dict[str, Tensor]:
    """Completions of 1 to `width` tokens with log-probabilities of four policies that differ a good
    deal.
    """
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, width + 1, (rows, 1), generator=generator)
    old = -2 * torch.rand(rows, width, generator=generator, dtype=torch.float64)

    def near() -> Tensor:
        return old + 0.4 * torch.randn(rows, width, generator=generator, dtype=torch.float64)

    return {
        "logprobs": near().requires_grad_(),
        "old_logprobs": old,
        "advantages": torch.randn(rows, generator=generator, dtype=torch.float64),
        "mask": torch.arange(width) < lengths,
        "ref_logprobs": near(),
        "sampler_logprobs": near(),
    }


def gradient(value: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(value, of)[0]


@pytest.mark.parametrize(
    ("aggregation", "weights"),
    [  # at a ratio of 1 a token's loss is -A times its weight: lengths are 4, 1, 2
        ("token_mean", [1 / 7, 1 / 7, 1 / 7]),
        ("seq_mean", [1 / 12, 1 / 3, 1 / 6]),
        ("constant", [1 / 30, 1 / 30, 1 / 30]),
    ],
)
@each_loss
def test_each_aggregation_has_its_denominator(
    make: Callable, aggregation: str, weights: list[float]
) -> None:
    logprobs = torch.full((3, 4), -0.7, requires_grad=True)
    value, _ = make(aggregation=aggregation, max_tokens=10)(
        logprobs, logprobs.detach(), ADVANTAGES, MASK
    )
    expected = -(ADVANTAGES * torch.tensor(weights)).unsqueeze(1) * MASK
    torch.testing.assert_close(gradient(value, logprobs), expected)


def test_constant_falls_back_to_the_width_of_a_whole_batch() -> None:
    logprobs = torch.full((3, 4), -0.7, requires_grad=True)
    value, _ = ClipLoss(aggregation="constant")(logprobs, logprobs.detach(), ADVANTAGES, MASK)
    assert value.item() == pytest.approx(-(4 * 1.0 - 1 * 2.0 + 2 * 0.5) / 12)


def test_constant_over_micro_batches_asks_for_the_longest_completion() -> None:
    logprobs = torch.zeros(3, 4)
    with pytest.raises(
        ValueError,
        match=r"loss\.max_tokens: expected a number of tokens, because aggregation=constant",
    ):
        ClipLoss(aggregation="constant")(logprobs, logprobs, ADVANTAGES, MASK, num_completions=6)


@each_aggregation
@each_loss
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 7), max_size=4))
def test_any_split_into_micro_batches_gives_the_same(
    make: Callable, aggregation: str, seed: int, cuts: list[int]
) -> None:
    whole = batch(seed)
    loss = make(
        aggregation=aggregation, max_tokens=6, kl_coef=0.3, tis_clip=1.2, rejection=REJECTION
    )
    value, stats = loss(**whole)
    total, summed = torch.zeros_like(whole["logprobs"]), dict.fromkeys(stats, 0.0)
    bounds = [0, *sorted(cuts), 7]
    for start, stop in pairwise(bounds):
        part, part_stats = loss(
            **{name: x[start:stop] for name, x in whole.items()},
            num_tokens=whole["mask"].sum(),
            num_completions=7,
        )
        total += gradient(part, whole["logprobs"])
        summed = {name: summed[name] + part_stats[name].item() for name in summed}
    torch.testing.assert_close(total, gradient(value, whole["logprobs"]), atol=1e-9, rtol=0)
    assert summed == pytest.approx({name: x.item() for name, x in stats.items()}, abs=1e-9)


@each_loss
def test_what_stands_outside_the_mask_has_no_influence(make: Callable) -> None:
    clean = batch(3)
    dirty = {name: x.detach().clone() for name, x in clean.items()}
    for name, rubbish in (
        ("logprobs", float("-inf")),
        ("old_logprobs", float("nan")),
        ("ref_logprobs", 1e30),
        ("sampler_logprobs", -1e30),
    ):
        dirty[name][~clean["mask"]] = rubbish
    dirty["logprobs"].requires_grad_()
    loss = make(kl_coef=0.3, tis_clip=1.2, tis_level="both", rejection=REJECTION)
    (expected, expected_stats), (actual, actual_stats) = loss(**clean), loss(**dirty)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(actual_stats, expected_stats)
    torch.testing.assert_close(
        gradient(actual, dirty["logprobs"]), gradient(expected, clean["logprobs"])
    )
    assert (gradient(loss(**dirty)[0], dirty["logprobs"])[~clean["mask"]] == 0).all()


@each_loss
def test_a_mask_of_ones_and_zeros_is_a_mask(make: Callable) -> None:
    given_bool = batch(4)
    for dtype in (torch.long, torch.float32):
        torch.testing.assert_close(
            make()(**given_bool | {"mask": given_bool["mask"].to(dtype)}), make()(**given_bool)
        )


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("token_mean", (0.5 * 4 + 0.1 * 1 + 0.2 * 2) / 7), ("seq_mean", (0.5 + 0.1 + 0.2) / 3)],
)
def test_the_kl_term_is_aggregated_like_the_loss_and_weighed(
    aggregation: str, expected: float
) -> None:
    logprobs = torch.full((3, 4), -0.7, requires_grad=True)
    ref = logprobs.detach() - torch.tensor([[0.5], [0.1], [0.2]])
    plain, _ = ClipLoss(aggregation=aggregation)(logprobs, logprobs.detach(), ADVANTAGES, MASK)
    value, stats = ClipLoss(aggregation=aggregation, kl_coef=0.25, kl_estimator="k1")(
        logprobs, logprobs.detach(), ADVANTAGES, MASK, ref_logprobs=ref
    )
    assert stats["kl"].item() == pytest.approx(expected)
    assert stats["policy"].item() == pytest.approx(plain.item())
    assert (value - plain).item() == pytest.approx(0.25 * expected)


def test_without_a_coefficient_the_kl_is_measured_but_not_charged() -> None:
    given_ref = batch(5)
    without = {name: x for name, x in given_ref.items() if name != "ref_logprobs"}
    value, stats = ClipLoss()(**given_ref)
    assert value.item() == ClipLoss()(**without)[0].item()
    assert stats["kl"].item() > 0
    assert ClipLoss()(**without)[1]["kl"].item() == 0


def test_a_kl_in_the_reward_is_measured_but_not_charged_by_the_loss() -> None:
    given_ref = batch(5)
    charged, _ = ClipLoss(kl_coef=0.25)(**given_ref)
    value, stats = ClipLoss(kl_coef=0.25, kl_placement="reward")(**given_ref)
    assert (
        value.item()
        == stats["policy"].item()
        == ClipLoss()(**given_ref)[0].item()
        != charged.item()
    )
    assert stats["kl"].item() > 0
    without = {name: x for name, x in given_ref.items() if name != "ref_logprobs"}
    assert ClipLoss(kl_coef=0.25, kl_placement="reward")(**without)[0].item() == value.item()


def test_a_kl_coefficient_needs_a_reference() -> None:
    with pytest.raises(ValueError, match=r"loss\.kl_coef=0.1 needs ref_logprobs"):
        ClipLoss(kl_coef=0.1)(torch.zeros(3, 4), torch.zeros(3, 4), ADVANTAGES, MASK)


def test_a_foreign_sampler_is_corrected_by_truncated_weights_without_gradient() -> None:
    # trainer / sampler: e^.3 = 1.35 stays, e^2 is truncated to 2, e^-1 = .368 stays
    old = torch.full((3, 4), -3.0, dtype=torch.float64, requires_grad=True)
    logprobs = torch.full((3, 4), -3.0, dtype=torch.float64, requires_grad=True)
    sampler = torch.full((3, 4), -3.0, dtype=torch.float64) - torch.tensor(
        [[0.3], [2.0], [-1.0]], dtype=torch.float64
    )
    value, _ = ClipLoss(tis_clip=2.0)(
        logprobs, old, ADVANTAGES.double(), MASK, sampler_logprobs=sampler
    )
    weights = torch.tensor([[0.3], [0.0], [-1.0]], dtype=torch.float64).exp() + torch.tensor(
        [[0.0], [1.0], [0.0]]
    )
    expected = -ADVANTAGES.double().unsqueeze(1) * weights * MASK / 7
    torch.testing.assert_close(gradient(value, logprobs), expected)
    assert not ClipLoss(tis_clip=2.0)(
        logprobs.detach(), old, ADVANTAGES.double(), MASK, sampler_logprobs=sampler
    )[0].requires_grad


def test_a_completion_is_weighed_by_the_product_over_its_tokens_where_that_is_asked_for() -> None:
    # 4 tokens of e^.3 make 3.3 and are truncated to 2, 1 of e^-.5 stays, 2 of e^-1 make e^-2; what
    # stands outside the mask has no part
    logprobs = torch.full((3, 4), -3.0, dtype=torch.float64, requires_grad=True)
    old = logprobs.detach()
    sampler = (old - torch.tensor([[0.3], [-0.5], [-1.0]], dtype=torch.float64)).where(MASK, 9.0)
    value, _ = ClipLoss(tis_clip=2.0, tis_level="sequence")(
        logprobs, old, ADVANTAGES.double(), MASK, sampler_logprobs=sampler
    )
    weights = torch.tensor([[2.0], [math.exp(-0.5)], [math.exp(-2.0)]], dtype=torch.float64)
    torch.testing.assert_close(
        gradient(value, logprobs), -ADVANTAGES.double().unsqueeze(1) * weights * MASK / 7
    )


def test_the_correction_needs_the_samplers_own_numbers() -> None:
    with pytest.raises(ValueError, match=r"loss\.tis_clip=2.0 needs sampler_logprobs"):
        ClipLoss(tis_clip=2.0)(torch.zeros(3, 4), torch.zeros(3, 4), ADVANTAGES, MASK)


@each_aggregation
def test_a_micro_batch_without_any_token_adds_nothing(aggregation: str) -> None:
    logprobs = torch.zeros(2, 4, requires_grad=True)
    loss = ClipLoss(aggregation=aggregation, max_tokens=4)
    value, stats = loss(
        logprobs, logprobs.detach(), ADVANTAGES[:2], torch.zeros(2, 4, dtype=torch.bool)
    )
    assert value.item() == 0
    assert (gradient(value, logprobs) == 0).all()
    assert all(x.item() == 0 for x in stats.values())


@pytest.mark.parametrize(("short", "full"), [("token", "token_mean"), ("seq", "seq_mean")])
def test_the_short_names_of_the_release_mean_the_same(short: str, full: str) -> None:
    assert ClipLoss(aggregation=short) == ClipLoss(aggregation=full)
