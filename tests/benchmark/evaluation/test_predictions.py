"""Predictions on disk: whole lines are kept, torn ones go, and settings that changed are named."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from g2rpo.benchmark.evaluation.predictions import (
    PredictionFile,
    claim_folder,
    restored_row,
    saved_row,
)


def line(id: str, completion: str = "7") -> dict[str, str]:
    return {"id": id, "completion": completion}


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    file = PredictionFile(tmp_path / "new" / "b.jsonl")
    assert file.read() == []
    file.append([line("1", "a\u2028b\nc")])
    file.append([])
    file.append([line("2"), line("3")])
    assert file.read() == [line("1", "a\u2028b\nc"), line("2"), line("3")]


def test_a_torn_last_line_is_cut_off_the_file(tmp_path: Path) -> None:
    file = PredictionFile(tmp_path / "b.jsonl")
    file.append([line("1"), line("2")])
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + whole[: len(whole) // 3])
    assert file.read() == [line("1"), line("2")]
    assert file.path.read_bytes() == whole


def test_a_row_that_was_written_twice_counts_as_the_last_time(tmp_path: Path) -> None:
    file = PredictionFile(tmp_path / "b.jsonl")
    file.append([line("1", "old"), line("2")])
    file.append([line("1", "new")])
    assert file.read() == [line("2"), line("1", "new")]


@pytest.mark.parametrize("broken", ["{", '{"id": 3, "completion": ""}', '{"id": "3"}', "[]"])
def test_a_broken_line_is_named_with_what_to_do(broken: str, tmp_path: Path) -> None:
    file = PredictionFile(tmp_path / "b.jsonl")
    file.append([line("1")])
    file.path.write_text(file.path.read_text() + broken + "\n")
    with pytest.raises(
        ValueError, match=r"b\.jsonl, line 2: .*remove the line, and its row is generated again"
    ):
        file.read()


def test_lone_surrogates_of_a_model_do_not_stop_the_writing(tmp_path: Path) -> None:
    file = PredictionFile(tmp_path / "b.jsonl")
    file.append([line("1", "a\ud800b")])
    assert file.read() == [line("1", "a?b")]


def test_a_saved_row_can_be_judged_without_its_source(tmp_path: Path) -> None:
    mask = Image.new("L", (3, 2))
    mask.putpixel((2, 1), 255)
    row = {
        "id": 4,
        "images": (mask,),
        "mask": mask,
        "answer": ["a", None],
        "box": np.array([1, 2]),
        "score": np.float64(0.5),
        "path": tmp_path / "x",
        "choices": {"A": "one"},
    }
    again = restored_row(json.loads(json.dumps(saved_row(row))))
    assert again["mask"].getpixel((2, 1)) == 255
    assert again["mask"].size == (3, 2)
    assert {name: again[name] for name in again if name != "mask"} == {
        "id": 4,
        "images": (),
        "answer": ["a", None],
        "box": [1, 2],
        "score": 0.5,
        "path": str(tmp_path / "x"),
        "choices": {"A": "one"},
    }


def test_a_folder_of_other_settings_is_refused_with_every_difference(tmp_path: Path) -> None:
    claim_folder(tmp_path, {"weights": "aa", "eval.rows": "demo", "eval.top_p": 1.0})
    PredictionFile(tmp_path / "b.jsonl").append([line("1")])
    claim_folder(tmp_path, {"weights": "aa", "eval.rows": "demo", "eval.top_p": 1.0})
    with pytest.raises(
        ValueError,
        match=(
            r"eval\.rows was 'demo' and is 'hub'; weights was 'aa' and is 'bb'\. Choose another"
            r" folder"
        ),
    ):
        claim_folder(tmp_path, {"weights": "bb", "eval.rows": "hub", "eval.top_p": 1.0})
    assert PredictionFile(tmp_path / "b.jsonl").read() == [line("1")]


def test_predictions_of_unknown_settings_are_refused_too(tmp_path: Path) -> None:
    PredictionFile(tmp_path / "b.jsonl").append([line("1")])
    with pytest.raises(ValueError, match="weights was None and is 'aa'"):
        claim_folder(tmp_path, {"weights": "aa"})


def test_a_folder_may_be_taken_over_where_nobody_wants_the_old_predictions(tmp_path: Path) -> None:
    claim_folder(tmp_path, {"weights": "aa"})
    PredictionFile(tmp_path / "b.jsonl").append([line("1")])
    PredictionFile(tmp_path / "step_2" / "b.jsonl").append([line("1")])
    claim_folder(tmp_path, {"weights": "bb"}, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["settings.json", "step_2"]
    claim_folder(tmp_path, {"weights": "bb"})
