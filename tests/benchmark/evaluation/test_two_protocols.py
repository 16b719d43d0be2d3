import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

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
