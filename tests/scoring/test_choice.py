import pytest

from g2rpo.scoring.choice import same_option


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        " B ",
        "(B)",
        "[b]",
        "{B}",
        "$B$",
        r"\text{B}",
        r"\boxed{B}",
        r"$\mathrm{(B)}$",
        "B%",
    ],
)
def test_dressing_does_not_change_an_option(answer: str) -> None:
    assert same_option(answer, "B")
    assert not same_option(answer, "C")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "()",
        "B.",
        "B)",
        "(B",
        "Answer: B",
        "B, because",
        "B. a cat",
        "BB",
        "A",
        "\x00B",
        "B" * 100_000,
    ],
)
def test_anything_beside_the_letter_is_wrong(answer: str) -> None:
    assert not same_option(answer, "B")


def test_the_gold_option_may_be_dressed_too() -> None:
    assert same_option("c", "(C)")


def test_several_letters_must_all_stand_in_order() -> None:
    assert same_option("A,C", "A, C")
    assert not same_option("C, A", "A, C")
    assert not same_option("A", "A, C")
