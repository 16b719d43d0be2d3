from itertools import permutations, product

import pytest
import torch
from torch import Tensor

from g2rpo.algorithm.gradient.pcgrad import PCGrad


def gramian_of(gradients: Tensor) -> Tensor:
    return gradients.double() @ gradients.double().T


def test_two_gradients_in_conflict_by_hand() -> None:
    # <g1, g2> = -1, |g1|^2 = 1, |g2|^2 = 2: h1 = g1 + g2 / 2, h2 = g2 + g1
    gramian = gramian_of(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
    assert PCGrad()(gramian, 0).tolist() == pytest.approx([2.0, 1.5])


def test_gradients_without_conflict_are_added() -> None:
    gramian = gramian_of(torch.tensor([[1.0, 0.0], [3.0, 1.0], [0.0, 2.0]]))
    assert PCGrad()(gramian, 0).tolist() == [1.0, 1.0, 1.0]


def surgery(gradients: Tensor, task: int, order: tuple[int, ...]) -> Tensor:
    """h of algorithm 1, with the gradients themselves."""
    h = gradients[task].clone()
    for other in order:
        inner = h @ gradients[other]
        if inner < 0:
            h -= inner / gradients[other].square().sum() * gradients[other]
    return h


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_conflicts_are_solved_in_one_of_the_possible_orders(count: int) -> None:
    generator, weighting = torch.Generator().manual_seed(0), PCGrad()
    seen = set()
    for seed in range(count):
        gradients = torch.randn(3, 5, generator=generator, dtype=torch.float64)
        found = weighting(gramian_of(gradients), seed) @ gradients
        possible = [
            [surgery(gradients, task, order) for order in permutations({0, 1, 2} - {task})]
            for task in range(3)
        ]
        gaps = [(sum(choice) - found).abs().max().item() for choice in product(*possible)]
        assert min(gaps) < 1e-9
        seen.add(gaps.index(min(gaps)))
    assert seen == set(range(8))


def test_the_seed_alone_decides_and_the_global_one_is_left_alone() -> None:
    gradients = torch.randn(6, 5, generator=torch.Generator().manual_seed(3))
    gramian, weighting = gramian_of(gradients), PCGrad()
    torch.manual_seed(1)
    first = weighting(gramian, 5)
    drawn = torch.rand(1).item()
    torch.manual_seed(1)
    assert torch.rand(1).item() == drawn
    assert weighting(gramian, 5).tolist() == first.tolist() != weighting(gramian, 6).tolist()
