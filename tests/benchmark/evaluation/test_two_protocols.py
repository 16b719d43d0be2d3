import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from g2rpo import cli
from g2rpo.benchmark.evaluation.rescore import rescore
from g2rpo.benchmark.evaluation.runner import Scoring
from g2rpo.benchmark.evaluation.two_protocols import publish_differences
from g2rpo.benchmark.mmstar import MMStar


def test_rows_on_which_two_protocols_differ_are_listed(tmp_path: Path) -> None:
    rows = [("the answer is (b).", "B"), ("A", "A"), ("b", "B")]
    source = tmp_path / "mine.tsv"
    source.write_text(
        "index\tquestion\tA\tB\tanswer\tprediction\n"
        + "".join(f"{k}\tq\tcat\tdog\t{gold}\t{said}\n" for k, (said, gold) in enumerate(rows))
    )
    entries: list[dict[str, Any]] = [
        rescore(source, ["mmstar"], lambda name: MMStar(), Scoring(protocol=protocol), folder)
        for protocol, folder in (("paper", tmp_path / "a"), ("robust", tmp_path / "b"))
    ]
    seen = io.StringIO()
    path = publish_differences(tmp_path / "a", tmp_path / "b", *entries, Console(file=seen))
    (row,) = [row for row in json.loads(path.read_text()) if row["id"] == "2"]
    assert row["scores"] == {"paper": 0.0, "robust": 1.0}
    assert (row["gold"], row["prediction"], row["answers"]) == (
        "B",
        "b",
        {"paper": "", "robust": "B"},
    )
    assert "rows that differ" in seen.getvalue()
    assert all(row["id"] != "1" for row in json.loads(path.read_text()))


SAID = ["C", "The answer is (C).", "**c**", "I'm not sure", "A is wrong, so it is C: cat"]


def _table(path: Path) -> Path:
    """A table of VLMEvalKit."""
    head = "index\tquestion\tA\tB\tC\tanswer\tprediction\n"
    rows = (f"{place}\tWhich?\tcow\tdog\tcat\tC\t{said}\n" for place, said in enumerate(SAID))
    path.write_text(head + "".join(rows))
    return path


def _log(path: Path) -> Path:
    """A log of lmms-eval."""
    doc = {"question": "Which?", "A": "cow", "B": "dog", "C": "cat", "answer": "C"}
    samples = (
        {"doc_id": place, "doc": doc, "target": "C", "resps": [[said]], "filtered_resps": [said]}
        for place, said in enumerate(SAID)
    )
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path


@pytest.mark.parametrize(("write", "name"), [(_table, "mine.tsv"), (_log, "mine.jsonl")])
def test_the_program_shows_both_protocols_and_the_rows_on_which_they_differ(
    write: Callable[[Path], Path],
    name: str,
    composed: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, folder = write(tmp_path / name), tmp_path / "again"
    options = (f"source={source}", "eval=none", "eval.benchmarks=[mmstar]", f"run_dir={folder}")
    cli.rescore(composed(*options, config="rescore"))
    found = json.loads((folder / "summary.json").read_text())["benchmarks"]["mmstar"]
    assert (found["score"], found["rows"]) == (2 / 5, 5)
    differing = json.loads((folder / "eval" / "differences.json").read_text())
    assert [(row["id"], row["scores"]) for row in differing] == [
        (place, {"paper": 0.0, "robust": 1.0}) for place in ("2", "4")
    ]
    assert "rows that differ" in capsys.readouterr().out
