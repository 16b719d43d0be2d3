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
