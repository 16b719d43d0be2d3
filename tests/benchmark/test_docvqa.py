import pytest

from g2rpo.benchmark.docvqa import DocVQA


def test_tags_cost_the_score_under_paper_only() -> None:
    row = {"answer": ["ITC Limited", "ITC"]}
    text = "<think>I see</think><answer>ITC Limted</answer>"
    assert DocVQA().score(text, row) == 0.0
    assert DocVQA().score(text, row, protocol="robust") == pytest.approx(10 / 11)


def test_spaces_around_a_partial_answer_raise_it_under_paper_only() -> None:
    row = {"answer": ["ITC Limited"]}
    scores = [
        DocVQA().score("ITC Limitd  ", row, protocol=protocol) for protocol in ("paper", "robust")
    ]
    assert scores == [pytest.approx(11 / 12), pytest.approx(10 / 11)]
    assert DocVQA().score(" " * 1000, row) == 0.0


def test_a_row_has_a_list_of_answers_and_one_sub_score_a_kind() -> None:
    row = DocVQA().row(
        {
            "questionId": 7,
            "question": "Who?",
            "answers": "['ITC', 'Itc']",
            "question_types": ["table/list", "form"],
            "image": "a.png",
        }
    )
    assert row["answer"] == ["ITC", "Itc"]
    assert DocVQA().subscores(row) == ["question_types/table/list", "question_types/form"]


def test_a_hidden_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="docvqa, record 7: column answers or answer is missing"):
        DocVQA().row({"questionId": 7, "question": "Who?", "answers": None})
