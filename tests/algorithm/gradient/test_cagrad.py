import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from g2rpo.algorithm.gradient.cagrad import CAGrad


def weights(gradients: np.ndarray, c: float = 0.4) -> list[float]:
    return CAGrad(c=c)(torch.from_numpy(gradients @ gradients.T), 0).tolist()


def test_equal_gradients_at_a_right_angle_grow_by_the_radius() -> None:
    assert weights(np.eye(2)) == pytest.approx([1.4, 1.4], abs=1e-4)


def test_the_weak_task_gets_the_whole_radius_by_hand() -> None:
    # g0 = (1, .5), radius .4 sqrt(1.25) = .4472. <g, d> is 2 and .5: d moves along g2 to
    # (1, .9472), where the second is still the smaller one. Twice that: 1 g1 + 1.8944 g2
    found = weights(np.array([[2.0, 0.0], [0.0, 1.0]]))
    assert found == pytest.approx([1.0, 1 + 0.8 * math.sqrt(1.25)], abs=1e-4)


def test_opposite_gradients_leave_nothing_to_do() -> None:
    assert weights(np.array([[1.0, 0.0], [-1.0, 0.0]])) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("count", "c"), [(30, 0.4), pytest.param(1000, 0.7, marks=pytest.mark.slow)]
)
def test_random_pairs_get_the_direction_whose_worst_task_improves_most(count, c) -> None:
    rng = np.random.default_rng(0)
    for _ in range(count):
        gradients = rng.normal(size=(2, 4)) * [[1.0], [3.0]]
        mean = gradients.mean(0)
        radius = c * np.linalg.norm(mean)

        def dual(share: float, gradients=gradients, mean=mean, radius=radius) -> float:
            mixed = share * gradients[0] + (1 - share) * gradients[1]
            return mixed @ mean + radius * np.linalg.norm(mixed)

        d = np.array(weights(gradients, c)) @ gradients / 2
        assert np.linalg.norm(d - mean) <= radius * (1 + 1e-4)
        # strong duality: the worst inner product equals the minimum of the dual
        best = minimize_scalar(dual, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}).fun
        best = min(best, dual(0.0), dual(1.0))
        assert (gradients @ d).min() == pytest.approx(
            best, abs=1e-3 * np.linalg.norm(gradients) ** 2
        )


@pytest.mark.parametrize("c", [-0.1, 1.0])
def test_a_radius_out_of_range_is_refused(c: float) -> None:
    with pytest.raises(ValueError, match=r"^gradient\.c: expected a radius in \[0, 1\)"):
        CAGrad(c=c)
