"""The table of what was expected and what happened."""

import json
from pathlib import Path

import pytest
from report.pages import parsed

from g2rpo.report.run_data import read_run
from g2rpo.report.run_page import page

EXPECTED = {
    "peak_gib": 3.0,
    "step_s": 5.0,
    "stages_s": {"prefill": 1.0, "backward": 0.0},
    "prompt_tokens": {"longest": 77, "known": "from the first 24 prompts of the data"},
}
METRICS = (
    "step,time/peak_gib,time/step_s,time/prefill_s\n"
    "1,1.0,90.0,9.0\n2,2.0,4.0,2.0\n3,2.5,3.0,4.0\n4,2.0,8.0,4.5\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "metrics.csv").write_text(METRICS)
    (tmp_path / "estimate.json").write_text(json.dumps(EXPECTED))
    return tmp_path


def rows(text: str) -> list[list[str]]:
    return parsed(text).one("section", id="estimate").rows()


def test_memory_is_the_largest_and_seconds_are_medians_without_the_first_step(folder: Path) -> None:
    text = page(read_run(folder))
    assert rows(text) == [
        ["peak memory of a process, GiB", "3.00", "2.50", "1.20"],
        ["prefill, s", "1.00", "4.00", "0.25"],
        ["step, s", "5.00", "4.00", "1.25"],
    ]
    assert "at most 77 tokens (from the first 24 prompts of the data)" in text


def test_a_run_without_rows_or_without_an_estimate_has_a_page_all_the_same(folder: Path) -> None:
    (folder / "metrics.csv").write_text("step\n")
    assert rows(page(read_run(folder)))[0] == ["peak memory of a process, GiB", "3.00", "-", "-"]
    (folder / "estimate.json").unlink()
    assert "Estimated and measured" not in page(read_run(folder))


def test_a_broken_file_is_named(folder: Path) -> None:
    (folder / "estimate.json").write_text("[")
    with pytest.raises(ValueError, match=r"estimate\.json: expected a JSON object"):
        read_run(folder)
