import numpy as np
import pytest
import torch

from g2rpo.algorithm.gradient.aligned_mtl import AlignedMTL

LENGTHS = np.diag([1.0, 2.0, 5.0])


@pytest.mark.parametrize(("scale", "length"), [("min", 1.0), ("median", 2.0), ("rmse", 10**0.5)])
def test_orthogonal_gradients_get_one_length_by_hand(scale: str, length: float) -> None:
    # eigenvalues of the Gram matrix: 1, 4, 25; their mean is 10
    found = AlignedMTL(scale=scale)(torch.from_numpy(LENGTHS @ LENGTHS.T), 0)
    assert found.tolist() == pytest.approx([length, length / 2, length / 5])


@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
def test_random_matrices_become_orthogonal_by_their_singular_vectors(scale, count) -> None:
    rng, weighting = np.random.default_rng(0), AlignedMTL(scale=scale)
    measure = {"min": np.min, "median": np.median, "rmse": np.mean}[scale]
    for _ in range(count):
        gradients = rng.normal(size=(3, 6)) * rng.uniform(0.2, 3.0, size=(3, 1))
        left, values, right = np.linalg.svd(gradients, full_matrices=False)
        expected = np.sqrt(measure(values**2)) * (left @ right).sum(0)
        found = weighting(torch.from_numpy(gradients @ gradients.T), 0).numpy() @ gradients
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_gradients_in_one_direction_span_one_dimension_only() -> None:
    # g and 2 g: one singular value sqrt(5); the closest matrix is itself
    gradients = np.array([[1.0, 0.0], [2.0, 0.0]])
    found = AlignedMTL()(torch.from_numpy(gradients @ gradients.T), 0).numpy() @ gradients
    assert found.tolist() == pytest.approx([3.0, 0.0])


def test_another_scale_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"gradient\.scale: expected one of min, median, rmse, got"
    ):
        AlignedMTL(scale="max")
