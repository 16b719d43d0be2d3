"""Benchmark rows made by chance: each is asked and judged, or left out with a sentence that names
its line.
"""

import base64
import csv
import json
import random
import string
import time
from pathlib import Path
from typing import Any

import pytest
from hostile_values import NUMBERS, STRUCTURED, TEXTS, torn, value

from g2rpo.benchmark.evaluation.by_name import benchmark_names
from g2rpo.benchmark.evaluation.plan import make_plan
from g2rpo.benchmark.evaluation.suite import SuiteEvaluation
from g2rpo.benchmark.evaluation.verdicts import judged
from g2rpo.benchmark.rows.demo import DemoRows
from g2rpo.benchmark.rows.folder import FolderRows
from g2rpo.benchmark.rows.tsv import TsvRows
from g2rpo.data.gym.source import GymSource
from g2rpo.interfaces import Benchmark

SEED = 5
FILE_ROWS = 40
FEW, MANY = 1, 14
"""Files of `FILE_ROWS` records for each of 18 benchmarks, as JSON Lines and as TSV."""
LIMIT_S = 30.0
"""For one file; a busy machine needs a tenth of it."""


@pytest.fixture(scope="module")
def benchmarks() -> list[Benchmark]:
    """All benchmarks."""
    suite = SuiteEvaluation(benchmarks=[], rows="none", row_sources={}, max_new_tokens=8)
    return [suite._found(name) for name in benchmark_names()]


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("write", ["_as_lines", "_as_table"])
def test_a_benchmark_row_made_by_chance_is_judged_or_left_out_with_a_sentence(
    write: str, count: int, benchmarks: list[Benchmark], tmp_path: Path
) -> None:
    """Twice 18 times 14 files of 40 records are 20,160 records."""
    demo = DemoRows(prompts=GymSource(levels=[1]), rows_per_benchmark=4)
    used = asked = 0
    for benchmark in benchmarks:
        goods = [_stored(dict(record), tmp_path) for _, record in demo.records(benchmark)]
        for number in range(count):
            rng = random.Random(f"{SEED}/{write}/{benchmark.name}/{number}")
            rows = [_changed(rng, rng.choice(goods), row) for row in range(FILE_ROWS)]
            begun_s = time.monotonic()
            source = globals()[write](rng, rows, benchmark, tmp_path)
            where = f"seed {SEED}, {benchmark.name}, file {number}"
            try:
                plan = make_plan(benchmark, source, limit=None, seed=0, max_unusable_frac=1.0)
            except (ValueError, RuntimeError) as error:
                says = benchmark.name in str(error)
                assert says, where
                continue
            assert len(plan.unusable) + plan.num_rows <= FILE_ROWS + 1, where
            assert all(", line " in reason for reason in plan.unusable), where
            assert all("object at 0x" not in reason for reason in plan.unusable), where
            for group in plan.groups:
                asked += _ask_and_judge(benchmark, group, where)
            used += plan.num_rows
            assert time.monotonic() - begun_s < LIMIT_S, where
    assert used > 10 * count * len(benchmarks)  # not everything is refused
    assert asked > used  # under several protocols


def _ask_and_judge(benchmark: Benchmark, group: list[dict[str, Any]], where: str) -> int:
    """Ask and judge under every protocol; return the number of verdicts."""
    verdicts = 0
    for protocol in benchmark.protocols:
        for row in group:
            try:
                prompt = benchmark.prompt(row, protocol=protocol)
            except ValueError as error:  # without an image
                says = repr(row["id"]) in str(error)
                assert says, where
                return verdicts
            assert prompt.text.strip(), where
            json.dumps({"meta": prompt.meta, "text": prompt.text})
        found = judged(benchmark, group, ["<answer>B</answer>"] * len(group), protocol=protocol)
        assert all(0 <= verdict["score"] <= 1 for verdict in found), where
        verdicts += len(found)
    return verdicts


def _changed(rng: random.Random, good: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a record that is broken in up to three places, with an id of its own."""
    record = {**good, "index": number}
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        field = rng.choice([*record, "options", "choices", "A", "answer", "image", "id", "index"])
        match rng.randrange(6):
            case 0:
                record.pop(field, None)
            case 1:
                record[field + "x"] = record.pop(field, None)
            case 2:
                record[field] = rng.choice((*NUMBERS, *STRUCTURED))
            case _:
                record[field] = rng.choice(TEXTS) if rng.random() < 0.6 else value(rng)
    return record


def _stored(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the images of a record to files and put their names in their place."""

    def named(cell: Any) -> Any:
        if isinstance(cell, list):
            return [named(item) for item in cell]
        if hasattr(cell, "save"):
            path = folder / f"{len(list(folder.iterdir()))}.png"
            cell.save(path)
            return path.name
        return cell.tolist() if hasattr(cell, "tolist") else cell

    return {name: named(cell) for name, cell in record.items()}


def _as_lines(
    rng: random.Random, rows: list[dict[str, Any]], benchmark: Benchmark, folder: Path
) -> FolderRows:
    lines = [
        json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
        for row in rows
    ]
    lines = [torn(rng, line) if i and rng.random() < 0.1 else line for i, line in enumerate(lines)]
    lines = [line.replace(b"\n", b" ").replace(b"\r", b" ").strip() or b"x" for line in lines]
    (folder / f"{benchmark.name}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return FolderRows(folder=str(folder))


def _as_table(
    rng: random.Random, rows: list[dict[str, Any]], benchmark: Benchmark, folder: Path
) -> Any:
    """Write VLMEvalKit's columns: lists as text, images in base64."""
    benchmark.sources["tsv"] = {"file": "rows"}
    names = list(dict.fromkeys(["question", *(name for row in rows for name in row)]))
    names = [name for name in names if name not in ("images", "decoded_image")]
    with (folder / "rows.tsv").open("w", encoding="utf-8", newline="", errors="replace") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(names)
        for row in rows:
            cells = [_cell(row.get(name), folder) for name in names]
            table.writerow(cells if rng.random() < 0.95 else cells[: rng.randrange(len(cells))])
    return TsvRows(folder=str(folder), images=str(folder / "images"))


def _cell(cell: Any, folder: Path) -> str:
    if cell is None:
        return ""
    name = str(cell)[:200]
    if name.endswith(".png") and set(name) <= set(string.ascii_lowercase + string.digits + "."):
        path = folder / name
        return base64.b64encode(path.read_bytes()).decode() if path.is_file() else name
    return (json.dumps(cell, default=str) if isinstance(cell, list | dict) else str(cell)).replace(
        "\0", ""
    )
