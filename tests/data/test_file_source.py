"""Files as a prompt source: what is served, what is held out, and what is left out with its
line.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from g2rpo.data.file_source import FileSource
from g2rpo.data.gym.source import TASKS
from g2rpo.data.onethinker import OneThinkerFormat
from g2rpo.data.own_format import OwnFormat
from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate

Record = Callable[..., dict[str, Any]]
Shelf = Callable[..., Path]
TASKS_OF = {"math_reasoning": "math", "chart_figure_qa": "chart"}


def source(folder: Path, files: str | list[str] = "rows.json", **options: Any) -> FileSource:
    template = PromptTemplate(instruction="Think.", hints={"numerical": "One number."})
    return FileSource(
        files=files,
        root=str(folder),
        format=OneThinkerFormat(tasks=TASKS_OF, template=template),
        **options,
    )


def test_a_prompt_is_its_row_with_paths_below_root_and_its_place(
    record: Record, shelf: Shelf
) -> None:
    folder = shelf(
        [record(4), record(9, images=["a/x.png", "a/y.png"], problem="<image><image> Which?")]
    )
    prompt = source(folder).get("math", 1, "train")
    assert prompt.id == "rows/9"
    assert prompt.images == (str(folder / "a/x.png"), str(folder / "a/y.png"))
    assert (prompt.text, prompt.answer, prompt.answer_type) == (
        "Which?\nThink.\nOne number.",
        "9",
        "numerical",
    )
    assert (prompt.task, prompt.source, prompt.meta["file"]) == (
        "math",
        "made",
        str(folder / "rows.json"),
    )
    line = (folder / "rows.json").read_text().splitlines()[prompt.meta["line"] - 1]
    assert line.strip() == "{"  # the second record begins there
    assert (folder / "rows.json").read_text().splitlines()[
        prompt.meta["line"]
    ].strip() == '"problem_id": 9,'


def test_tasks_are_told_apart_and_a_tenth_of_each_is_held_out(record: Record, shelf: Shelf) -> None:
    rows = [record(n) for n in range(30)] + [
        record(100 + n, task_type="chart_figure_qa") for n in range(9)
    ]
    found = source(shelf(rows))
    assert [
        (found.size(task, "train"), found.size(task, "heldout"))
        for task in ("math", "chart", "document")
    ] == [(27, 3), (9, 0), (0, 0)]
    kept = {found.get("math", index, "train").id for index in range(27)}
    held = {found.get("math", index, "heldout").id for index in range(3)}
    assert len(kept) == 27
    assert kept | held == {f"rows/{n}" for n in range(30)}
    assert source(shelf(rows)).get("math", 2, "heldout").id == found.get("math", 2, "heldout").id
    assert {source(shelf(rows), seed=s).get("math", 2, "heldout").id for s in range(6)} != {
        found.get("math", 2, "heldout").id
    }
    assert source(shelf(rows), heldout=0).size("math", "train") == 30


def test_several_files_are_one_source_and_equal_names_do_not_clash(
    record: Record, shelf: Shelf
) -> None:
    folder = shelf([record(1)], "rows.jsonl")
    (folder / "more").mkdir()
    (folder / "more" / "rows.jsonl").write_text((folder / "rows.jsonl").read_text())
    found = source(folder, ["rows.jsonl", "more/rows.jsonl"])
    ids = [found.get("math", index, "train").id for index in range(2)]
    assert ids == [f"{folder / 'rows.jsonl'}/1", f"{folder / 'more/rows.jsonl'}/1"]


def test_rows_without_an_id_are_known_by_their_line(record: Record, shelf: Shelf) -> None:
    rows = [record(1), record(2)]
    for row in rows:
        del row["problem_id"]
    found = source(shelf(rows, "rows.jsonl"), "rows.jsonl")
    assert found.get("math", 1, "train").id == "rows/line-2"


BROKEN = {
    "unknown problem type": (
        {"problem_type": "riddle"},
        r"problem_type: expected one of multiple choice, .* got 'riddle'",
    ),
    "empty answer": ({"answer": "<answer></answer>"}, "answer: it is empty"),
    "box outside the image": (
        {
            "problem_type": "spatial grounding",
            "answer": '<answer>{"boxes": [10, 10, 1200, 50]}</answer>',
        },
        r"answer: the box \[10, 10, 1200, 50\] does not lie inside the image",
    ),
    "box turned over": (
        {
            "problem_type": "spatial grounding",
            "answer": '<answer>{"boxes": [50, 10, 20, 60]}</answer>',
        },
        r"answer: the box .* first corner above and left of the second",
    ),
    "options that are no texts": (
        {"problem_type": "multiple choice", "options": [["red"], ["blue"]], "answer": "A"},
        (
            r"options: expected texts, or objects with 'label' and 'text', got \[\['red'\],"
            r" \['blue'\]\]"
        ),
    ),
    "no options and no letter": (
        {"problem_type": "multiple choice", "options": [], "answer": "red"},
        "answer: 'red' is no letter, and neither options nor question list any option",
    ),
    "null as answer": ({"answer": None}, "answer: it is missing or null"),
    "true as answer": (
        {"answer": True},
        "answer: expected a text, a number or a list of them, got true; write the word",
    ),
    "answer that is no option": (
        {
            "problem_type": "multiple choice",
            "options": ["A. red", "B. blue"],
            "answer": "<answer>D</answer>",
        },
        "answer: 'D' is none of the options A, B",
    ),
    "duplicate id": ({"problem_id": 1}, "id: 1 occurs a second time"),
    "no task": (
        {"task_type": "", "data_source": "riddles"},
        (
            r"task_type: expected the name of the row's task, or one of data\.format\.tasks"
            r" \(math_reasoning, .*\), got 'riddles' / 'numerical'; say what it is with"
            r" .*tasks\.riddles=TASK"
        ),
    ),
    "a reserved name": (
        {"task_type": "macro"},
        "task_type: expected the name of a task, got 'macro', which stands for the mean over tasks",
    ),
    "video": (
        {"data_type": "video"},
        "data_type: expected image, got 'video'; videos are not supported",
    ),
    "no question": ({"problem": "<image> "}, "problem: the question is empty"),
    "number with a unit": (
        {"answer": "<answer>7 cm</answer>"},
        r"answer: expected a number without unit for numerical, got '7 cm'",
    ),
    "more markers than images": (
        {"problem": "<image> or <image>?"},
        "images: the question has 2 <image>, the row 1 paths",
    ),
    "images that are no paths": (
        {"images": [3]},
        "images: expected a path or a list of paths, got",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_row_that_cannot_be_used_is_named_with_its_line_or_left_out(
    case: str, record: Record, shelf: Shelf
) -> None:
    fields, message = BROKEN[case]
    folder = shelf([record(1), record(3)], "rows.jsonl")
    lines = (folder / "rows.jsonl").read_text().splitlines()
    (folder / "rows.jsonl").write_text(
        "\n".join([lines[0], json.dumps(record(2, **fields)), lines[1]])
    )
    with pytest.raises(
        BadRecord,
        match=(
            rf"rows\.jsonl, line 2: {message}.* Mend or drop the record, or set data\.on_error=skip"
        ),
    ):
        source(folder, "rows.jsonl")
    found = source(folder, "rows.jsonl", on_error="skip")
    assert [found.get("math", index, "train").id for index in range(2)] == ["rows/1", "rows/3"]
    skipped = found.skips.summary()
    assert sum(skipped["unusable"].values()) == 1
    assert len(skipped["records"]) == 1
    assert "line 2" in skipped["records"][0]


def test_lines_that_are_not_text_are_left_out_with_their_number(
    record: Record, shelf: Shelf
) -> None:
    folder = shelf([record(1)], "rows.jsonl")
    with (folder / "rows.jsonl").open("ab") as file:
        file.write(b'\n{"problem": "\xe9"}\n{"problem":\n')
    found = source(folder, "rows.jsonl", on_error="skip")
    assert found.skips.summary()["unusable"] == {"unknown": 2}
    assert ["line 2: not UTF-8" in reason for reason in found.skips.records] == [True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"files": "gone.json"},
            r"data\.files: no such file: gone\.json, neither here nor in data\.root=",
        ),
        ({"heldout": -1}, r"data\.heldout: expected 0 or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    options: dict[str, Any], message: str, record: Record, shelf: Shelf
) -> None:
    with pytest.raises(ValueError, match=message):
        source(shelf([record(1)]), **options)


def test_the_real_sample_is_read_whole(shared: Path) -> None:
    template = PromptTemplate(instruction="Think.", hints={})
    tasks = OmegaConf.load(
        Path(__file__).parents[2] / "conf" / "data" / "onethinker.yaml"
    ).format.tasks
    found = FileSource(
        files=str(shared / "data" / "openvlthinker_sample_train.json"),
        root=str(shared),
        format=OneThinkerFormat(tasks=instantiate(tasks, _convert_="all"), template=template),
        heldout=0,
    )
    assert [found.size(task, "train") for task in TASKS] == [10] * 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer_type": "numericl"}, r"answer_type: .* got 'numericl'; is it 'numerical'\?"),
        ({"task": ""}, r"task: expected the name of the row's task, got nothing\."),
        ({"task": "default", "answer_type": "math"}, "task: .* got 'default', which stands for"),
        ({"text": " "}, "text: the question is empty"),
    ],
)
def test_a_field_is_named_as_the_author_of_the_record_wrote_it(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    row = {"task": "math", "text": "1+1?", "answer": "2", "answer_type": "numerical"} | fields
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    format = OwnFormat(tasks={}, template=PromptTemplate(instruction="", hints={}))
    with pytest.raises(BadRecord, match=rf"rows\.jsonl, line 1: {message}"):
        FileSource(files="rows.jsonl", root=str(tmp_path), format=format)
