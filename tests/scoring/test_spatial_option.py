import pytest

from g2rpo.scoring.spatial_option import spatial_option


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("<answer>cart</answer>", "C"),
        ("<answer>J</answer>", "J"),
        ("<answer>table</answer>", None),
        ("<think>A</think>\nD", "A"),
        ("<think>so A it is</think>\nD", "D"),
        ("c", "C"),
        ("**B**", "B"),
        ("D. cart\nB: cabinet", "B"),
        ("A: door\nB: cabinet\nAnswer: D", "D"),
        ("Option A: x\nOption B: y", None),
        ("final answer: b", "B"),
        ("A and B", None),
        ("E", "E"),
        (
            "C, since\none\ntwo\nthree\nfour\nfive\nsix\nseven",
            "C",
        ),  # only the whole text is left to look at
        ("the answer is b, the answer is c", "B"),
        ("cart", None),
        ("", None),
    ],
)
def test_the_letter_is_found_in_easi_s_order(text: str, letter: str | None) -> None:
    assert spatial_option(text) == letter
