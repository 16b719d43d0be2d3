"""Records made by chance: each becomes a prompt, or is left out with a sentence that names its
line; nothing hangs and no unknown field is taken in silence.
"""

import json
import logging
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_values import torn, value
from PIL import Image

from g2rpo.data.file_source import FileSource
from g2rpo.data.loading import Loading
from g2rpo.data.onethinker import OneThinkerFormat
from g2rpo.data.own_format import OwnFormat
from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate
from g2rpo.data.traces import Traces
from g2rpo.records import Prompt

SEED = 3
FILE_ROWS = 50
FEW, MANY = 10, 200
"""Files of `FILE_ROWS` records."""
LIMIT_S = 20.0
"""For one file; a busy machine needs a tenth of it."""
TEMPLATE = PromptTemplate(instruction="Think.", hints={"numerical": "One number."})
MISSPELLED = ("anwser", "answr", "tekst", "Option", "imagse", "image_url", "lr", "taks", "solutoin")


def traces(**settings: Any) -> Traces:
    """Records with a completion to imitate."""
    return Traces(format=OwnFormat(**settings))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good image and things that are none."""
    Image.new("RGB", (40, 60), "red").save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "sub").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    return tmp_path


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("made", [OwnFormat, OneThinkerFormat, traces])
def test_a_record_made_by_chance_becomes_a_prompt_or_a_sentence(
    made: Callable[..., Any], count: int, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three times 200 files of 50 records are 30,000 records."""
    logging.getLogger("g2rpo").propagate = True
    caplog.set_level(logging.INFO, logger="g2rpo")
    used = 0
    for number in range(count):
        rng = random.Random(f"{SEED}/{made.__name__}/{number}")
        path = folder / "rows.jsonl"
        names = [
            _write_record(rng, path, made.__name__, first=row == 0) for row in range(FILE_ROWS)
        ]
        caplog.clear()
        begun_s = time.monotonic()
        where = f"seed {SEED}, file {number}"
        source = FileSource(
            files=str(path), root=str(folder), on_error="skip", heldout=0,
            format=made(tasks={"x y": "math"}, template=TEMPLATE),
        )  # fmt: skip
        left_out = {_line(reason, path): reason for reason in source.skips.records}
        prompts = [
            source.get(task, index, "train")
            for task in source.tasks
            for index in range(source.size(task, "train"))
        ]
        assert len(prompts) + len(left_out) == FILE_ROWS, where
        said = caplog.text
        for line, name in enumerate(names, 1):
            assert not name or line in left_out or name in said, f"{where}, line {line}: {name}"
        loaded = Loading(workers=0).loaded(prompts, lambda image: image)
        for outcome in loaded:
            if isinstance(outcome, BadRecord):
                assert _line(str(outcome), path), where
            else:
                _assert_usable(outcome, where)
                if made is traces:
                    source.format.demonstrate(outcome).encode()
        used += sum(isinstance(outcome, Prompt) for outcome in loaded)
        assert time.monotonic() - begun_s < LIMIT_S, where
    assert used > count  # not everything is refused


def _write_record(rng: random.Random, path: Path, made: str, *, first: bool) -> str:
    """Append a record, broken in one to three places; return the name of an unknown field."""
    row = _good(rng, made)
    unknown = ""
    for _ in range(rng.choice((1, 1, 2, 3))):
        field = rng.choice([*row, "messages", "conversations", "system", "data_type", "path"])
        match rng.randrange(8):
            case 0:
                row.pop(field, None)
            case 1 if field in row:
                unknown = rng.choice(MISSPELLED)
                row[unknown] = row.pop(field) or "x"
            case 2:
                unknown = f"x{rng.randrange(9)}"
                row[unknown] = value(rng) or "x"
            case _:
                row[field] = value(rng)
    if unknown and row.get(unknown) in (None, "", []):
        unknown = ""  # an empty field says nothing
    line = json.dumps(row, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    # a first line that begins with [ makes the whole file one list
    if rng.random() < 0.15 and not first:
        line, unknown = torn(rng, line), ""
    with path.open("wb" if first else "ab") as file:
        file.write((line.replace(b"\n", b" ").replace(b"\r", b" ").strip() or b"x") + b"\n")
    return unknown


def _good(rng: random.Random, made: str) -> dict[str, Any]:
    number = rng.randrange(10**6)
    if made != "OneThinkerFormat":
        completion = {"completion": "<think>One, two, three.</think> 3"}
        return {
            "id": number, "task": "math", "text": "<image> How many?", "images": ["a.png"],
            "answer": "3", "answer_type": "numerical", "options": [],
        } | (completion if made == "traces" else {})  # fmt: skip
    return {
        "problem_id": number, "problem": "<image> How many?", "data_type": "image",
        "problem_type": "numerical", "task_type": "math", "options": [],
        "answer": "<answer>3</answer>", "images": ["a.png"], "data_source": "made",
    }  # fmt: skip


def _line(reason: str, path: Path) -> int:
    head, found, rest = reason.partition(f"{path}, line ")
    assert (head, found) == ("", f"{path}, line "), reason[:300]
    number, _, words = rest.partition(": ")
    assert words.strip(), reason[:300]
    assert "object at 0x" not in reason
    assert len(reason) < 3000, reason[:300]
    return int(number)


def _assert_usable(prompt: Prompt, where: str) -> None:
    """Everything that later steps do with a prompt: files, JSON, tokens."""
    assert all(isinstance(image, Image.Image) for image in prompt.images), where
    texts = (prompt.id, prompt.task, prompt.text, prompt.answer, prompt.source, prompt.system)
    for text in (*texts, *(text for _, text in prompt.history)):
        text.encode()
        assert "\0" not in text, where
    json.dumps({"meta": prompt.meta, "columns": prompt.columns}).encode()
    assert prompt.text.strip(), where
