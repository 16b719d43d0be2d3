import pytest

from g2rpo.benchmark.mmmu import MMMU

OPEN = {"question_type": "open"}


def _scores(text: str, row: dict[str, object]) -> list[float]:
    return [
        MMMU().score(text, row, protocol=protocol) for protocol in ("paper", "official", "robust")
    ]


def test_a_hidden_option_is_met_by_parts_of_a_number_and_by_amperes() -> None:
    assert _scores("11.06", {"answer": "1.06", **OPEN}) == [1.0, 0.0, 0.0]
    assert _scores("It is 5 A", {"answer": "7", **OPEN}) == [1.0, 0.0, 0.0]


def test_the_letter_c_can_be_the_answer_to_an_open_question() -> None:
    assert _scores("C", {"answer": "C", **OPEN}) == [0.0, 1.0, 1.0]


def test_thousands_lists_and_other_numbers() -> None:
    assert _scores("2,000,000", {"answer": "2000000", **OPEN}) == [0.0, 1.0, 1.0]
    assert _scores("24/7", {"answer": "['24/7', '3.429']", **OPEN}) == [0.0, 1.0, 1.0]
    assert _scores("5 pears and 4 apples", {"answer": "5", **OPEN}) == [1.0, 1.0, 0.0]
    assert _scores("The answer is 5 pears", {"answer": "5", **OPEN})[2] == 1.0


def test_where_the_official_parser_would_draw_it_reads_nothing() -> None:
    row = {"answer": "C", "choices": ["x", "y", "z"]}
    verdict = MMMU().judgment("**C**", row, protocol="official")
    assert (verdict.score, verdict.parsed) == (0.0, False)
    assert MMMU().score("**C**", row, protocol="robust") == 1.0


def test_a_row_of_the_hub() -> None:
    record = {
        "id": "validation_Basic_Medical_Science_10",
        "question": "<image 2>?",
        "options": "['a', 'None']",
        "answer": "B",
    }
    row = MMMU().row({**record, "image_1": "1.png", "image_2": "2.png", "image_3": None})
    assert (row["choices"], row["answer"], row["images"]) == (
        {"A": "a", "B": "None"},
        "B",
        ["1.png", "2.png"],
    )
    assert MMMU().subscores(row) == ["l2_category/basic_medical_science"]
    assert (
        MMMU()
        .prompt(row, protocol="official")
        .text.endswith(
            "(B) None\n\nAnswer with the option's letter from the given choices directly."
        )
    )


def test_an_open_row_of_the_table_has_no_options_and_may_have_several_answers() -> None:
    record = {
        "index": 3,
        "question": "How much?",
        "A": float("nan"),
        "answer": "['24/7', '3.429']",
        "split": "validation",
        "image": "a.png",
    }
    row = MMMU().row(record)
    assert (row["answer"], row["question_type"], MMMU().type_of(row)) == (
        ["24/7", "3.429"],
        "open",
        "open ended",
    )
    assert MMMU().prompt(row).text == "Question: How much?\n"


def test_a_row_without_an_answer_is_named() -> None:
    with pytest.raises(ValueError, match="mmmu, record 3: column answer is missing"):
        MMMU().row({"index": 3, "question": "How much?"})
