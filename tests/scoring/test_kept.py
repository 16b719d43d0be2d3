"""What is kept, and what is not."""

import tracemalloc

from g2rpo.scoring.kept import LONGEST, MOST, kept


def test_a_short_text_is_read_once_and_a_long_one_each_time() -> None:
    read: list[int] = []

    @kept
    def length(text: str) -> int:
        read.append(len(text))
        return len(text)

    for text in ("four", "x" * (LONGEST + 1), "x" * LONGEST):
        assert length(text) == length(text) == len(text)
    assert read == [4, LONGEST + 1, LONGEST + 1, LONGEST]


def test_long_texts_take_no_memory() -> None:
    tracemalloc.start()
    first = kept(str.lower)
    for number in range(2 * MOST):
        first(f"{number}" * LONGEST)
    assert tracemalloc.get_traced_memory()[0] < 2e6
    tracemalloc.stop()
