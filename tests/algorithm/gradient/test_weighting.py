import pytest
import torch

from g2rpo.algorithm.gradient.aligned_mtl import AlignedMTL
from g2rpo.algorithm.gradient.cagrad import CAGrad
from g2rpo.algorithm.gradient.pcgrad import PCGrad
from g2rpo.algorithm.gradient.sum import Sum
from g2rpo.algorithm.gradient.weighting import TaskWeighting, torchjd

ALL = pytest.mark.parametrize("make", [Sum, PCGrad, lambda: CAGrad(c=0.0), AlignedMTL])


@ALL
def test_tasks_that_are_orthogonal_and_pull_equally_are_added(make) -> None:
    weighting = make()
    assert isinstance(weighting, TaskWeighting)
    found = weighting(4 * torch.eye(5, dtype=torch.float64), 3)
    torch.testing.assert_close(found, torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("make", [PCGrad, CAGrad, AlignedMTL])
def test_the_unit_of_the_loss_does_not_matter(make) -> None:
    gradients = torch.tensor([[1.0, 2.0, 0.0], [-1.0, 0.5, 1.0], [0.0, -1.0, 3.0]]).double()
    gramian = gradients @ gradients.T
    torch.testing.assert_close(make()(1e-12 * gramian, 5), make()(gramian, 5), atol=1e-5, rtol=0)


def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(monkeypatch) -> None:
    monkeypatch.setattr("g2rpo.algorithm.gradient.weighting.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^gradient=pcgrad: torchjd is not installed.*\[gradient"):
        torchjd("pcgrad")
