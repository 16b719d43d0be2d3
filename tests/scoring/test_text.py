import math
import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.scoring.text import (
    anls,
    common_subsequence,
    edit_distance,
    rouge,
    word_accuracy,
)

words = st.lists(st.sampled_from("abc"), max_size=12)


@settings(max_examples=50, deadline=None)
@given(words, words)
def test_edit_distance_and_common_subsequence_equal_their_definitions(
    first: list[str], second: list[str]
) -> None:
    @cache
    def edits(i: int, j: int) -> int:
        if min(i, j) == 0:
            return max(i, j)
        swap = edits(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(swap, edits(i - 1, j) + 1, edits(i, j - 1) + 1)

    @cache
    def shared(i: int, j: int) -> int:
        if min(i, j) == 0:
            return 0
        if first[i - 1] == second[j - 1]:
            return shared(i - 1, j - 1) + 1
        return max(shared(i - 1, j), shared(i, j - 1))

    assert edit_distance(first, second) == edits(len(first), len(second))
    assert common_subsequence(first, second) == shared(len(first), len(second))


def test_sequences_longer_than_a_machine_word_are_handled() -> None:
    first = [str(i) for i in range(300)]
    assert edit_distance(first, [*first[7:], "x"]) == 8
    assert common_subsequence(first, first[::-1]) == 1
    assert common_subsequence(first, first[100:]) == 200


@pytest.mark.parametrize(
    ("answer", "gold", "accuracy"),
    [
        ("Invoice No. 4821 total $35.20", "Invoice No. 4821 total $35.20", 1.0),
        (
            "invoice no. 4821 total $35.20",
            "Invoice No. 4821 total $35.20",
            0.6,
        ),  # two of five words
        ("Invoice  No.\n4821", "Invoice No. 4821", 1.0),
        ("a", "a b c d", 0.25),
        ("Hello world x", "Hello world", 0.5),
        ("STOP x", "STOP", 0.0),
        ("STOP x y z", "STOP", 0.0),
        ("b a d c", "a b c d", 0.25),  # three edits: drop b, keep a, swap d for b, keep c, add d
        ("", "STOP", 0.0),
    ],
)
def test_word_accuracy_by_hand(answer: str, gold: str, accuracy: float) -> None:
    assert word_accuracy(answer, gold) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("answer", "golds", "score"),
    [
        ("ITC Limted", ["ITC Limited"], 10 / 11),
        ("itc  limited\n", ["ITC Limited"], 1.0),
        ("ab", ["ac"], 0.5),  # the threshold itself is kept
        ("ab", ["acd"], 0.0),
        ("60", ["60%", "60"], 1.0),
        ("60", ["60%"], 2 / 3),
        ("", ["x"], 0.0),
        ("", [""], 1.0),
        ("x", [], 0.0),
        ("ab \n", ["ac"], 0.75),  # the distance 1 over the raw length 4
    ],
)
def test_anls_by_hand(answer: str, golds: list[str], score: float) -> None:
    assert anls(answer, golds) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("A RED BUS IS PARKED NEAR THE STATION", "a red bus is parked near the station", 1.0),
        # one of 6 and 8 words: 2 * 1 / 14; no pair of words; common subsequence 1
        (
            "the cat sleeps on a mat",
            "red bus is parked near the old station",
            (1 / 7 + 0 + 1 / 7) / 3,
        ),
        # words 3 of 3 and 4: 6 / 7; pairs (b c) 1 of 2 and 3: 2 / 5; common subsequence b c: 4 / 7
        ("b c a", "a b c d", (6 / 7 + 2 / 5 + 4 / 7) / 3),
        ("play play play", "play", (2 / 4 + 0 + 2 / 4) / 3),
        (
            "a a b",
            "a a c",
            (2 / 3 + 1 / 2 + 2 / 3) / 3,
        ),  # a word twice on both sides is shared twice
        ("dogs played", "dog playing", 1.0),
        ("", "a b", 0.0),
        ("?!", "a b", 0.0),
        ("été", "ete", 0.0),  # only a-z and 0-9 are letters to ROUGE
    ],
)
def test_rouge_by_hand(answer: str, gold: str, score: float) -> None:
    assert rouge(answer, gold) == pytest.approx(score)


@pytest.mark.parametrize("judge", [word_accuracy, rouge])
def test_a_flood_of_text_scores_about_nothing_and_quickly(judge) -> None:  # type: ignore[no-untyped-def]
    start = time.process_time()
    assert math.isclose(
        judge("stop it " * 12_500, "please stop the car at once"), 0.0, abs_tol=0.01
    )
    assert time.process_time() - start < 2
