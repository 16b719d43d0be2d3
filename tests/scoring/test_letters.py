import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.scoring.letters import answer_letters, gold_letters, labeled_option, letters_of_text

OPTIONS = {"A": "7 A", "B": "5 A", "C": "3 A", "D": "Zero"}
SEPARATORS = ("", ",", ", ", " and ", ";", "/", " ", "、", " & ", "|", ", and ")


@given(
    st.sets(st.sampled_from("ABCDEFGHIJ"), min_size=1), st.sampled_from(SEPARATORS), st.randoms()
)
def test_a_set_of_letters_is_read_in_any_order_and_with_any_separator(
    letters: set[str], separator: str, rng: object
) -> None:
    order = sorted(letters)
    rng.shuffle(order)  # type: ignore[attr-defined]
    text = separator.join(order)
    for form in (text, f"({text})", f"{text}.", f"[{text}]"):
        assert gold_letters(form, {}) == letters
        assert answer_letters(f"The answers are {form}", {}) == letters


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DO",
        "USA",
        "AA",
        "be",
        "null",
        "true",
        "yes",
        "tall girl",
        "A or B",
        "C-D",
        "A?B",
        "1",
        "not A",
    ],
)
def test_words_are_no_letters(text: str) -> None:
    assert gold_letters(text, {}) is None


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("C. 3 A", "C"),
        ("Zero", "D"),
        ("zero.", "D"),
        ("3 A", "C"),
        ("A. 7 A, D. Zero", "AD"),
        ("ad", "AD"),
        ("E", ""),
    ],
)
def test_golds_are_read_with_the_options(text: str, letters: str) -> None:
    assert gold_letters(text, OPTIONS) == (frozenset(letters) or None)


def test_a_label_and_its_text_belong_together() -> None:
    assert [
        labeled_option(text, OPTIONS) for text in ("C. 3 A", "(d) zero", "C. 5 A", "C", "x. y")
    ] == ["C", "D", None, None, None]
    assert (
        letters_of_text("same", {"A": "same", "B": "same"}) == frozenset()
    )  # two options of one text
