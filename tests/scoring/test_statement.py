import pytest

from g2rpo.scoring.statement import (
    REFUSAL,
    answer_tail,
    core,
    is_unsure,
    states,
    trend,
    without_negated,
)


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        ("The answer is $5$. It is prime.", "$5$"),
        ("Answer: 3.5", "3.5"),
        ("The answer to the question is red, because it is", "red"),
        ("The answer was 3. No, the answer is 4", "4"),
        ("答案是B", "B"),
        ("I answered", ""),
    ],
)
def test_the_tail_follows_the_last_answer_is(text: str, tail: str) -> None:
    assert answer_tail(text) == tail


def test_a_refusal_a_hedge_and_a_statement() -> None:
    refusals = (
        "I cannot determine it",
        "It is not clear",
        "I'm sorry",
        "There is no text visible.",
    )
    assert all(REFUSAL.search(text) and is_unsure(text) for text in refusals)
    assert is_unsure("maybe 6")
    assert not any(map(is_unsure, ("about 6", "No, it can be seen", "It cannot fit")))


def test_a_core_and_what_is_not_denied() -> None:
    assert [core(text) for text in ("It's a dog.", "They are red!", "42")] == ["dog", "red", "42"]
    assert without_negated("a dog, not a cat").split() == ["a", "dog,"]
    assert without_negated("It isn't a cat. A dog").split()[-2:] == ["A", "dog"]


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("Germany has the highest value.", True),
        ("Germany (45%)", True),
        ("The highest value is in Germany.", True),
        ("East Germany has it", False),
        ("France, which is higher than Germany", False),
        ("Germany and France have it", False),
        ("It is not Germany", False),
    ],
)
def test_a_sentence_that_states_a_name(text: str, stated: bool) -> None:
    assert states(text, "Germany") is stated


def test_how_a_curve_moves() -> None:
    texts = ("It increased.", "It rises, then falls", "It decreases as x increases", "maybe a drop")
    assert [trend(text) for text in texts] == ["increas", "", "decreas", ""]


def test_a_negated_list_is_left_out_up_to_its_last_item() -> None:
    assert without_negated("It is not a cat (A), dog (B) or cow (C). It is D").split() == [
        "It",
        "is",
        ".",
        "It",
        "is",
        "D",
    ]
