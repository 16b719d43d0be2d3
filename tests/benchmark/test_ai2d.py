from g2rpo.benchmark.ai2d import AI2D


def test_a_row_of_the_hub_has_the_place_of_its_answer() -> None:
    row = AI2D().row(
        {
            "question": "What is B?",
            "options": ["A", "1", "12", "4"],
            "answer": "3",
            "image": "a.png",
        }
    )
    assert (row["answer"], row["choices"]["C"], row["images"]) == ("D", "12", ["a.png"])


def test_options_that_are_parts_of_each_other_are_told_apart_by_robust_only() -> None:
    row = {"answer": "C", "choices": {"A": "1", "B": "2", "C": "12", "D": "4"}}
    assert [AI2D().score("12", row, protocol=protocol) for protocol in ("paper", "robust")] == [
        0.0,
        1.0,
    ]


def test_a_small_letter_counts_under_robust_only() -> None:
    row = {"answer": "C", "choices": {"A": "leaf", "B": "root", "C": "stem"}}
    assert [
        AI2D().score("<think>b?</think>(c)", row, protocol=protocol)
        for protocol in ("paper", "robust")
    ] == [0.0, 1.0]
