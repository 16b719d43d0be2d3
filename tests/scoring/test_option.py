import pytest

from g2rpo.scoring.option import infer_option, read_option

ANIMALS = {"A": "teddy bear", "B": "rabbit", "C": "cat", "D": "dog"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B one two three", "B"),  # the fourth word from the end
        ("B one two three four", None),
        ("The answer is B one two three four", "B"),
        ("the answer is dog", "D"),  # a letter without an end: `answer is d`
        ("A, B and so on, the answer is **c**", "C"),
        ("A teddy bear", "A"),
        ("a", None),
        ("A or B", None),
        ("Z", "Z"),
        ("Cannot determine the answer", "Z"),
        ("Failed to obtain answer via API. B", None),
        ("it is a rabbit", "B"),
        ("a cat or a dog", None),
        (
            "a rabbit, as far as I can see in this picture",
            None,
        ),  # 45 characters, more than twice the 22 of the options
        ("{B}", "B"),
        ("", None),
    ],
)
def test_the_rules_of_vlmevalkit(text: str, letter: str | None) -> None:
    assert infer_option(text, ANIMALS) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("b", "B"),
        ("(b).", "B"),
        ("Option C", "C"),
        ("answer: d", "D"),
        ("B. rabbit", "B"),
        ("b) rabbit", "B"),
        ("B\n\nBecause it has long ears and hops about in the garden", "B"),
        ("A. is wrong. I choose C", "C"),
        ("Not (C), the answer is (B)", "B"),
        ("(A) is wrong, (B) is wrong, so (C)", "C"),
        ("The correct option is B because A is wrong.", "B"),
        ("A dog is here", "D"),
        ("The answer is a cat", "C"),
        ("It is a rabbit, and that for many reasons which I shall now explain at length", "B"),
        ("Teddy Bear.", "A"),
        ("A or B", None),
        ("answer is not A", None),
        ("cat and dog", None),
        ("catalog", None),
        ("E", None),
        ("", None),
    ],
)
def test_what_a_person_would_read(text: str, letter: str | None) -> None:
    assert read_option(text, ANIMALS) == letter


def test_an_option_inside_another_one_does_not_count() -> None:
    options = {"A": "red", "B": "dark red", "C": "1", "D": "12"}
    assert [
        read_option(text, options) for text in ("it is dark red", "it is red", "about 12", "1.5")
    ] == ["B", "A", "D", None]


def test_a_letter_beats_an_option_whose_text_is_another_letter() -> None:
    assert read_option("B", {"A": "B", "B": "A"}) == "B"
