"""What the keys below `estimate` may be."""

import pytest

from g2rpo.training.estimate.assumptions import Assumptions


def test_null_assumes_nothing_and_a_mapping_is_taken() -> None:
    assert Assumptions.read({"gib": None}) == Assumptions.read(None) == Assumptions()
    assert Assumptions.read({"gib": 80, "tflops": 989.0}) == Assumptions(gib=80, tflops=989.0)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "expected a mapping with some of gib, tflops, .*got 3; try estimate.gib=80"),
        ({"gb": 80}, "expected a mapping with .*got 'gb'"),
        ({"gib": "80GB"}, r"estimate\.gib: expected a number, got '80GB'"),
        ({"gib": -1}, r"estimate\.gib: expected a number above 0, got -1"),
        ({"efficiency": 1.5}, r"estimate\.efficiency: expected a share in \(0, 1\], got 1.5"),
        (
            {"image_tokens": 500},
            r"estimate\.image_tokens=500: expected fewer than estimate\.prompt_tokens=None",
        ),
    ],
)
def test_anything_else_says_what_was_expected(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Assumptions.read(value)
