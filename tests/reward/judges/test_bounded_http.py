import math

import pytest

from g2rpo.reward.judges.bounded_http import retry_after_s


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, 0.0), ("2.5", 2.5), ("-3", 0.0), ("nan", 0.0), ("inf", math.inf), ("soon", 0.0)],
)
def test_a_retry_after_header_is_seconds_or_nothing(header: str | None, expected: float) -> None:
    assert retry_after_s(header) == expected


def test_a_date_in_the_past_asks_for_no_pause() -> None:
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
