import numpy as np
import pytest
import torch

from g2rpo.algorithm.advantage.gdpo import GDPO

PARTS = {"accuracy": [1.0, 0.0, 0.0, 0.5, 0.7], "format": [1.0, 0.0, 1.0, 0.0, 1.0]}
GROUPS = torch.tensor([0, 0, 0, 1, 1])


def by_numpy(weights: np.ndarray) -> np.ndarray:
    summed = np.zeros(5)
    for values in PARTS.values():
        for rows in (slice(0, 3), slice(3, 5)):
            own = np.array(values)[rows]
            summed[rows] += (own - own.mean()) / (own.std(ddof=1) + 1e-6)
    mean = np.average(summed, weights=weights)
    return (summed - mean) / np.sqrt(np.average((summed - mean) ** 2, weights=weights) + 1e-6)


@pytest.mark.parametrize("tokens", [None, [9, 1, 4, 2, 30]])
def test_numpy_whitens_the_sum_of_parts_the_same(tokens: list[int] | None) -> None:
    parts = {name: torch.tensor(values, dtype=torch.float64) for name, values in PARTS.items()}
    lengths = None if tokens is None else torch.tensor(tokens)
    actual = GDPO()(
        torch.zeros(5, dtype=torch.float64), GROUPS, GROUPS, parts=parts, completion_tokens=lengths
    )
    expected = by_numpy(np.array(tokens or [1] * 5, dtype=float))
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-9)


def test_the_total_is_no_part_of_its_own() -> None:
    parts = {name: torch.tensor(values) for name, values in PARTS.items()}
    with_total = parts | {"total": torch.tensor([5.0, 1.0, 2.0, 8.0, 0.0])}
    assert (
        GDPO()(torch.zeros(5), GROUPS, GROUPS, parts=parts).tolist()
        == GDPO()(torch.zeros(5), GROUPS, GROUPS, parts=with_total).tolist()
    )


def test_a_part_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="got inf for completion 1"):
        GDPO()(
            torch.zeros(2),
            GROUPS[:2],
            GROUPS[:2],
            parts={"accuracy": torch.tensor([0.0, float("inf")])},
        )


def test_a_part_is_standardized_among_the_completions_that_have_it() -> None:
    """Group 0 lacks a value of the second part, group 1 the whole part."""
    nan = float("nan")
    parts = {
        "first": torch.tensor([1.0, 0.0, 0.0, 0.5, 0.7], dtype=torch.float64),
        "second": torch.tensor([3.0, nan, 5.0, nan, nan], dtype=torch.float64),
    }
    first = [np.array([1.0, 0.0, 0.0]), np.array([0.5, 0.7])]
    summed = np.concatenate(
        [(own - own.mean()) / (own.std(ddof=1) + 1e-6) for own in first]
    ) + np.array([-1, 0, 1, 0, 0]) / (np.sqrt(2) + 1e-6)
    expected = (summed - summed.mean()) / np.sqrt(summed.var() + 1e-6)
    actual = GDPO()(torch.zeros(5, dtype=torch.float64), GROUPS, GROUPS, parts=parts)
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-9)


def test_what_is_only_logged_is_no_part() -> None:
    parts = {name: torch.tensor(values) for name, values in PARTS.items()}
    more = parts | {"log/letters": torch.tensor([5.0, 1.0, 2.0, 8.0, float("nan")])}
    assert (
        GDPO()(torch.zeros(5), GROUPS, GROUPS, parts=parts).tolist()
        == GDPO()(torch.zeros(5), GROUPS, GROUPS, parts=more).tolist()
    )
