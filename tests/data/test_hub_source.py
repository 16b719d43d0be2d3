"""Data sets of the `datasets` library as a prompt source, stored or streamed; all of them made
here.
"""

import base64
import io
import re
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet
import pytest
from PIL import Image

from g2rpo.data.arrow_rows import records_of
from g2rpo.data.hub_source import HubSource, loaded, undecoded
from g2rpo.data.hub_stream import HubStream
from g2rpo.data.own_format import OwnFormat
from g2rpo.data.rows import BadRecord
from g2rpo.data.template import PromptTemplate

COLUMNS = {"text": "question", "images": "picture", "answer": "label", "task": "kind"}
OPTIONS = {"columns": COLUMNS, "values": {"answer_type": "numerical"}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    # After a shuffled pass over parquet, `datasets` waits five seconds for threads that read ahead.
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.1)
    datasets.disable_progress_bars()


def table(count: int, **columns: list[Any]) -> datasets.Dataset:
    kinds = ["bar chart" if n % 3 == 0 else "sums" for n in range(count)]
    pictures = [Image.new("RGB", (8 + n, 8)) for n in range(count)]
    made = {
        "question": [f"q{n}" for n in range(count)],
        "picture": pictures,
        "label": [str(n) for n in range(count)],
        "kind": kinds,
    }
    return datasets.Dataset.from_dict(made | columns).cast_column("picture", datasets.Image())


def written(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def own_format() -> OwnFormat:
    return OwnFormat(
        tasks={"bar chart": "chart", "sums": "math"},
        template=PromptTemplate(instruction="Think.", hints={}),
    )


@pytest.fixture
def stored(tmp_path: Path) -> str:
    """Thirty rows as a folder of parquet files."""
    folder = tmp_path / "set"
    folder.mkdir()
    table(30).to_parquet(folder / "train.parquet")
    return str(folder)


def test_rows_are_prompts_under_the_names_that_the_yaml_gives(stored: str) -> None:
    source = HubSource(path=stored, format=own_format(), **OPTIONS)
    assert [
        (source.size(task, "train"), source.size(task, "heldout"))
        for task in ("math", "chart", "spatial")
    ] == [
        (18, 2),
        (9, 1),
        (0, 0),
    ]
    prompts = [source.get("chart", index, "train") for index in range(9)]
    assert {prompt.text for prompt in prompts} <= {f"q{n}\nThink." for n in range(0, 30, 3)}
    prompt = prompts[4]
    (loaded,) = source.loading.loaded([prompt], lambda image: image)
    assert loaded.images[0].size == (8 + int(prompt.answer), 8)
    assert (prompt.answer_type, prompt.id) == ("numerical", f"{stored}:train/{prompt.meta['line']}")
    source.loading.close()


def test_a_saved_data_set_and_lists_of_images_are_read_too(tmp_path: Path) -> None:
    two = [[Image.new("RGB", (8, 8)), Image.new("RGB", (9, 9))]] * 3
    made = datasets.Dataset.from_dict(
        {"text": ["a <image> b <image>", "c", "d"], "pictures": two, "answer": ["1", "2", "3"]},
        features=datasets.Features(
            text=datasets.Value("string"),
            pictures=datasets.List(datasets.Image()),
            answer=datasets.Value("string"),
        ),
    )
    made.save_to_disk(tmp_path / "saved")
    source = HubSource(
        path=str(tmp_path / "saved"),
        columns={"text": "text", "images": "pictures", "answer": "answer"},
        values={"task": "spatial", "answer_type": "numerical"},
        format=own_format(),
    )
    prompt = source.get("spatial", 0, "train")
    (loaded,) = source.loading.loaded([prompt], lambda image: image)
    assert (prompt.text, [image.size for image in loaded.images]) == (
        "a <image> b <image>\nThink.",
        [(8, 8), (9, 9)],
    )
    source.loading.close()


def test_paths_in_a_column_lie_below_root(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "?", "image": "a/b.png", "answer": "1"}\n')
    source = HubSource(
        path="json",
        data_files=str(tmp_path / "rows.jsonl"),
        columns={"text": "text", "images": "image", "answer": "answer"},
        values={"task": "math", "answer_type": "numerical"},
        root="/pictures",
        format=own_format(),
    )
    assert source.get("math", 0, "train").images == ("/pictures/a/b.png",)


def test_a_row_that_cannot_be_used_is_named_by_its_number(stored: str, tmp_path: Path) -> None:
    table(4, label=["0", "", "2", "many"]).to_parquet(Path(stored) / "train.parquet")
    with pytest.raises(
        BadRecord, match=r"set:train, row 1: answer \(column 'label'\): it is empty"
    ):
        HubSource(path=stored, format=own_format(), **OPTIONS)
    source = HubSource(path=stored, format=own_format(), on_error="skip", **OPTIONS)
    assert source.skips.summary()["unusable"] == {"math": 1, "chart": 1}
    assert source.size("math", "train") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"columns": COLUMNS | {"answer": "gold"}},
            r"data\.columns\.answer: .* no column 'gold'; it has question, picture, label, kind",
        ),
        (
            {"columns": COLUMNS | {"images": "pictures"}},
            r"data\.columns\.images: .* no column 'pictures'; is it 'picture'\?",
        ),
        (
            {
                "columns": {"text": "question", "answer": "label"},
                "values": {"task": "default", "answer_type": "math"},
            },
            r"data\.values\.task: expected the name of a task, got 'default'",
        ),
        (
            {"values": {"answer_type": "maths"}},
            r"data\.values\.answer_type: .*, got 'maths'; is it 'math'\?",
        ),
        ({"values": {"answer": "7"}}, r"data\.values: answer is in data\.columns already"),
        ({"split": "test"}, r"data\.path=.* data\.split=test: "),
        ({"path": "no/such-set"}, r"data\.path=no/such-set data\.split=train: "),
    ],
)
def test_settings_that_do_not_fit_the_data_set_are_refused(
    options: dict[str, Any], message: str, stored: str
) -> None:
    with pytest.raises(ValueError, match=message):
        HubSource(**{"path": stored, "format": own_format(), **OPTIONS, **options})


def test_prompts_are_left_out_and_come_without_images_where_none_are_needed(stored: str) -> None:
    source = HubSource(path=stored, format=own_format(), **OPTIONS)
    before = [source.get("chart", index, "train").answer for index in range(9)]
    bare = source.without_images("chart", 4, "train")
    assert (bare.answer, bare.id, bare.images) == (
        before[4],
        source.get("chart", 4, "train").id,
        (),
    )
    source.leave_out("chart", "train", {1, 8})
    assert source.size("chart", "train") == 7
    assert [source.get("chart", index, "train").answer for index in range(7)] == [
        before[0],
        *before[2:8],
    ]


def test_pictures_under_the_field_image_are_read_like_those_under_images(stored: str) -> None:
    columns = {"text": "question", "image": "picture", "answer": "label", "task": "kind"}
    source = HubSource(path=stored, format=own_format(), **OPTIONS | {"columns": columns})
    (image,) = source.get("math", 0, "train").images
    assert Image.open(io.BytesIO(image)).height == 8
    assert source.without_images("math", 0, "train").images == ()


def test_a_file_as_path_is_refused_with_what_to_type(stored: str) -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"got the file .*train\.parquet; use data\.path=parquet"
            r" data\.data_files=.*train\.parquet"
        ),
    ):
        HubSource(path=f"{stored}/train.parquet", format=own_format(), **OPTIONS)


def streamed(path: str, **options: Any) -> HubStream:
    return HubStream(path=path, format=own_format(), **OPTIONS, **options)


def test_a_stream_serves_each_task_in_order_and_starts_over(stored: str) -> None:
    source = streamed(stored)
    assert (source.size("chart", "train"), source.size("chart", "heldout")) == (None, 0)
    answers = [source.get("chart", index, "train").answer for index in range(13)]
    assert answers == [str(n) for n in range(0, 30, 3)] + ["0", "3", "6"]
    assert (
        source.get("math", 0, "train").answer == "1"
    )  # what was passed on the way to charts is still there


def test_a_stream_looks_back_as_far_as_it_is_asked(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("g2rpo.data.hub_stream.KEPT", 2)
    source = streamed(stored)
    forward = [source.get("math", index, "train").id for index in range(30)]
    assert [source.get("math", index, "train").id for index in (29, 27, 3, 11)] == [
        forward[index] for index in (29, 27, 3, 11)
    ]


def test_shuffling_is_another_order_in_every_pass_and_the_same_for_the_seed(stored: str) -> None:
    def order(seed: int, first: int) -> list[str]:
        source = streamed(stored, shuffle_rows=20, seed=seed)
        return [source.get("chart", index, "train").answer for index in range(first, first + 10)]

    assert sorted(order(0, 0), key=int) == [str(n) for n in range(0, 30, 3)]
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(0, 0)), tuple(order(0, 10)), tuple(order(1, 0))}) == 3


def test_a_task_that_does_not_occur_and_one_that_is_too_rare_are_named(stored: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"no usable row of document in a whole pass; set task_mix\.weights\.document=0",
    ):
        streamed(stored).get("document", 0, "train")
    source = streamed(stored, waiting_rows=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("g2rpo.data.hub_stream.KEPT", 0)
        with pytest.raises(
            ValueError,
            match=r"0 rows went by before one of math; lower task_mix\.weights\.math, .* data=hub",
        ):
            source.get("math", 0, "train")


def test_held_out_prompts_of_a_stream_come_from_their_own_split(stored: str) -> None:
    table(12, question=[f"held {n}" for n in range(12)]).to_parquet(Path(stored) / "test.parquet")
    source = streamed(stored, heldout_split="test", heldout=3)
    assert [source.size(task, "heldout") for task in ("math", "chart")] == [3, 3]
    assert source.get("chart", 2, "heldout").text == "held 6\nThink."
    assert source.get("chart", 2, "train").text == "q6\nThink."


PICTURE = {"bytes": b"", "path": None}


@pytest.mark.parametrize(
    ("field", "rows", "message"),
    [
        (
            "picture",
            [PICTURE, None],
            r"images \(column 'picture'\): image 1: the image is empty \(0 bytes\)",
        ),
        (
            "picture",
            [{"bytes": None, "path": None}, None],
            r"images \(column 'picture'\): image 1: expected an image, its bytes or a path,"
            " got null",
        ),
        (
            "question",
            ["<image> or <image>?", "q"],
            r"images \(column 'picture'\): the question has 2 <image>, the row 1 paths",
        ),
        (
            "picture",
            [None, None],
            r"images \(column 'picture'\): the question has 1 <image>, the row 0 paths",
        ),
        (
            "picture",
            [{"bytes": None, "path": "http://a.org/b.png"}, None],
            r"images \(column 'picture'\): image 1: http://a\.org/b\.png is a web address",
        ),
    ],
)
def test_pictures_of_a_stored_set_are_checked_before_training(
    field: str, rows: list[Any], message: str, tmp_path: Path
) -> None:
    good = {"bytes": written(Image.new("RGB", (8, 8))), "path": None}
    columns = {
        "question": ["<image>q", "q"],
        "picture": [good, good],
        "label": ["1", "2"],
        "kind": ["sums"] * 2,
    } | {field: rows}
    features = datasets.Features(
        {name: datasets.Value("string") for name in columns}
        | {"picture": datasets.Image(decode=False)}
    )
    folder = tmp_path / "set"
    folder.mkdir()
    # without `to_parquet`, which fetches what paths name
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pydict(columns, schema=features.arrow_schema), folder / "train.parquet"
    )
    with pytest.raises(BadRecord, match=f"train, row 0: {message}"):
        HubSource(path=str(folder), format=own_format(), **OPTIONS)
    found = HubSource(path=str(folder), format=own_format(), on_error="skip", **OPTIONS)
    for source in (found, streamed(str(folder), on_error="skip")):
        assert source.get("math", 0, "train").answer == "2"
        assert [re.search(message, reason) is not None for reason in source.skips.records] == [True]


def test_base64_and_data_urls_in_a_column_become_bytes(tmp_path: Path) -> None:
    data = written(Image.new("RGB", (8, 12), (255, 0, 0)))
    text = base64.b64encode(data).decode()
    columns = {
        "question": ["q", "r"],
        "picture": [text, f"data:image/png;base64,{text}"],
        "label": ["1", "2"],
        "kind": ["sums"] * 2,
    }
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "train.parquet")
    source = HubSource(path=str(tmp_path), root="/pictures", format=own_format(), **OPTIONS)
    assert [source.get("math", index, "train").images for index in range(2)] == [(data,)] * 2


def test_unknown_fields_are_refused_and_pictures_that_nothing_reads_are_told(
    stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match=r"data\.columns\.txt: unknown field; is it 'text'\?"):
        HubSource(path=stored, format=own_format(), columns={"txt": "question"})
    bare = {
        "columns": {"text": "question", "answer": "label", "task": "kind"},
        "format": own_format(),
    }
    HubSource(path=stored, values={"answer_type": "numerical"}, **bare)
    assert (
        "a column 'picture', and nothing reads it; set data.columns.images=picture, or"
        " +data.values.images=[]" in caplog.text
    )
    source = HubSource(path=stored, values={"answer_type": "numerical", "images": []}, **bare)
    assert source.get("math", 0, "train").images == ()


def test_no_bytes_of_pictures_are_read_for_the_first_look(stored: str) -> None:
    rows = undecoded(loaded(stored, None, "train", None))
    record = next(records_of(rows))
    assert record["picture"]["bytes"] == b"x"
    assert record["question"] == "q0"


def test_reward_functions_get_every_column_but_pictures(tmp_path: Path) -> None:
    """Under the names of the data set, also where pictures are left out to save time."""
    more = {"level": [{"of": [n]} for n in range(20)], "figure": [b"..."] * 20}
    table(20, **more).save_to_disk(tmp_path / "saved")
    source = HubSource(path=str(tmp_path / "saved"), format=own_format(), **OPTIONS)
    for prompt in (source.get("chart", 0, "train"), source.without_images("chart", 0, "train")):
        number = int(prompt.answer)
        assert prompt.columns == {
            "question": f"q{number}",
            "label": str(number),
            "kind": "bar chart",
            "level": {"of": [number]},
        }
