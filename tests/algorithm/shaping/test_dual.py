"""The dual variables of an entropy band: numbers by hand, a loop by another road, and a policy."""

import math
from random import Random

import pytest
import torch
from entropy_bands import start
from torch import Tensor

from g2rpo.algorithm.shaping import Shaping
from g2rpo.algorithm.shaping.entropy import EntropyBand

TASKS = ("math", "chart")


def band(**options: object) -> EntropyBand:
    chosen = {
        "low": 0.2,
        "high": 0.6,
        "weight": 2.0,
        "step_size": 0.5,
        "damping": 0.0,
        "inset": 0.1,
    }
    return EntropyBand(**chosen | {"controller": "dual"} | options).for_tasks(TASKS)


def sums(*means: float) -> tuple[Tensor, Tensor]:
    """Entropy sums over ten tokens of each task with these means."""
    return 10 * torch.tensor(means, dtype=torch.float64), torch.full((len(means),), 10.0)


def test_variables_rise_by_the_step_times_the_violation_and_fall_back_to_zero() -> None:
    # low' = .22, high' = .54: math .1 is .12 below, chart .74 is .2 above
    held = band()
    held.ascend(*sums(0.1, 0.74))
    assert held.state_dict() == {
        "math": (pytest.approx(0.06), 0.0),
        "chart": (0.0, pytest.approx(0.1)),
    }
    # math .3 is .08 inside: .06 - .04; chart .44 is .1 inside: .1 - .05
    held.ascend(*sums(0.3, 0.44))
    assert held.state_dict()["math"] == (pytest.approx(0.02), 0.0)
    assert held.state_dict()["chart"] == (0.0, pytest.approx(0.05))
    held.ascend(*sums(0.5, 0.4))
    assert held.state_dict() == {"math": (0.0, 0.0), "chart": (0.0, 0.0)}


def test_weights_are_those_of_the_augmented_lagrangian_and_the_penalty_is_their_price() -> None:
    held = band(damping=2.0)
    held.ascend(*sums(0.1, 0.74))  # .06 from below on math, .1 from above on chart
    weights, penalty = held.weights(*sums(0.15, 0.5))
    # math is .07 short of .22: .06 + 2 * .07. chart is .04 inside .54: .1 - 2 * .04
    assert weights.tolist() == [pytest.approx(-0.2), pytest.approx(0.02)]
    assert penalty.item() == pytest.approx(0.2 * 0.07 - 0.02 * 0.04)


def test_a_task_that_does_not_occur_keeps_its_variables_and_is_not_pushed() -> None:
    held = band()
    held.ascend(*sums(0.1, 0.74))
    before = held.state_dict()
    held.ascend(torch.tensor([1.0, 0.0]), torch.tensor([10.0, 0.0]))
    assert held.state_dict()["chart"] == before["chart"]
    assert held.state_dict()["math"] != before["math"]
    weights, penalty = held.weights(torch.tensor([3.0, 0.0]), torch.tensor([10.0, 0.0]))
    assert weights[1] == 0
    assert penalty.item() == pytest.approx(0.12 * (0.22 - 0.3))


def test_a_side_without_a_bound_never_pushes() -> None:
    held = band(low={"default": None}, high={"math": 0.5, "default": None})
    for _ in range(5):
        held.ascend(*sums(0.0, 90.0))
    weights, penalty = held.weights(*sums(0.0, 90.0))
    assert weights.tolist() == [0.0, 0.0]
    assert penalty.item() == 0


def test_variables_end_at_their_upper_bound() -> None:
    held = band(weight=0.3)
    for _ in range(100):
        held.ascend(*sums(0.0, 5.0))
    assert held.state_dict() == {"math": (0.3, 0.0), "chart": (0.0, 0.3)}


def test_over_any_entropies_the_variables_are_those_of_a_loop_in_plain_numbers() -> None:
    rng = Random(3)
    held = band(step_size=0.7, weight=0.4, inset=0.2)
    below, above = [0.0, 0.0], [0.0, 0.0]
    for _ in range(200):
        means = [rng.uniform(0.0, 0.9) for _ in TASKS]
        held.ascend(*sums(*means))
        for i, mean in enumerate(means):
            below[i] = min(max(below[i] + 0.7 * (0.2 * 1.2 - mean), 0.0), 0.4)
            above[i] = min(max(above[i] + 0.7 * (mean - 0.6 * 0.8), 0.0), 0.4)
        for i, task in enumerate(TASKS):
            assert held.state_dict()[task] == pytest.approx((below[i], above[i]), abs=1e-12)


def test_a_state_is_restored_and_one_of_the_other_controller_is_refused() -> None:
    held, other = band(), band()
    held.ascend(*sums(0.1, 0.74))
    other.load_state_dict(held.state_dict())
    assert other.state_dict() == held.state_dict()
    fixed = band(controller="fixed")
    assert fixed.state_dict() == {}
    fixed.load_state_dict({})
    with pytest.raises(ValueError, match=r"^resume: expected shaping\.entropy\.controller=fixed"):
        other.load_state_dict({})
    with pytest.raises(ValueError, match=r"^resume: expected shaping\.entropy\.controller=dual"):
        fixed.load_state_dict(held.state_dict())


def test_an_inset_that_leaves_nothing_of_the_band_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"^shaping\.entropy\.inset: expected low .* got 0\.3 and 0\.3 for math; lower inset",
    ):
        band(inset=0.5)


def ended(held: EntropyBand, pull: float, steps: int = 600) -> list[float]:
    """Return the entropy over the last hundred steps of a policy that a reward makes greedy."""
    logits = start(0.5)
    means = []
    for _ in range(steps):
        logprobs = logits.log_softmax(1)
        entropy = -(logprobs.exp() * logprobs).sum(1)
        greedy = logprobs.exp()[:, 2].mean()
        weights, _ = held.weights(entropy.sum()[None].detach(), torch.tensor([4.0]))
        loss = -pull * greedy + held.loss(
            entropy[:, None],
            torch.ones(4, 1, dtype=torch.bool),
            torch.zeros(4, dtype=torch.long),
            weights,
            torch.tensor([4.0]),
        )
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - gradient).detach().requires_grad_()
        held.ascend(entropy.sum()[None].detach(), torch.tensor([4.0]))
        means.append(entropy.mean().item())
    return means[-100:]


@pytest.mark.parametrize("pull", [1.0, 4.0])
def test_a_reward_that_ends_exploration_is_held_by_dual_variables_and_not_by_the_released_weight(
    pull: float,
) -> None:
    dual = EntropyBand(low=0.2, high=0.6, weight=9.0, controller="dual").for_tasks(["math"])
    fixed = EntropyBand(low=0.2, high=0.6, weight=0.02).for_tasks(["math"])
    assert min(ended(dual, pull)) > 0.2
    assert max(ended(dual, pull)) < 0.6
    assert max(ended(fixed, pull)) < 0.2


def test_weights_are_finite_where_a_bound_is_infinite() -> None:
    for controller in ("dual", "fixed"):
        held = band(high={"default": None}, controller=controller, damping=1.0)
        weights, penalty = held.weights(*sums(0.1, 0.3))
        assert all(map(math.isfinite, [*weights.tolist(), penalty.item()]))


def test_a_checkpoint_without_dual_variables_is_refused_by_a_band_that_needs_them() -> None:
    held = Shaping(length=None, entropy=band())
    held.entropy.ascend(*sums(0.1, 0.74))
    again = Shaping(length=None, entropy=band())
    again.load_state_dict(held.state_dict())
    assert again.entropy.state_dict() == held.entropy.state_dict()
    with pytest.raises(ValueError, match=r"shaping=entropy_released"):
        again.load_state_dict({})
    Shaping(length=None, entropy=None).load_state_dict({})
