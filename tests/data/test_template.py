from collections.abc import Callable
from typing import Any

import pytest
from hydra.utils import instantiate

from g2rpo.data.template import PromptTemplate


def test_question_options_instruction_and_hint_stand_below_each_other() -> None:
    template = PromptTemplate(
        instruction=" Think first. ",
        hints={"multiple_choice": "One letter.", "OCR": "As it stands."},
    )
    assert (
        template.text("Which?", ["A. red", "B. blue"], "Multiple Choice")
        == "Which?\nOptions:\nA. red\nB. blue\nThink first.\nOne letter."
    )
    assert template.text("Read.", [], "ocr") == "Read.\nThink first.\nAs it stands."
    assert template.text("Why?", [], "open-ended") == "Why?\nThink first."


@pytest.mark.parametrize(("choice", "tag"), [("thinking", "thinking"), ("think", "think")])
def test_one_setting_says_the_tags_of_prompt_and_format(
    choice: str, tag: str, composed: Callable[..., Any]
) -> None:
    config = composed(
        "data=jsonl", "data.files=x", "data.root=.", f"template={choice}", "reward=verifier"
    )
    template = instantiate(config.data.format).template
    assert f"between <{tag}> and </{tag}>" in template.text("Why?", [], "math")
    assert (template.think_tag, instantiate(config.reward).think_tag) == (tag, tag)


def test_a_tag_that_the_instruction_does_not_ask_for_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"template\.think_tag: expected the tag that template\.instruction asks for, got"
            r" 'think'"
        ),
    ):
        PromptTemplate(instruction="Write <thinking> first.", hints={}, think_tag="think")
