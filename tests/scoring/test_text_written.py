import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.scoring.text import readable, reading_accuracy, rouge, word_accuracy, wording_similarity

WORDS = st.lists(
    st.sampled_from(["two", "dogs", "are", "playing", "Red", "bus", "4821", "relations"]),
    min_size=1,
    max_size=8,
).map(" ".join)


@given(WORDS, WORDS)
def test_plain_english_is_scored_as_in_the_release(answer: str, gold: str) -> None:
    assert reading_accuracy(answer, gold) == pytest.approx(word_accuracy(answer, gold))
    if len(gold.split()) > 1:
        assert wording_similarity(answer, gold) == pytest.approx(rouge(answer, gold))


@given(st.text(min_size=1))
def test_a_text_is_worth_one_against_itself(text: str) -> None:
    assert reading_accuracy(text, text) == 1
    assert wording_similarity(text, text) == 1


@given(st.text(), st.text())
def test_scores_stay_between_nothing_and_all(answer: str, gold: str) -> None:
    assert 0 <= reading_accuracy(answer, gold) <= 1
    assert 0 <= wording_similarity(answer, gold) <= 1


def test_characters_are_counted_where_there_are_no_spaces() -> None:
    assert reading_accuracy("今日は晴れ", "今日は雨") == pytest.approx(
        1 - 2 / 5
    )  # two edits, five characters in the longer text
    assert reading_accuracy("ฝนตก", "ฝนตกมาก") == pytest.approx(4 / 7)
    assert reading_accuracy("STOP 止まれ", "STOP 止まる") == pytest.approx(
        3 / 4
    )  # the word STOP is one item
    assert reading_accuracy("비가 온다", "비가 왔다") == pytest.approx(1 / 2)  # Korean has spaces
    # 3 of 4 and 4 characters: R1 = RL = 6/8; 2 of 3 pairs
    assert wording_similarity("红色汽车", "红色火车") == pytest.approx((6 / 8 + 2 / 6 + 6 / 8) / 3)


def test_marks_and_accents_belong_to_their_letters() -> None:
    assert readable("cafe\u0301") == readable("café") == "café"
    assert wording_similarity("विमान", "वमन") == 0
    assert wording_similarity("cafe", "café") == 0


def test_hostile_texts_take_no_time() -> None:
    start = time.process_time()
    for text in (
        "word " * 20_000,
        "雨" * 100_000,
        "e\u0301" * 50_000,
        '"' * 100_000,
        " " * 100_000,
        "\ufdfa" * 100_000,
    ):
        for gold in ("Invoice No. 4821", "今日は雨"):
            assert reading_accuracy(text, gold) < 0.1
            assert wording_similarity(text, gold) < 0.1
    assert time.process_time() - start < 5
