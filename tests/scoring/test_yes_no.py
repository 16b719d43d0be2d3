import pytest

from g2rpo.scoring.yes_no import leading_yes_no, stated_yes_no


@pytest.mark.parametrize(
    ("text", "leading", "stated"),
    [
        ("yes", "yes", "yes"),
        (" NO, it cannot", "no", "no"),
        ("Nobody knows", "no", None),
        ("**Yes**", None, "yes"),
        ("The answer is no.", None, "no"),
        ("No. One could say yes", "no", "no"),
        ("It could be yes or no", None, None),
        ("I know", None, None),
        ("", None, None),
    ],
)
def test_yes_and_no(text: str, leading: str | None, stated: str | None) -> None:
    assert (leading_yes_no(text), stated_yes_no(text)) == (leading, stated)


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("There is enough space for the chair.", "yes"),
        ("There is not enough space for the chair.", "no"),
        ("The chair can fit there.", "yes"),
        ("The chair cannot fit there.", "no"),
        ("It is too wide to fit.", "no"),
        ("It fits because it is not too wide.", "yes"),
        ("That is not correct.", "no"),
        ("No, wait. Yes.", "yes"),
        ("I cannot tell whether it fits.", None),
        ("There is a chair.", None),
        ("There is no chair.", None),
    ],
)
def test_a_statement_can_mean_yes_or_no(text: str, stated: str | None) -> None:
    assert stated_yes_no(text) == stated


def test_a_repeated_instruction_says_nothing() -> None:
    assert stated_yes_no("Answer yes or no: no") == "no"
    assert stated_yes_no("Please answer with yes or no. Yes") == "yes"
    assert stated_yes_no("Answer yes or no") is None
