import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from g2rpo.algorithm.advantage.g2rpo_decoupled import DecoupledG2RPO

GROUP = torch.zeros(5, dtype=torch.long)


def close(actual: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(
        actual.double(), torch.tensor(expected, dtype=torch.float64), atol=1e-4, rtol=0
    )


def parts(**values: list[float]) -> dict[str, Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def test_parts_are_ranked_apart_summed_and_ranked_again() -> None:
    # accuracy 0 0 0 0 1 -> -.3204 x 4, 1.2816;   format 1 0 1 1 0 -> .6020, -.9030, .6020, .6020,
    # -.9030 sums .2816, -1.2233, .2816, .2816, .3786 -> ranks 2-4, 1, 2-4, 2-4, 5 of five
    q = norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    middle = q[1:4].mean()
    given = parts(accuracy=[0, 0, 0, 0, 1.0], format=[1.0, 0, 1, 1, 0])
    close(
        DecoupledG2RPO()(torch.zeros(5), GROUP, GROUP, parts=given),
        [middle, q[0], middle, middle, q[4]],
    )


def test_the_total_is_no_part_of_its_own() -> None:
    given = parts(accuracy=[0, 0, 0, 1.0, 1], format=[1.0, 0, 1, 1, 0])
    without, with_total = (
        DecoupledG2RPO()(torch.zeros(5), GROUP, GROUP, parts=chosen)
        for chosen in (given, given | parts(total=[9.0, 8, 7, 6, 5]))
    )
    assert with_total.tolist() == without.tolist()


def test_a_length_part_counts_like_the_others() -> None:
    # accuracy and format cancel to a tie between rows 0 and 1 that length breaks
    given = parts(accuracy=[1.0, 0, 0, 1], format=[0.0, 1, 0, 1], length=[0.0, 1, 0, 0])
    four = torch.zeros(4, dtype=torch.long)
    advantages = DecoupledG2RPO()(torch.zeros(4), four, four, parts=given)
    assert advantages[1] > advantages[0]


def test_only_a_group_in_which_no_part_differs_is_masked() -> None:
    # group 0 differs in structure alone; group 1 in nothing
    given = parts(
        accuracy=[1.0, 1, 1, 0, 0], format=[1.0, 1, 1, 1, 1], structure=[0.0, 0.5, 0.0, 0.5, 0.5]
    )
    groups = torch.tensor([0, 0, 0, 1, 1])
    masked = DecoupledG2RPO()(torch.zeros(5), groups, GROUP, parts=given)
    close(masked, [-0.4837, 0.9674, -0.4837, 0.0, 0.0])
    assert masked[3:].tolist() == [0.0, 0.0]
    kept = DecoupledG2RPO(zero_signal="keep")(torch.zeros(5), groups, GROUP, parts=given)
    q = norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    close(kept, [q[:2].mean(), q[4], q[:2].mean(), q[2:4].mean(), q[2:4].mean()])


def test_sums_that_differ_by_float_noise_tie() -> None:
    # three permutations of the same quantiles: their float32 sums differ by 1e-8 or so, and each
    # means 0
    generator = torch.Generator().manual_seed(3)
    columns = torch.stack([torch.randperm(7, generator=generator) for _ in range(2)]).float()
    given = {"accuracy": columns[0], "format": -columns[0], "structure": torch.ones(7)}
    seven = torch.zeros(7, dtype=torch.long)
    assert (
        DecoupledG2RPO(zero_signal="keep")(torch.zeros(7), seven, seven, parts=given).tolist()
        == [0.0] * 7
    )


def test_missing_parts_are_asked_for() -> None:
    with pytest.raises(ValueError, match="expected parts="):
        DecoupledG2RPO()(torch.zeros(5), GROUP, GROUP)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"advantage\.tie_atol: expected 0 or more"):
        DecoupledG2RPO(tie_atol=-1.0)


@pytest.mark.parametrize("zero_signal", ["mask", "keep"])
def test_a_part_is_ranked_among_the_completions_that_have_it(zero_signal: str) -> None:
    """A value that is absent does the same as one in the middle of two others."""
    nan = float("nan")
    groups, tasks = torch.tensor([0, 0, 0, 1, 1, 1]), torch.zeros(6, dtype=torch.long)
    first = torch.tensor([0.0, 1.0, 2.0, 5.0, 5.0, 5.0])
    absent = {"first": first, "second": torch.tensor([1.0, nan, 3.0, nan, nan, nan])}
    estimator = DecoupledG2RPO(zero_signal=zero_signal)  # type: ignore[arg-type]
    actual = estimator(first, groups, tasks, parts=absent)
    # two values that differ have the quantiles -0.674 and 0.674, three -0.967, 0 and 0.967; all
    # sums are distinct in group 0, and the sums of group 1 are 0 like that of its second row
    middle = {"first": first, "second": torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0, 0.0])}
    assert actual.tolist() == estimator(first, groups, tasks, parts=middle).tolist()
    assert actual[0] < actual[1] == 0.0 < actual[2]
    assert not actual[3:].any()
