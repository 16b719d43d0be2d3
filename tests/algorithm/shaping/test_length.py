import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.shaping.length import LengthBand, trapezoid
from g2rpo.data.gym.source import TASKS

MATH, CHART, DOCUMENT = (TASKS.index(task) for task in ("math", "chart", "document"))
BANDS = {"math": [6, 10, 24, 40], "chart": [4, 8, 20, 36]}


def band_of(**options: bool) -> LengthBand:
    """A band in a run of the gym's tasks, of which two have one."""
    bands = BANDS | {"default": None}
    return LengthBand(bands=bands, weight=0.1, min_accuracy=0.5, **options).for_tasks(TASKS)


def part(
    band: LengthBand,
    tokens: list[int],
    tasks: list[int],
    groups: list[int],
    accuracy: list[float],
    total: list[float],
) -> Tensor:
    return band.part(
        torch.tensor(tokens),
        torch.tensor(tasks),
        torch.tensor(groups),
        torch.tensor(accuracy),
        torch.tensor(total),
    )


def test_the_trapezoid_by_hand() -> None:
    tokens = torch.tensor([0, 6, 7, 9, 10, 17, 24, 25, 32, 39, 40, 41, 900])
    expected = torch.tensor([0, 0, 0.25, 0.75, 1, 1, 1, 15 / 16, 0.5, 1 / 16, 0, 0, 0])
    torch.testing.assert_close(
        trapezoid(tokens, torch.tensor([6.0, 10, 24, 40]).expand(13, 4)), expected
    )


def test_a_side_of_no_width_is_a_step() -> None:
    tokens = torch.tensor([0, 4, 5, 8, 9, 12])
    torch.testing.assert_close(
        trapezoid(tokens, torch.tensor([5.0, 5, 8, 8]).expand(6, 4)),
        torch.tensor([0.0, 0, 1, 1, 0, 0]),
    )
    torch.testing.assert_close(
        trapezoid(tokens, torch.tensor([0.0, 0, 8, 12]).expand(6, 4)),
        torch.tensor([1.0, 1, 1, 1, 0.75, 0]),
    )


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=4, max_size=4, unique=True).map(sorted),
    st.lists(st.integers(0, 60), min_size=1, max_size=9),
)
def test_numpy_interpolates_the_same(band: list[int], tokens: list[int]) -> None:
    actual = trapezoid(torch.tensor(tokens), torch.tensor(band).float().expand(len(tokens), 4))
    np.testing.assert_allclose(actual.numpy(), np.interp(tokens, band, [0, 1, 1, 0]), atol=1e-6)


def test_each_task_has_its_own_band_and_a_task_without_one_gets_nothing() -> None:
    band = band_of()
    actual = part(
        band,
        [8, 8, 8, 12, 12, 12],
        [MATH, CHART, DOCUMENT] * 2,
        [0, 1, 2] * 2,
        [1.0] * 6,
        [1.0, 1, 1, 0, 0, 0],
    )
    torch.testing.assert_close(actual, torch.tensor([0.5, 1, 0, 1, 1, 0]))


def test_length_pays_only_where_the_answer_is_good_enough() -> None:
    band = band_of()
    actual = part(
        band, [12, 12, 12, 7], [MATH] * 4, [3] * 4, [0.49, 0.5, 1.0, 0.8], [0.49, 0.5, 1.0, 0.8]
    )
    torch.testing.assert_close(actual, torch.tensor([0.0, 1, 1, 0.25]))


def test_a_group_that_agrees_on_accuracy_and_total_shares_the_mean_of_its_parts() -> None:
    # group 4 agrees; group 9 agrees on accuracy but not on format, so its lengths count one by one
    arguments = (
        [8, 12, 2, 8, 12],
        [MATH] * 5,
        [4, 9, 4, 9, 4],
        [1.0] * 5,
        [1.5, 0.9, 1.5, 1.5, 1.5],
    )
    apart = band_of(allow_in_unanimous_groups=True)
    torch.testing.assert_close(part(apart, *arguments), torch.tensor([0.5, 1, 0, 0.5, 1]))
    band = band_of()
    actual = part(band, *arguments)
    torch.testing.assert_close(actual, torch.tensor([0.5, 1, 0.5, 0.5, 0.5]))
    assert actual[0] == actual[2] == actual[4]


def test_a_group_that_agrees_on_the_total_but_not_on_accuracy_is_no_unanimous_group() -> None:
    band = band_of()
    torch.testing.assert_close(
        part(band, [12, 8], [MATH] * 2, [0, 0], [1.0, 0.6], [1.0, 1.0]), torch.tensor([1.0, 0.5])
    )


def test_a_group_that_agrees_on_a_wrong_answer_gets_nothing() -> None:
    band = band_of()
    assert part(band, [12, 8, 10], [MATH] * 3, [0] * 3, [0.0] * 3, [0.1] * 3).tolist() == [0.0] * 3


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0.0, 1.0])), min_size=4, max_size=24)
)
def test_length_never_turns_a_zero_signal_group_into_signal(cells: list[tuple[int, float]]) -> None:
    groups = torch.arange(len(cells)) % 3
    tasks = torch.full_like(groups, MATH)
    total = torch.tensor([accuracy for _, accuracy in cells])
    band = band_of()
    lengths = torch.tensor([tokens for tokens, _ in cells])
    shaped = total + band.weight * band.part(lengths, tasks, groups, total, total)
    estimator = G2RPO(scope="group")
    for group in groups.unique():
        own = groups == group
        if len(total[own].unique()) == 1:
            assert (estimator(shaped, groups, tasks)[own] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"bands": {"math": [6, 10, 40, 24]}},
            (
                r"bands\.math: expected 0 <= min <= low <= high <= max \(tokens\), got \[6, 10, 40,"
                r" 24\]"
            ),
        ),
        ({"bands": {"chart": [6, 10, 24]}}, r"shaping\.length\.bands\.chart: expected 0 <= min"),
        ({"weight": -0.1}, r"shaping\.length\.weight: expected 0 or more .*, got -0.1"),
        (
            {"min_accuracy": 1.5},
            r"shaping\.length\.min_accuracy: expected an accuracy in \[0, 1\], got 1.5",
        ),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LengthBand(**{"bands": BANDS, "weight": 0.1, "min_accuracy": 0.5} | options)


def test_a_task_beyond_the_known_ones_is_an_error_and_not_a_band() -> None:
    band = band_of()
    with pytest.raises(IndexError):
        part(band, [8], [len(TASKS)], [0], [1.0], [1.0])


def test_tasks_of_a_run_take_their_own_band_or_the_default_in_the_order_of_the_run() -> None:
    band = LengthBand(
        bands={"gui": [1, 2, 3, 4], "default": [5, 6, 7, 8], "medical": None},
        weight=0.1,
        min_accuracy=0.5,
    )
    rows = band.for_tasks(["counting", "gui", "medical"]).bands.tolist()
    assert rows[:2] == [[5, 6, 7, 8], [1, 2, 3, 4]]
    assert rows[2][3] < 0  # no length is inside


def test_a_task_without_a_band_is_refused_with_both_remedies() -> None:
    band = LengthBand(bands=BANDS, weight=0.1, min_accuracy=0.5)
    with pytest.raises(
        ValueError,
        match=r"^shaping\.length\.bands: expected a band for every task, got none for gui, medical;"
        r" add '\+shaping\.length\.bands\.gui=.* or \+shaping\.length\.bands\.default, .*null",
    ):
        band.for_tasks(["math", "gui", "medical"])
