import time

import pytest

from g2rpo.scoring.extract import final_answer, json_object, keeps_format, tagged_answer, tidy_tags

GOOD = "<thinking>so</thinking><answer>B</answer>"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (GOOD, True),
        (f"\n {GOOD} \n", True),
        ("<thinking>\nso\n</thinking>\n\n<answer>\nB\n</answer>", True),
        ("<thinking></thinking><answer></answer>", True),
        (f"{GOOD}<answer>C</answer>", True),  # the second block is read as part of the first
        ("<thinking>a</thinking>b</thinking><answer>B</answer>", True),
        (f"{GOOD} done", False),
        (f"Well: {GOOD}", False),
        ("<answer>B</answer><thinking>so</thinking>", False),
        ("<thinking>so</thinking> so <answer>B</answer>", False),
        ("<thinking>so</thinking><answer>B", False),
        ("<thinking>so<answer>B</answer>", False),
        ("<thinking></answer></thinking><answer>", False),
        ("<THINKING>so</THINKING><answer>B</answer>", False),
        ("<think>so</think><answer>B</answer>", False),
        ("", False),
    ],
)
def test_only_thinking_then_an_answer_keeps_the_format(text: str, kept: bool) -> None:
    assert keeps_format(text) is kept


def test_the_shortest_text_in_the_format_has_four_tags() -> None:
    assert keeps_format("<thinking></thinking><answer></answer>")
    assert not keeps_format("<thinking></thinking><answer>/answer>")
    assert not keeps_format("<thinking></thinking></answer>")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer> 7\n</answer>", "7"),
        ("<answer>7</answer><answer>8</answer>", "7"),
        ("<answer><answer>7</answer></answer>", "<answer>7"),
        ("</answer><answer>7</answer>", "7"),
        ("<answer>7", ""),
        ("<answer>  </answer>", ""),
        ("7", ""),
    ],
)
def test_the_first_pair_of_answer_tags_counts(text: str, answer: str) -> None:
    assert tagged_answer(text) == answer


def test_without_a_tagged_answer_the_whole_text_is_the_answer() -> None:
    assert final_answer(" 7 cm ") == "7 cm"
    assert final_answer("<answer></answer>") == "<answer></answer>"


def test_whitespace_is_forgiven_inside_tags_and_nowhere_else() -> None:
    assert tidy_tags("< answer > 1 / 2 < 3 </ answer>") == "<answer> 1 / 2 < 3 </answer>"
    assert tidy_tags("< answers >") == "< answers >"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[1]",
        '"a"',
        '{"a": 1',
        "{'a': 1}",
        '```json\n{"a": 1}\n```',
        "[" * 100_000,
        "1" * 10_000,
    ],
)
def test_what_is_not_one_json_object_is_nothing(text: str) -> None:
    assert json_object(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "<" + " " * 200_000,
        "< " * 100_000,
        "<thinking>" + "</thinking><answer></answer>" * 8_000 + "x",
    ],
)
def test_time_is_linear_in_the_length(text: str) -> None:
    start = time.process_time()
    keeps_format(tidy_tags(text))
    final_answer(text)
    assert time.process_time() - start < 2  # quadratic matching takes minutes
