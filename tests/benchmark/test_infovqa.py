import pytest

from g2rpo.benchmark.infovqa import InfoVQA


def test_a_list_is_judged_in_its_order() -> None:
    row = {"answer": ["facebook, twitter"]}
    assert InfoVQA().score("facebook twitter", row) == pytest.approx(16 / 17)
    assert InfoVQA().score("twitter, facebook", row) == 0.0


def test_sub_scores_by_answer_type_and_operation() -> None:
    record = {
        "questionId": "7",
        "question": "How much?",
        "answers": ["60%"],
        "answer_type": "['single span']",
        "operation/reasoning": ["counting"],
    }
    row = InfoVQA().row({**record, "image": "a.png"})
    assert InfoVQA().subscores(row) == ["answer_type/single_span", "operation/reasoning/counting"]
