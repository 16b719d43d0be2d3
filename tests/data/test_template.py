from g2rpo.data.template import PromptTemplate


def test_question_options_instruction_and_hint_stand_below_each_other() -> None:
    template = PromptTemplate(instruction=" Think first. ", hints={"multiple_choice": "One letter.", "OCR": "As it stands."})
    assert template.text("Which?", ["A. red", "B. blue"], "Multiple Choice") == (
        "Which?\nOptions:\nA. red\nB. blue\nThink first.\nOne letter."
    )
    assert template.text("Read.", [], "ocr") == "Read.\nThink first.\nAs it stands."
    assert template.text("Why?", [], "open-ended") == "Why?\nThink first."
