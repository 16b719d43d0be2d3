import pytest

from g2rpo.data.rows import BadRecord
from g2rpo.data.skips import LISTED, Skips, merged


def test_too_long_is_no_error_and_broken_is_one_unless_some_may_be_left_out() -> None:
    strict, lenient = Skips(), Skips(on_error="skip")
    strict.too_long("math", "rows.json, line 3: 900 tokens")
    with pytest.raises(
        BadRecord, match=r"no such image\. Mend or drop the record, or set data\.on_error=skip"
    ):
        strict.unusable("math", "no such image")
    lenient.unusable("chart", "no such image")
    assert merged(strict.summary(), lenient.summary()) == {
        "unusable": {"chart": 1},
        "too_long": {"math": 1},
        "records": ["rows.json, line 3: 900 tokens", "no such image"],
    }


def test_all_are_counted_and_the_first_are_listed() -> None:
    skips = Skips(on_error="skip")
    for number in range(LISTED + 5):
        skips.unusable("math", f"line {number}")
    again = Skips(on_error="skip")
    again.load_summary(skips.summary())
    again.unusable("math", "one more")
    assert again.summary()["unusable"] == {"math": LISTED + 6}
    assert again.records == [f"line {number}" for number in range(LISTED)]
