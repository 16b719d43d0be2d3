import pytest

from g2rpo.benchmark.charxiv_rq import CharXivRQ

ROW = {"answer": "(b)", "inst_category": 1}


@pytest.mark.parametrize(
    ("reply", "paper", "robust"),
    [
        ('{"extracted_answer": "b", "score": 1}', 1, 1),
        ('{"extracted_answer": "c", "score": 0}', 0, 0),
        ('{"extracted_answer": "b", "score": "1"}', 1, 1),
        ('{"extract_answer": "b", "score": 1}', 0, 1),
        ('```json\n{"extracted_answer": "b", "score": 1}\n```', 0, 1),
        ('{"extracted_answer": "b", "score": 7}', 0, 0),
        ("[1]", 0, 0),
        ("", 0, 0),
    ],
)
def test_the_judge_must_answer_in_json(reply: str, paper: int, robust: int) -> None:
    scores = [
        CharXivRQ().score("panel c", ROW, protocol=protocol, judge=lambda prompt: reply)
        for protocol in ("paper", "robust")
    ]
    assert scores == [paper, robust]


def test_without_a_judge_only_robust_can_tell() -> None:
    assert [
        CharXivRQ().judgment("b", ROW, protocol=protocol).parsed
        for protocol in ("paper", "official", "robust")
    ] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("text", "gold", "kind", "score"),
    [
        ("b", "(b)", 1, 1),
        ("beta, α", "alpha and beta", 1, 1),
        ("alpha", "alpha, beta", 1, 0),
        ("1000000", "1e+06", 3, 1),
        ("40000", "40,000", 3, 1),
        ("0.1", "10^-1", 3, 1),
        ("85.5%", "85.5", 4, 1),
        ("85.4", "85.5", 4, 0),
        ("The difference is 12.", "12", 4, 1),
    ],
)
def test_numbers_are_compared_exactly_and_terms_in_any_order(
    text: str, gold: str, kind: int, score: int
) -> None:
    assert (
        CharXivRQ().score(text, {"answer": gold, "inst_category": kind}, protocol="robust") == score
    )


def test_the_prompt_asks_for_the_decimals_of_the_gold_answer() -> None:
    record = {
        "figure_id": 7,
        "query": "How much?",
        "answer": "1.25",
        "inst_category": 4,
        "qa_source": 3,
        "image": "a.png",
    }
    row = CharXivRQ().row(record)
    assert (
        CharXivRQ().prompt(row).text
        == "How much?\n* Your final answer must be a number with 2 decimal places."
    )
    assert CharXivRQ().subscores(row) == ["inst_category/number_in_general", "qa_source/human"]


def test_an_answer_of_the_test_split_is_refused() -> None:
    with pytest.raises(
        ValueError, match="charxiv_rq, record 7: column reasoning_a or answer is missing"
    ):
        CharXivRQ().row({"figure_id": 7, "reasoning_q": "How much?", "reasoning_a": None})
