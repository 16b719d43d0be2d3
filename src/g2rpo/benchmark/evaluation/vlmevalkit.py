"""Prediction files of VLMEvalKit: the data set's columns without the image, plus `prediction`.

Sample logs of lmms-eval are read by `lmms_eval.py`.

They are tab-separated text or a workbook. A workbook is a zip of XML files (ECMA-376); only the
cells of its first sheet are read, which needs no package.
"""

import base64
import csv
import io
import logging
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from g2rpo.benchmark.evaluation.lmms_eval import sample_records
from g2rpo.benchmark.evaluation.runner import Prediction
from g2rpo.interfaces import Benchmark

log = logging.getLogger("g2rpo")
SUFFIXES = (".xlsx", ".tsv", ".jsonl")
SHEET = "xl/worksheets/sheet1.xml"
STRINGS = "xl/sharedStrings.xml"
MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
CUT_CHARS = 32_767
"""Maximum length of a workbook's cell; VLMEvalKit cuts longer predictions when it saves them."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """The content of a prediction file; `rows` are the benchmark's rows by id."""

    predictions: list[Prediction]
    rows: dict[str, dict[str, Any]]
    unusable: list[str]


def read_predictions(path: Path, benchmark: Benchmark) -> Read:
    """Read predictions with their rows; an empty prediction counts as unparsed.

    Raises:
        ValueError: If the file cannot be read or has no column `prediction`.
    """
    if not path.is_file():
        raise ValueError(f"rescore: no such file: {path}")
    read = {".xlsx": _workbook, ".tsv": _tsv, ".jsonl": sample_records}[path.suffix.lower()]
    records = list(read(path))
    if not records or "prediction" not in records[0][1]:
        columns = ", ".join(records[0][1]) if records else "nothing"
        raise ValueError(f"rescore: {path} has no column prediction, only: {columns}")
    predictions: list[Prediction] = []
    rows: dict[str, dict[str, Any]] = {}
    unusable = []
    for line, record in records:
        completion = record.pop("prediction") or ""
        try:
            row = benchmark.row(
                {
                    "image": _blank(),
                    **{name: value for name, value in record.items() if value not in ("", None)},
                }
            )
        except ValueError as error:
            unusable.append(f"{path}, line {line}: {error}")
            log.warning("%s: left out %s", benchmark.name, unusable[-1])
            continue
        id = str(row["id"])
        if id in rows:
            raise ValueError(f"{path}, line {line}: id {id!r} occurs a second time")
        rows[id] = {name: value for name, value in row.items() if name != "images"} | {"images": ()}
        predictions.append(_prediction(benchmark, rows[id], id, completion, path))
    return Read(predictions=predictions, rows=rows, unusable=unusable)


def _prediction(
    benchmark: Benchmark, row: Mapping[str, Any], id: str, completion: str, path: Path
) -> Prediction:
    return {
        "id": id,
        "group": benchmark.group(row),
        "task": benchmark.task,
        "question": str(row.get("question", "")),
        "gold": str(row.get("answer", "")),
        "completion": completion,
        "tokens": None,
        "truncated": path.suffix.lower() == ".xlsx" and len(completion) >= CUT_CHARS,
        "prompted_as": "lmms-eval" if path.suffix.lower() == ".jsonl" else "vlmevalkit",
        "subscores": list(benchmark.subscores(row)),
        "row": {name: value for name, value in row.items() if name != "images"},
    }


def _blank() -> str:
    """Return a blank picture in base64, in place of the one that prediction files leave out."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def _tsv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", restval="")
        for record in reader:
            if None in record:
                raise ValueError(
                    f"rescore: {path}, line {reader.line_num}: more cells than the header has"
                )
            yield reader.line_num, record


def _workbook(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with zipfile.ZipFile(path) as book:
            strings = _strings(book)
            with book.open(SHEET) as sheet:
                rows = [
                    _cells(row, strings)
                    for _, row in ElementTree.iterparse(sheet)  # noqa: S314
                    if row.tag == f"{MAIN}row"
                ]
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as error:
        raise ValueError(f"rescore: {path} is not a workbook ({error})") from error
    header = rows[0] if rows else {}
    for line, row in enumerate(rows[1:], 2):
        yield line, {name: row.get(column, "") for column, name in header.items()}


def _strings(book: zipfile.ZipFile) -> list[str]:
    if STRINGS not in book.namelist():
        return []
    with book.open(STRINGS) as file:
        return [_text(item) for _, item in ElementTree.iterparse(file) if item.tag == f"{MAIN}si"]  # noqa: S314


def _cells(row: ElementTree.Element, strings: list[str]) -> dict[str, str]:
    """Return the text of a row's cells by the letters of their columns."""
    found = {}
    for i, cell in enumerate(row.iter(f"{MAIN}c")):
        column = re.sub(r"\d", "", cell.get("r") or "") or str(i)
        value = cell.findtext(f"{MAIN}v") or ""
        kind = cell.get("t")
        if kind == "s":
            value = strings[int(value)]
        elif kind == "inlineStr":
            value = _text(cell)
        elif kind == "b":
            value = "TRUE" if value == "1" else "FALSE"
        elif kind != "str" and re.fullmatch(r"-?\d+\.0+", value):
            value = value.partition(".")[0]
        found[column] = value
    return found


def _text(element: ElementTree.Element) -> str:
    """Return an element's text without phonetic readings; `_x000D_` escapes are decoded."""
    inside = {id(part) for reading in element.iter(f"{MAIN}rPh") for part in reading.iter()}
    text = "".join(part.text or "" for part in element.iter(f"{MAIN}t") if id(part) not in inside)
    return ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
