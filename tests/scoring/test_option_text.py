import pytest

from g2rpo.benchmark.multiple_choice import stated_option

ANIMALS = {"A": "teddy bear", "B": "rabbit", "C": "cat", "D": "dog"}
NINE = {
    "A": "red",
    "B": "green",
    "C": "blue",
    "D": "white",
    "E": "black",
    "F": "pink",
    "G": "gray",
    "H": "brown",
    "I": "cyan",
}


@pytest.mark.parametrize(
    ("options", "text", "letter"),
    [
        (ANIMALS, "What is it?\nA. teddy bear\nB. rabbit\nC. cat\nD. dog\n\nThe answer is C.", "C"),
        (ANIMALS, "What is it?\nA. teddy bear\nB. rabbit\nC. cat\nD. dog\n\nC", "C"),
        (
            ANIMALS,
            "Question: What? Options: A. teddy bear, B. rabbit, C. cat, D. dog. Answer: D",
            "D",
        ),
        (NINE, "\\( G \\)", "G"),
        (NINE, "\\[ G \\]", "G"),
        (NINE, "$G$", "G"),
        (NINE, "$$\\boxed{G}$$", "G"),
        (NINE, "\\(\\boxed{\\text{G}}\\)", "G"),
        (NINE, "Answer: \\(G\\)", "G"),
        (NINE, "The answer is $\\mathbf{G}$.", "G"),
        (NINE, "\\boxed{\\mathrm{G}}", "G"),
        (NINE, "\\[\\boxed{G}\\]", "G"),
        (NINE, "I'm sorry, I cannot see it.", None),
        (NINE, "I am not sure", None),
        (NINE, "I think it is blue", "C"),
        (NINE, "I think the answer is C", "C"),
        (NINE, "The answer is I", "I"),
        (NINE, "I", "I"),
        (NINE, "I. cyan", "I"),
        (NINE, "I'd say (B)", "B"),
        (NINE, "I believe it's I", "I"),
        (NINE, "Sorry, I can't help with that.", None),
        (ANIMALS, "<answer>B</answer>", "B"),
        (ANIMALS, '{"answer": "B"}', "B"),
        (ANIMALS, "<B>", "B"),
        (ANIMALS, "`B`", "B"),
        (ANIMALS, "_B_", "B"),
        (ANIMALS, '"B"', "B"),
        (ANIMALS, "Ⓑ", "B"),
        (ANIMALS, "🅑", "B"),
        (ANIMALS, "⒝", "B"),
        (ANIMALS, "🄱", "B"),
    ],
)
def test_signs_around_a_letter_and_an_echoed_question_do_not_hide_the_answer(
    options: dict[str, str], text: str, letter: str | None
) -> None:
    assert stated_option(text, options) == letter
