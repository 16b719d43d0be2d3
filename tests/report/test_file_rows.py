"""Rows of metrics.csv, as a training that is going on, was killed or was resumed leaves them."""

from pathlib import Path

import pytest

from g2rpo.report.file_rows import metric_rows


def read(tmp_path: Path, text: str) -> tuple[dict[int, dict[str, float]], list[str]]:
    (tmp_path / "metrics.csv").write_text(text)
    notes: list[str] = []
    return metric_rows(tmp_path / "metrics.csv", notes), notes


def test_empty_cells_are_left_out(tmp_path: Path) -> None:
    rows, notes = read(tmp_path, "step,a,b\n1,,2.5\n3,4,\n")
    assert rows == {1: {"step": 1, "b": 2.5}, 3: {"step": 3, "a": 4}}
    assert notes == []


def test_of_a_step_that_a_resumed_run_repeats_the_later_row_counts(tmp_path: Path) -> None:
    assert read(tmp_path, "step,a,b\n1,10,1\n2,20,2\n2,21,\n")[0][2] == {"step": 2, "a": 21, "b": 2}


def test_a_cut_last_line_is_left_out_even_where_it_reads_as_numbers(tmp_path: Path) -> None:
    rows, notes = read(tmp_path, "step,a\n1,0.25\n2,0.2")
    assert list(rows) == [1]
    assert notes == ["metrics.csv, line 3, was cut off while it was written; it is left out."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,a\n1,2\n2\n", "metrics.csv, line 3: expected 2 cells, got 1"),
        ("step,a\n1,x\n", "metrics.csv, line 2: a: expected a number, got 'x'"),
        ("step,a\n,1\n", "metrics.csv, line 2: step: expected a whole number, got ''"),
        ("time,a\n1,1\n", "metrics.csv, line 1: expected a column 'step', got time, a"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)
