import pytest

from g2rpo.benchmark.mmbench import MMBench

PASSES = [
    {"id": "241", "answer": "A", "choices": {"A": "cat", "B": "dog", "C": "owl"}},
    {"id": "1000241", "answer": "B", "choices": {"A": "owl", "B": "cat", "C": "dog"}},
    {"id": "2000241", "answer": "C", "choices": {"A": "dog", "B": "owl", "C": "cat"}},
]


def test_a_question_counts_only_if_every_pass_is_right() -> None:
    benchmark = MMBench()
    assert benchmark.score_group(["A", "B", "C"], PASSES) == 1.0
    assert benchmark.score_group(["A", "B", "B"], PASSES) == 0.0
    assert benchmark.score_group(["cat"] * 3, PASSES) == 1.0
    assert benchmark.score_group(["a", "(b)", "**c**"], PASSES, protocol="robust") == 1.0


def test_passes_of_a_question_share_a_group() -> None:
    assert [MMBench().group(row) for row in [*PASSES, {"id": "1000242"}]] == [
        "241",
        "241",
        "241",
        "242",
    ]


def test_the_row_of_a_pass_keeps_its_own_options_and_answer() -> None:
    record = {
        "index": 1000241.0,
        "question": "What?",
        "hint": float("nan"),
        "A": "owl",
        "B": "cat",
        "C": float("nan"),
        "answer": "B",
    }
    row = MMBench().row(
        {
            **record,
            "l2-category": "logic_reasoning",
            "category": "future_prediction",
            "image": "a.png",
        }
    )
    assert (row["id"], row["answer"], row["choices"]) == ("1000241", "B", {"A": "owl", "B": "cat"})
    assert "hint" not in row
    assert list(MMBench().subscores(row)) == ["l2_category/lr", "category/future_prediction"]


def test_an_index_that_is_no_whole_number_is_refused() -> None:
    with pytest.raises(ValueError, match="column index: expected a whole number"):
        MMBench().row({"index": "a", "question": "What?", "A": "x", "B": "y", "answer": "A"})


def test_a_group_asks_the_judge_it_is_given() -> None:
    row = {"id": "1", "question": "q", "choices": {"A": "owl", "B": "cat"}, "answer": "B"}
    rows = [row, {**row, "id": "1000001", "choices": {"A": "cat", "B": "owl"}, "answer": "A"}]
    said = ["the purring one"] * 2
    assert MMBench().score_group(said, rows) == 0.0
    cat = lambda prompt: "A" if "A. cat" in prompt else "B"  # noqa: E731
    assert MMBench().score_group(said, rows, judge=cat) == 1.0
    assert MMBench().score_group(said, rows, judge=lambda prompt: "A") == 0.0
