"""Every form of a record, from the file to the tokens that the model reads."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from g2rpo.data.file_source import FileSource
from g2rpo.data.hub_source import HubSource
from g2rpo.data.onethinker import OneThinkerFormat
from g2rpo.data.own_format import OwnFormat
from g2rpo.data.template import PromptTemplate
from g2rpo.policy.family.qwen_vl import QwenEncoder

TEMPLATE = PromptTemplate(instruction="Think.", hints={})
PICTURE = "<|vision_start|>" + "<|image_pad|>" * 16 + "<|vision_end|>"
"""A picture of 64 x 64 pixels, of which the tiny model merges 16 x 16 into one token."""
COMMON = {"answer": "red", "answer_type": "open ended", "task": "spatial"}
PNG = io.BytesIO()
Image.new("RGB", (64, 64), (255, 0, 0)).save(PNG, "PNG")
BASE64 = base64.b64encode(PNG.getvalue()).decode()
TURNS = [
    {"from": "system", "value": "Be short."},
    {"from": "human", "value": "Hi"},
    {"from": "gpt", "value": "Hello."},
]
PARTS = [
    {"type": "text", "text": "What is "},
    {"type": "image", "image": "a.png"},
    {"type": "text", "text": "?"},
]


def turn(role: str, text: str) -> str:
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


WHAT = turn("user", f"What is {PICTURE}?\nThink.")
FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "image first": (
        {"text": "What is it?", "images": "a.png"},
        turn("user", f"{PICTURE}What is it?\nThink."),
    ),
    "marker first": (
        {"text": "<image>\nWhat?", "images": ["a.png"]},
        turn("user", f"{PICTURE}What?\nThink."),
    ),
    "marker amid": ({"text": "What is <image>?", "images": ["a.png"]}, WHAT),
    "base64": ({"text": "What is <image>?", "images": [BASE64]}, WHAT),
    "data URL": ({"text": "What is <image>?", "image": f"data:image/png;base64,{BASE64}"}, WHAT),
    "object with a path": (
        {"text": "What is <image>?", "images": [{"bytes": None, "path": "a.png"}]},
        WHAT,
    ),
    "system prompt": (
        {"text": "Why?", "system": "Be short.", "images": []},
        turn("system", "Be short.") + turn("user", "Why?\nThink."),
    ),
    "content parts": ({"messages": [{"role": "user", "content": PARTS}]}, WHAT),
    "turns as text": (
        {"text": [{"role": "user", "content": "What is <image>?"}], "images": "a.png"},
        WHAT,
    ),
    "ShareGPT": (
        {
            "conversations": [
                *TURNS,
                {"from": "human", "value": "What is <image>?"},
                {"from": "gpt", "value": "red"},
            ],
            "images": "a.png",
        },
        turn("system", "Be short.") + turn("user", "Hi") + turn("assistant", "Hello.") + WHAT,
    ),
    "control tokens": (
        {"text": "Is <|im_end|> a token?"},
        turn("user", "Is <|im_end|> a token?\nThink."),
    ),
    "plain options": (
        {"text": "Which?", "options": ["red", "blue"], "answer_type": "multiple choice"},
        turn("user", "Which?\nOptions:\nA. red\nB. blue\nThink."),
    ),
    "options in the question": (
        {"text": "Which?\nA. red\nB. blue", "options": [], "answer_type": "multiple choice"},
        turn("user", "Which?\nA. red\nB. blue\nThink."),
    ),
}


def read(source: Any, folder: Path) -> str:
    prompt = source.get("spatial", 0, "train")
    (loaded,) = source.loading.loaded([prompt], lambda image: image)
    source.loading.close()
    encoder = QwenEncoder(path=folder)
    batch = encoder.encode([loaded])
    assert [loaded.answer, [own.task for own in batch.prompts]] == [
        "A" if "options" in prompt.meta else "red",
        ["spatial"],
    ]
    assert all(image.getpixel((5, 5)) == (255, 0, 0) for image in loaded.images)
    return str(encoder.tokenizer.decode(batch.input_ids[0]))


@pytest.mark.parametrize("case", FORMS)
def test_a_record_of_a_file_is_what_the_model_reads(
    case: str, tiny_folder: Path, tmp_path: Path
) -> None:
    fields, expected = FORMS[case]
    (tmp_path / "a.png").write_bytes(PNG.getvalue())
    (tmp_path / "rows.jsonl").write_text(json.dumps({**COMMON, **fields}) + "\n")
    source = FileSource(
        files="rows.jsonl", root=str(tmp_path), format=OwnFormat(tasks={}, template=TEMPLATE)
    )
    assert read(source, tiny_folder) == f"{expected}<|im_start|>assistant\n"


@pytest.mark.parametrize(
    "case", ["marker amid", "base64", "content parts", "ShareGPT", "plain options"]
)
def test_a_record_of_a_stored_set_is_what_the_model_reads(
    case: str, tiny_folder: Path, tmp_path: Path
) -> None:
    fields, expected = FORMS[case]
    (tmp_path / "a.png").write_bytes(PNG.getvalue())
    datasets.Dataset.from_list([{**COMMON, **fields}]).save_to_disk(tmp_path / "saved")
    columns = {name: name for name in (*COMMON, *fields)}
    source = HubSource(
        path=str(tmp_path / "saved"),
        columns=columns,
        root=str(tmp_path),
        format=OwnFormat(tasks={}, template=TEMPLATE),
    )
    assert read(source, tiny_folder) == f"{expected}<|im_start|>assistant\n"


def test_a_multiple_choice_row_of_the_release_whose_options_stand_in_the_question(
    tiny_folder: Path, record: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(PNG.getvalue())
    hint = (
        "Hint: answer with the correct option letter, e.g., A, B, C, D, at the end.\nQuestion:"
        " Which color?\nChoices:\n(A) red\n(B) blue"
    )
    row = record(
        problem=f"<image> {hint}",
        problem_type="multiple choice",
        task_type="spatial",
        answer="<answer>A</answer>",
        images=["a.png"],
    )
    (tmp_path / "rows.json").write_text(json.dumps([row], indent=1))
    source = FileSource(
        files="rows.json", root=str(tmp_path), format=OneThinkerFormat(tasks={}, template=TEMPLATE)
    )
    assert source.get("spatial", 0, "train").meta["options"] == {"A": "red", "B": "blue"}
    assert (
        read(source, tiny_folder)
        == turn("user", f"{PICTURE}{hint}\nThink.") + "<|im_start|>assistant\n"
    )


def test_reward_functions_get_every_field_but_pictures(tmp_path: Path) -> None:
    """With the values of the record, before the prompt reads them."""
    row = {
        **COMMON,
        "text": "Where is <image>?",
        "images": [BASE64],
        "answer": {"x": 3},
        "answer_type": "custom",
        "level": 2,
        "messages": [],
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    source = FileSource(
        files="rows.jsonl", root=str(tmp_path), format=OwnFormat(tasks={}, template=TEMPLATE)
    )
    prompt = source.get("spatial", 0, "train")
    assert prompt.answer == '{"x": 3}'
    assert prompt.columns == {name: value for name, value in row.items() if name != "images"}
