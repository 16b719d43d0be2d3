import time

import pytest

from g2rpo.scoring.amounts import read_amount, stated_amount


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("14", 14),
        ("fourteen", 14),
        ("twenty-one", 21),
        ("one hundred and five", 105),
        ("in 1953, according to the graph with 12 bars", 1953),
        ("minus 3", -3),
        ("negative 5", -5),
        ("−3", -3),
        ("x=6, y=4", 6),
        ("80%", 80),
        ("three out of four, or 75%", 0.75),
        ("Luca needs $1.45 to buy 2 candies.", 1.45),
        ("17 = 14 + 3", 17),
        ("12 - 5 = 7", 7),
        ("67 minus 53 is 14", 14),
        ("Answer: 14\n\nExplanation: 67 minus 53 is 14.", 14),
        ("He was born in 1953.", 1953),
        ("1 400", 1400),
        ("2 1/2", 2.5),
        ("1.2M", 1.2),
        ("1.5 x 10^3", 1500),
        ("2 \\times 10^{-7}", 2e-07),
        ("The fraction is 3/4 = 0.75", 0.75),
        ("π ≈ 3.14, so 3.1", 3.1),
        ("≈ 3.14", 3.14),
        ("They need 6 moves for 12 coins.", 6),
        ("The current is 8 A, and the voltage 12 V.", 8),
        ("There are 2 dogs and 10 cats, so 12 in total.", 12),
        ("45 (in 2015)", 45),
        ("14 minutes for 2 of them", 14),
        ("there are 5 of 7", 5),
        ("the answer is 5, since 2+3 makes 5 of 7", 5),
        ("In 2015 it was 45", 45),
        ("Between 45 and 50", None),
        ("45-50", None),
        ("45 to 50", None),
        ("6 or 7", None),
        ("either 6 or 7", None),
        ("I cannot determine it without the figure; maybe there are 6 tiles.", None),
        ("It is impossible to tell", None),
        ("about 20", 20),
        ("approximately 3,400 people", 3400),
        ("10:30", None),
        ("The value is 14.", 14),
        ("Difference: 20 - 13 = 7 percentage points", 7),
        ("10 + 1 = 11", 11),
        ("The answer is $5$.", 5),
        ("\\frac{3}{4}", 0.75),
        ("There are 14 cars in 2015.", 14),
        ("From 2010 to 2015, it rose by 12%", 12),
        ("The total of 3 and 4 is 7.", 7),
        ("I'm not sure, but the answer is 5", 5),
        ("14. The chart shows 67 and 53.", 14),
        ("14\n\nThe gap between 67 and 53", 14),
        ("d = 22.3 m", 22.3),
        ("The ratio is 1.06.", 1.06),
        ("5 apples and 3 pears make 8", 8),
        ("It has 4 sides.", 4),
        ("There are four of them.", 4),
        ("no number", None),
        ("The answer is about 12 or 13.", None),
        ("1,5,7", None),
        ("$1,234.5", 1234.5),
        ("It was 5.3 million", 5.3),
        ("12.5 million", 12.5),
        ("The one on the left has 3", 3),
        ("-5 to 5", None),
        ("3-4", None),
        ("5 percent", 5),
        ("The value in 2010 was 5 and in 2015 it was 9, so the difference is 4.", 4),
        ("0.6, that is six of ten.", 0.6),
        ("It costs 5 dollars", 5),
        ("The height is 2.5 × 10^3 m", 2500),
        ("15 (fifteen)", 15),
        ("Fifteen (15)", 15),
        ("between 2010 and 2015 there were 12", 12),
        ("12 out of 30", 0.4),
        ("half", 0.5),
        ("a quarter", 0.25),
        ("2½", 2.5),
        ("2 and a half", 2.5),
        ("at least 15", None),
        ("less than 15", None),
        ("It is not 14 but 15", 15),
        ("not 15", None),
        ("4 - 5", None),
        ("15 and 16", None),
        ("5 pears and 4 apples", None),
        ("15 cm, i.e. 0.15 m", 15),
        ("12\\pi", None),
        ("There are no objects.", 0),
    ],
)
def test_a_sentence_states_one_amount_or_none(text: str, value: float | None) -> None:
    found = stated_amount(text)
    assert (None if found is None else found.value) == (
        None if value is None else pytest.approx(value)
    )


def test_100_000_characters_are_read_within_a_second() -> None:
    for piece in (
        "1 ",
        "1,",
        "one ",
        "is 1 ",
        "(",
        "1/",
        "1 000 ",
        "-",
        "= ",
        "x 10^",
        "and a half ",
    ):
        text = piece * (100_000 // len(piece))
        for read in (read_amount, stated_amount):
            start = time.process_time()
            read(text)
            assert time.process_time() - start < 1, piece


def test_a_number_that_is_taken_back_does_not_count() -> None:
    for text in ("I count 11... no, wait, 12 cars.", "It is 11. Sorry, 12.", "11; actually 12"):
        assert stated_amount(text).value == 12
    assert stated_amount("12, actually").value == 12
