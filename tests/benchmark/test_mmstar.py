from g2rpo.benchmark.mmstar import MMStar, split_question


def test_options_are_taken_out_of_the_question_with_their_commas() -> None:
    text = "What is shown?\nOptions: A: red, green, B: blue, C: B: side, D: none"
    assert split_question(text) == (
        "What is shown?",
        {"A": "red, green", "B": "blue", "C": "B: side", "D": "none"},
    )


def test_the_official_rule_looks_at_the_beginning() -> None:
    row = {"answer": "B"}
    right = [
        MMStar().score(text, row, protocol="official")
        for text in ("b", "(B", "Option b", "The answer is B", "Both", " B\nand")
    ]
    assert right == [1.0] * 6
    assert [
        MMStar().score(text, row, protocol="official")
        for text in ("**B**", "answer is B", "I say B")
    ] == [0.0] * 3


def test_robust_reads_what_the_official_rule_mistakes() -> None:
    row = {"answer": "C", "choices": {"A": "red", "B": "blue", "C": "both"}}
    assert [
        MMStar().score("Both", row, protocol=protocol) for protocol in ("official", "robust")
    ] == [0.0, 1.0]
