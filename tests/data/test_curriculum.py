"""Prompts rest after groups that taught nothing, for as long as was asked."""

import pytest

from g2rpo.data.curriculum import PassRate
from g2rpo.data.stream import EveryPrompt


def test_a_prompt_rests_for_whole_epochs_after_an_easy_or_a_hard_group() -> None:
    rates = PassRate(low=0.1, high=0.9, hard_epochs=1, easy_epochs=3)
    for index, accuracy in enumerate([0.1, 0.5, 0.9]):
        rates.observe("math", index, 4, accuracy)
    admitted = {
        epoch: [rates.admits("math", index, epoch) for index in range(3)] for epoch in range(5, 10)
    }
    assert admitted == {
        5: [False, True, False],
        6: [True, True, False],
        7: [True, True, False],
        8: [True, True, True],
        9: [True, True, True],
    }
    assert all(rates.admits("chart", index, 5) for index in range(3))


def test_a_group_that_teaches_again_ends_the_rest() -> None:
    rates = PassRate(easy_epochs=5)
    rates.observe("math", 2, 0, 1.0)
    rates.observe("math", 2, 0, 0.5)
    assert rates.admits("math", 2, 1)


def test_memory_survives_a_checkpoint() -> None:
    rates, restored = PassRate(), PassRate()
    rates.observe("document", 7, 0, 0.0)
    restored.load_state_dict(rates.state_dict())
    assert not restored.admits("document", 7, 1)
    assert restored.admits("document", 7, 2)
    assert EveryPrompt().state_dict() == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0.9, "high": 0.1}, "expected 0 <= low < high <= 1"),
        ({"easy_epochs": -1}, r"curriculum\.easy_epochs: .* got -1"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PassRate(**options)
