"""docs/explanations/g2rpo.md has the numbers of the estimator that training uses."""

import pytest
import worked_group

from g2rpo.algorithm.advantage.g2rpo import G2RPO


def test_the_page_has_the_tables_of_the_script() -> None:
    assert worked_group.page() == worked_group.PAGE.read_text()


def test_step_one_by_hand_is_the_estimator_within_the_group() -> None:
    by_hand = worked_group.quantiles(worked_group.GROUP)
    assert by_hand == pytest.approx(
        worked_group.advantages(G2RPO(scope="group"), worked_group.GROUP), abs=1e-5
    )
    # two share places 7 and 8 of 8: (Phi^-1(13/16) + Phi^-1(15/16)) / 2 = (0.8871 + 1.5341) / 2
    assert by_hand[0] == pytest.approx(1.2106, abs=1e-4)


def test_step_two_by_hand_is_the_estimator_with_both_groups() -> None:
    first, second = map(worked_group.quantiles, (worked_group.GROUP, worked_group.OTHER))
    by_hand = worked_group.quantiles(worked_group.rounded([*first, *second]))
    assert by_hand == pytest.approx(
        worked_group.advantages(G2RPO(), worked_group.GROUP, worked_group.OTHER), abs=1e-5
    )
    assert by_hand[8] > by_hand[0]  # the only right one of its group is above two that share


def test_an_error_of_the_reward_moves_no_rank_of_the_others() -> None:
    wrong = (worked_group.GROUP[0] + worked_group.ERROR, *worked_group.GROUP[1:])
    before, after = map(worked_group.quantiles, (worked_group.GROUP, wrong))
    assert after[2:] == before[2:]
    assert after[1] > 0.0
