"""Predictions that exist already: judged again from what is on disk, and from files of
VLMEvalKit.
"""

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from g2rpo.benchmark.evaluation.rescore import rescore
from g2rpo.benchmark.evaluation.runner import Scoring
from g2rpo.benchmark.evaluation.suite import SuiteEvaluation

ANSWERS = {"q1?": "1.", "q2?": "half", "q3?": "1", "q4?": "cut"}


@pytest.fixture
def home(world: Any, tmp_path: Path) -> Path:
    """A run folder with predictions: 0, 0.5 and a group of 1 and 0 by `paper`; by `robust` the
    first is right.
    """
    records = [world.record(i, block="x" if i > 2 else f"r{i}", category="c") for i in range(1, 5)]
    suite = SuiteEvaluation(
        benchmarks=["sums"],
        suite={"sums": world.Sums()},
        rows="demo",
        row_sources={"demo": world.Listed(sums=records)},
        max_new_tokens=7,
    )
    model = {"weights": "aa"}
    suite.run(
        world.Answering(ANSWERS),
        world.IdEncoder(),
        tmp_path / "run" / "eval",
        model=model,
        device="cpu",
        progress_bar=world.silent,
    )
    return tmp_path / "run"


@pytest.fixture
def again(world: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def start(
        source: Path, *names: str, protocol: str = "robust", judge: Any = None
    ) -> dict[str, Any]:
        return rescore(
            source,
            names,
            lambda name: world.Sums(name=name),
            Scoring(protocol=protocol, judge=judge),
            tmp_path / "new" / "eval",
        )

    return start


def test_a_run_folder_or_its_eval_folder_is_judged_by_another_protocol(
    home: Path, again: Callable[..., Any], tmp_path: Path
) -> None:
    before = (home / "eval" / "sums.jsonl").read_text()
    for source in (home, home / "eval"):
        found = again(source)["sums"]
        assert (found["score"], found["protocol"], found["prompted_as"], found["rows_from"]) == (
            0.5,
            "robust",
            "paper",
            "demo",
        )
        assert (found["groups"], found["rows"], found["subscores"]["category/c"]) == (
            3,
            4,
            {"score": 0.5, "groups": 3},
        )
    assert again(home, protocol="paper")["sums"]["score"] == pytest.approx(1 / 6)
    assert (home / "eval" / "sums.jsonl").read_text() == before
    rows = [
        json.loads(line)
        for line in (tmp_path / "new" / "eval" / "sums.jsonl").read_text().splitlines()
    ]
    assert [(row["id"], row["protocol"]) for row in rows] == [
        (str(i), "paper") for i in range(1, 5)
    ]


def test_what_was_judged_again_can_be_judged_once_more(
    home: Path, again: Callable[..., Any], tmp_path: Path
) -> None:
    again(home)
    (tmp_path / "new").rename(tmp_path / "middle")
    assert again(tmp_path / "middle", protocol="paper")["sums"]["score"] == pytest.approx(1 / 6)


def test_a_judge_can_be_asked_about_saved_predictions(
    home: Path, again: Callable[..., Any]
) -> None:
    found = again(home, judge=lambda text: "yes")["sums"]
    assert (found["rows_by_judge"], found["judge"]) == (4, "<lambda>")


def test_broken_completions_count_as_unparsed(home: Path, again: Callable[..., Any]) -> None:
    file = home / "eval" / "sums.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row, text in zip(rows, ["", "\u0000\ud800\u202e" * 9, "crash", "{" * 4000], strict=True):
        row["completion"] = text
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = again(home)["sums"]
    assert (found["score"], found["parse_rate"], found["rows"], found["rows_failed"]) == (
        0.0,
        0.0,
        4,
        1,
    )


def test_a_folder_without_predictions_or_without_this_benchmark_is_refused(
    home: Path, again: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"source: expected a run folder with eval/<benchmark>\.jsonl or a prediction file"
            r" \(\.xlsx, \.tsv, \.jsonl\)"
        ),
    ):
        again(tmp_path / "nothing")
    with pytest.raises(ValueError, match="there is none of mmmu, only: sums"):
        again(home, "mmmu")


def test_the_folder_that_is_read_is_never_written(home: Path, world: Any) -> None:
    with pytest.raises(ValueError, match="reads the folder that would be written"):
        rescore(home, (), lambda name: world.Sums(), Scoring(protocol="paper"), home / "eval")


RECORDS = [
    {"index": "7", "question": "q\t7 & <b>", "answer": "1", "category": "a", "prediction": "1"},
    {"index": "8", "question": "two\nlines", "answer": "1", "category": "b", "prediction": ""},
    {"index": "9", "question": "q9", "answer": "1", "category": "b", "prediction": "half"},
    {"index": "10", "question": "no gold", "answer": "", "category": "b", "prediction": "1"},
]


def tsv(path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(RECORDS[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(RECORDS)
    return path


def xlsx(path: Path) -> Path:
    """A workbook as spreadsheet programs write it: shared strings, inline strings, numbers; empty
    cells are left out.
    """
    shared = [*RECORDS[0], *(record["question"] for record in RECORDS)]
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    head = "".join(f'<c r="{column}1" t="s"><v>{i}</v></c>' for i, column in enumerate("ABCDE"))
    body = ""
    for line, record in enumerate(RECORDS, 2):
        cells = (
            f'<c r="A{line}"><v>{record["index"]}.0</v></c><c r="B{line}"'
            f' t="s"><v>{line + 3}</v></c>'
        )
        cells += f'<c r="C{line}"><v>{record["answer"]}</v></c>' if record["answer"] else ""
        cells += "".join(
            f'<c r="{column}{line}" t="inlineStr"><is><t>{escape(record[name])}</t></is></c>'
            for column, name in {"D": "category", "E": "prediction"}.items()
            if record[name]
        )
        body += f'<row r="{line}">{cells}</row>'
    with zipfile.ZipFile(path, "w") as book:
        strings = "".join(
            f"<si><t>{escape(text).replace(chr(10), '_x000A_')}</t></si>" for text in shared
        )
        book.writestr("xl/sharedStrings.xml", f"<sst {main}>{strings}</sst>")
        book.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet {main}><sheetData><row r="1">{head}</row>{body}</sheetData></worksheet>',
        )
    return path


@pytest.mark.parametrize("write", [tsv, xlsx])
def test_a_prediction_file_of_vlmevalkit_is_judged(
    write: Callable[[Path], Path], world: Any, tmp_path: Path
) -> None:
    class FromIndex(world.Sums):
        def row(self, record: Any) -> Any:
            if not record["image"]:
                raise ValueError("image: missing")
            return super().row({"id": record["index"], **record})

    file = write(tmp_path / f"model_sums.{write.__name__}")
    scoring = Scoring(protocol="paper")
    found = rescore(file, ["sums"], lambda name: FromIndex(), scoring, tmp_path / "eval")["sums"]
    assert (found["score"], found["parse_rate"], found["rows"]) == (0.5, 2 / 3, 3)
    assert (
        found["rows_available"],
        found["rows_unusable"],
        found["rows_from"],
        found["prompted_as"],
    ) == (4, 1, file.name, "vlmevalkit")
    assert found["subscores"] == {
        "category/a": {"score": 1.0, "groups": 1},
        "category/b": {"score": 0.25, "groups": 2},
    }
    rows = [
        json.loads(line) for line in (tmp_path / "eval" / "sums.jsonl").read_text().splitlines()
    ]
    assert [(row["id"], row["question"]) for row in rows] == [
        (r["index"], r["question"]) for r in RECORDS[:3]
    ]


def test_a_prediction_file_belongs_to_one_benchmark(
    again: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"name the one benchmark it belongs to, as in 'eval\.benchmarks=\[mmstar\]'; got \[\]"
        ),
    ):
        again(tsv(tmp_path / "a.tsv"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xlsx", b"no zip", "is not a workbook"),
        ("a.tsv", b"index\tquestion\n1\tq\n", "has no column prediction, only: index, question"),
        ("a.tsv", b"index\tprediction\n1\tq\tr\n", "line 2: more cells than the header has"),
        ("a.tsv", None, "no such file"),
    ],
)
def test_a_file_that_is_no_prediction_file_is_named(
    name: str, content: bytes | None, words: str, again: Callable[..., Any], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        again(tmp_path / name, "sums")
