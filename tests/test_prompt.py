"""A prompt as messages for a chat template."""

from typing import Any

import pytest

from g2rpo.prompt import Prompt, chat_messages

IMAGE = {"type": "image"}


def ask(text: str, images: int, **fields: Any) -> Prompt:
    return Prompt(
        id="p/1",
        task="math",
        text=text,
        images=["a.png"] * images,
        answer="1",
        answer_type="numerical",
        **fields,
    )


def said(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("text", "images", "parts"),
    [
        ("Why?", 0, [said("Why?")]),
        ("Why?", 2, [IMAGE, IMAGE, said("Why?")]),
        ("Is <image> it?", 1, [said("Is "), IMAGE, said(" it?")]),
        ("<image>\n<image>", 2, [IMAGE, said("\n"), IMAGE]),
        ("<image><image> or", 2, [IMAGE, IMAGE, said(" or")]),
        ("What is <image>?", 0, [said("What is <image>?")]),
    ],
)
def test_each_image_has_its_place(text: str, images: int, parts: list[dict[str, str]]) -> None:
    assert chat_messages(ask(text, images)) == [{"role": "user", "content": parts}]


def test_images_of_earlier_turns_come_first() -> None:
    history = (("user", "This is <image>."), ("assistant", "Yes."))
    found = chat_messages(ask("And <image>?", 2, system="Be short.", history=history))
    assert [message["role"] for message in found] == ["system", "user", "assistant", "user"]
    assert [message["content"] for message in found] == [
        [said("Be short.")],
        [said("This is "), IMAGE, said(".")],
        [said("Yes.")],
        [said("And "), IMAGE, said("?")],
    ]
    assert chat_messages(ask("And?", 1, history=(("user", "Hi"), ("assistant", "Yes."))))[0][
        "content"
    ] == [IMAGE, said("Hi")]


@pytest.mark.parametrize(("text", "images"), [("<image>", 2), ("<image><image>", 1)])
def test_another_number_of_markers_than_of_images_is_refused(text: str, images: int) -> None:
    with pytest.raises(
        ValueError,
        match=(
            rf"prompt 'p/1': expected one <image> for each of its {images} images, or none, got"
            rf" {3 - images}"
        ),
    ):
        chat_messages(ask(text, images))
