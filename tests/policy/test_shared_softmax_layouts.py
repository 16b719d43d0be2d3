"""Attention over 500 packed rows of random lengths, by each kind of kernel call."""

import random

import pytest
from packed_rows import CALLS, HEADS, assert_exact


@pytest.mark.slow
@pytest.mark.parametrize("calls", CALLS)
def test_output_and_gradients_are_exact_for_500_random_layouts(
    calls: str,
) -> None:
    draw = random.Random(7)
    for _ in range(500):
        num, size = draw.randint(1, 5), draw.randint(1, 4)
        longest = draw.choice((2, 9, 40))
        prompts = [draw.randint(1, longest) for _ in range(num)]
        completions = [draw.randint(0, longest) for _ in range(num * size)]
        # scores of 60 would be rounded to 4e-6 already
        assert_exact(CALLS[calls], prompts, completions, draw.choice(HEADS), size=1.0)
