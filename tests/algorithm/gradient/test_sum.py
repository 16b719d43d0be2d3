import torch

from g2rpo.algorithm.gradient.sum import Sum


def test_all_weights_are_one_and_no_task_needs_its_own_gradient() -> None:
    weighting = Sum()
    assert weighting(torch.eye(3, dtype=torch.float64), 7).tolist() == [1.0] * 3
    assert not weighting.by_task
