import pytest

from g2rpo.benchmark.multiple_choice import stated_option

ANGLES = {"A": "35°", "B": "55°", "C": "145°", "D": "125°"}
CURRENTS = {
    "A": "7 A, clockwise",
    "B": "5 A, counterclockwise",
    "C": "3 A, clockwise",
    "D": "Zero",
    "E": "7 A, counterclockwise",
    "F": "3 A, counterclockwise",
}
NUMBERS = {"A": "2,100", "B": "5,600", "C": "6,100", "D": "3,100"}
ROMAN = {"A": "I and II", "B": "II and III", "C": "I only", "D": "III only"}
VITAMINS = {"A": "vitamin C", "B": "vitamin D", "C": "vitamin A", "D": "vitamin B"}
YES_NO = {"A": "Yes", "B": "No"}


@pytest.mark.parametrize(
    ("options", "text", "letter"),
    [
        (VITAMINS, "C. vitamin A", "C"),
        (CURRENTS, "F. 3 A, counterclockwise", "F"),
        (CURRENTS, "The answer is F. 3 A, counterclockwise.", "F"),
        (CURRENTS, "The current is 3 A, counterclockwise", "F"),
        (CURRENTS, "(C) 3 A, clockwise", "C"),
        (VITAMINS, "The answer is vitamin A", "C"),
        (VITAMINS, "The correct answer is (C) vitamin A.", "C"),
        (VITAMINS, "vitamin A", "C"),
        (VITAMINS, "C: vitamin A, since carrots hold it", "C"),
        (VITAMINS, "Option C, vitamin A", "C"),
        (VITAMINS, "It is C, vitamin A. Option A is vitamin C.", "C"),
        (ANGLES, "Since angle A = 35° and point B is on the line, the answer is 145°", "C"),
        (ANGLES, "∠B = 145°", "C"),
        (ANGLES, "Point A lies on AB. So the angle at B is 125°.", "D"),
        (ANGLES, "$\\angle C = 35^\\circ$, hence $145^\\circ$", "C"),
        (ANGLES, "145^\\circ", "C"),
        (ANGLES, "$145^{\\circ}$", "C"),
        (ANGLES, "145 degrees", "C"),
        (ANGLES, "\\boxed{145^\\circ}", "C"),
        (ANGLES, "145", "C"),
        (ANGLES, "The answer is $\\boxed{145^\\circ}$, option C", "C"),
        (NUMBERS, "6100", "C"),
        (NUMBERS, "$6100$", "C"),
        (NUMBERS, "6,100 people", "C"),
        (NUMBERS, "The total is 6100.", "C"),
        (NUMBERS, "\\boxed{6100}", "C"),
        (NUMBERS, "6 100", "C"),
        (NUMBERS, "about 6100 in total, C", "C"),
        (NUMBERS, "So the answer is C. \\boxed{6050}", "C"),
        (NUMBERS, "Option C is closest.\n\n\\boxed{6,099}", "C"),
        (NUMBERS, "The correct answer is (B). $\\boxed{5.6}$", "B"),
        (YES_NO, "Yes", "A"),
        (YES_NO, "Yes, it is.", "A"),
        (YES_NO, "No", "B"),
        (YES_NO, "There is no change, so yes.", "A"),
        (YES_NO, "No, there is none", "B"),
        (YES_NO, "The answer is Yes", "A"),
        (YES_NO, "Answer: No.", "B"),
        (ROMAN, "I only", "C"),
        (ROMAN, "II and III", "B"),
        (ROMAN, "Only I", "C"),
        (ROMAN, "The answer is B: II and III", "B"),
    ],
)
def test_an_option_is_read_by_its_own_text_or_value(
    options: dict[str, str], text: str, letter: str | None
) -> None:
    assert stated_option(text, options) == letter
