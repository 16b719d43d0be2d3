"""The page of a run of any length stays small, and reads completions wherever they lie."""

import csv
import json
import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from g2rpo.data.gym.source import TASKS
from g2rpo.report.inline_picture import Picture
from g2rpo.report.page_size import LEFT_OUT, fitting, text_limit
from g2rpo.report.run_data import read_run
from g2rpo.report.run_page import page, write_report
from g2rpo.training.completion_parts import CompletionParts, completion_files
from g2rpo.training.showcase import is_shown

STEPS = 20_000


def divided(folder: Path, part_bytes: float) -> int:
    """Write the completions of a run again, divided into parts; return the number of files."""
    path = folder / "completions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    parts = CompletionParts(folder, part_bytes)
    for step in range(1, rows[-1]["step"] + 1):
        parts.append([row for row in rows if row["step"] == step])
    return len(completion_files(folder))


def test_a_page_of_compressed_parts_is_that_of_one_file(run_folder: Path) -> None:
    whole = page(read_run(run_folder))
    assert divided(run_folder, 100_000) > 4
    assert page(read_run(run_folder)) == whole


def test_a_broken_part_is_named(run_folder: Path) -> None:
    divided(run_folder, 100_000)
    part = completion_files(run_folder)[0]
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"^completions/000000001-\d+\.jsonl\.gz: .*; restore or"):
        read_run(run_folder)


@pytest.mark.parametrize("text", ["a", "é", "<", "\U0001f600"])
def test_texts_are_cut_so_that_the_page_holds_few_bytes(text: str) -> None:
    sizes = {"a": 1, "é": 2, "<": 4, "\U0001f600": 4}
    assert text_limit([text * 1000] * 10, most_bytes=8000) == 800 // sizes[text]


def test_short_texts_leave_their_room_to_long_ones() -> None:
    assert text_limit(["a" * 1000, "b" * 10, "", "c" * 1000], most_bytes=1010) == 500


def test_pictures_beyond_the_limit_give_way_to_a_remark() -> None:
    first, second, third = (Picture(uri="x" * size) for size in (50, 40, 30))
    assert fitting([[first], [], [second, third]], most_bytes=100) == [
        [first],
        [],
        [second, LEFT_OUT],
    ]


@pytest.mark.slow
def test_the_report_of_20_000_steps_has_at_most_10_mb(run_folder: Path) -> None:
    rng = Random(3)
    _write_long_metrics(run_folder / "metrics.csv")
    (run_folder / "completions.jsonl").unlink()
    parts = CompletionParts(run_folder, 32e6)
    words = "".join(rng.choice("abcdefg <&é漢") for _ in range(20_000))
    for step in range(1, STEPS + 1):
        parts.append(_group(step, words if is_shown(step) or step == STEPS else "short"))
    assert len(completion_files(run_folder)) >= 2
    for when in ("before", "after"):
        _lengthen(run_folder / "heldout" / f"{when}.jsonl", words)
    _fill_with_noise(run_folder)
    size = write_report(run_folder).stat().st_size
    assert 5e6 < size <= 10e6


def _write_long_metrics(path: Path) -> None:
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for step in range(1, STEPS + 1):
            writer.writerow([str(step), *rows[step % len(rows)][1:]])


def _group(step: int, text: str) -> list[dict[str, object]]:
    """Two prompts of each task, and for the steps that are shown eight completions of each."""
    size = 8 if len(text) > 100 else 1
    return [
        {
            "step": step,
            "task": task,
            "prompt_id": f"long/{task}/{step}/{i}",
            "prompt": text,
            "answer": "3",
            "completion": text,
            "reward": 0.5,
            "accuracy": 0.5,
            "advantage": 0.25,
            "completion_tokens": 9,
        }
        for task in TASKS
        for i in range(2)
        for _ in range(size)
    ]


def _lengthen(path: Path, text: str) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["prompt"] = text
        for answer in (row["greedy"], *row["samples"]):
            answer["completion"] += text
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _fill_with_noise(folder: Path) -> None:
    """Give every shown prompt pictures as large as those that a run keeps."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    large = folder / "large.jpeg"
    Image.fromarray(noise).save(large, quality=85)
    for path in list((folder / "heldout" / "images").iterdir()):
        path.unlink()
        for k in range(4):
            shutil.copy(large, path.with_name(f"{path.stem[:-2]}-{k}.jpeg"))
    (folder / "images").mkdir(exist_ok=True)
    for task in TASKS:
        for power in range(15):
            for i in range(2):
                shutil.copy(large, folder / "images" / f"long-{task}-{2**power}-{i}-0.jpeg")
