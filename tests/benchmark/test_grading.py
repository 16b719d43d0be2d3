from g2rpo.benchmark.grading import LONGEST, ask, extraction_prompt


def test_a_failed_judge_has_no_reply() -> None:
    assert ask(lambda prompt: "Failed to obtain answer via API.", "?") is None
    assert ask(lambda prompt: prompt.upper(), "so") == "SO"


def test_a_judge_sees_the_end_of_a_long_response() -> None:
    prompt = extraction_prompt("How many?", "x" * 50_000 + " so 14", "a number")
    assert "so 14" in prompt
    assert len(prompt) < LONGEST + 1000
