import json
from pathlib import Path

import pytest

from g2rpo.benchmark.chartqa import ChartQA
from g2rpo.benchmark.evaluation.lmms_eval import sample_records
from g2rpo.benchmark.evaluation.vlmevalkit import read_predictions


def _log(path: Path, *samples: object) -> Path:
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path


def test_a_sample_becomes_its_record_with_the_raw_response(tmp_path: Path) -> None:
    doc = {"question": "How many?", "type": "human_test"}
    log = _log(
        tmp_path / "s.jsonl",
        {"doc_id": 3, "doc": doc, "target": "14", "resps": [["14."]], "filtered_resps": ["14"]},
        {"doc_id": 4, "doc": {**doc, "answer": "2"}, "target": "x", "filtered_resps": ["three"]},
    )
    read = read_predictions(log, ChartQA())
    assert [(one["id"], one["completion"], one["gold"]) for one in read.predictions] == [
        ("3", "14.", "14"),
        ("4", "three", "2"),
    ]
    assert {one["prompted_as"] for one in read.predictions} == {"lmms-eval"}


def test_what_is_no_sample_is_answered_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"s.jsonl, line 1: expected a sample of lmms-eval"):
        list(sample_records(_log(tmp_path / "s.jsonl", {"doc": {}, "resps": []})))
    (tmp_path / "t.jsonl").write_text("{\n")
    with pytest.raises(ValueError, match=r"t.jsonl, line 1: not JSON"):
        list(sample_records(tmp_path / "t.jsonl"))
