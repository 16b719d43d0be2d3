"""`metrics.csv`: what is read back is what was logged, whatever column appears when."""

import csv
import tracemalloc
from pathlib import Path

import pytest

from g2rpo.training.metrics_csv import MetricsCSV


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_a_step_counted_from_1_with_numbers_that_lose_nothing(tmp_path: Path) -> None:
    log = MetricsCSV(folder=tmp_path)
    log.log_metrics({"reward/total": 0.1 + 0.2, "optim/lr": 1e-5}, step=1)
    log.log_metrics({"reward/total": 1 / 3, "optim/lr": 9e-6}, step=2)
    rows = read(tmp_path)
    assert [row["step"] for row in rows] == ["1", "2"]
    assert [float(row["reward/total"]) for row in rows] == [0.1 + 0.2, 1 / 3]
    assert float(rows[1]["optim/lr"]) == 9e-6


def test_a_column_that_comes_late_leaves_empty_cells_before_it_and_one_that_stays_away_after_it(
    tmp_path: Path,
) -> None:
    log = MetricsCSV(folder=tmp_path)
    log.log_metrics({"reward/accuracy/math": 0.5, "reward/total": 1.0}, step=1)
    log.log_metrics({"reward/accuracy/chart": 0.25, "reward/total": 2.0}, step=2)
    log.log_metrics({"reward/total": 3.0}, step=3)
    assert [
        (r["reward/accuracy/math"], r["reward/accuracy/chart"], r["reward/total"])
        for r in read(tmp_path)
    ] == [
        ("0.5", "", "1.0"),
        ("", "0.25", "2.0"),
        ("", "", "3.0"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_the_epoch_of_lightning_is_no_metric(tmp_path: Path) -> None:
    MetricsCSV(folder=tmp_path).log_metrics({"epoch": 0, "optim/lr": 1.0}, step=1)
    assert list(read(tmp_path)[0]) == ["step", "optim/lr"]


def test_a_number_that_is_not_declared_is_written_and_named_in_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = MetricsCSV(folder=tmp_path)
    for step in (1, 2):
        log.log_metrics({"optim/lr": 1.0, "reward/totl": 0.5}, step=step)
    assert [row["reward/totl"] for row in read(tmp_path)] == ["0.5", "0.5"]
    assert (
        len(
            [
                record
                for record in caplog.records
                if "'reward/totl' is not declared" in record.message
            ]
        )
        == 1
    )


def test_a_resumed_log_forgets_the_steps_after_its_checkpoint_and_goes_on(tmp_path: Path) -> None:
    killed = MetricsCSV(folder=tmp_path)
    for step in range(4):
        killed.log_metrics(
            {"reward/total": float(step), **({"reward/accuracy/math": 0.5} if step == 3 else {})},
            step=step + 1,
        )
    resumed = MetricsCSV(folder=tmp_path)
    resumed.forget_after(2)
    assert [(row["step"], row["reward/total"]) for row in read(tmp_path)] == [
        ("1", "0.0"),
        ("2", "1.0"),
    ]
    resumed.log_metrics({"reward/total": 20.0}, step=3)
    resumed.log_metrics({"reward/total": 30.0, "reward/accuracy/math": 0.75}, step=4)
    assert [
        (row["step"], row["reward/total"], row["reward/accuracy/math"]) for row in read(tmp_path)
    ] == [
        ("1", "0.0", ""),
        ("2", "1.0", ""),
        ("3", "20.0", ""),
        ("4", "30.0", "0.75"),
    ]


def test_forgetting_nothing_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    log = MetricsCSV(folder=tmp_path)
    log.log_metrics({"reward/total": 1.0}, step=1)
    before = (tmp_path / "metrics.csv").stat().st_ino
    log.forget_after(1)
    assert (
        tmp_path / "metrics.csv"
    ).stat().st_ino == before  # a rewritten file would be another one


def test_numbers_that_come_later_in_a_step_join_its_row(tmp_path: Path) -> None:
    log = MetricsCSV(folder=tmp_path)
    log.log_metrics({"reward/total": 1.0}, step=1)
    log.log_metrics({"reward/total": 2.0}, step=2)
    log.log_metrics({"benchmark/macro": 0.5}, step=2)
    log.log_metrics({"reward/total": 3.0}, step=3)
    assert [
        (row["step"], row["reward/total"], row["benchmark/macro"]) for row in read(tmp_path)
    ] == [
        ("1", "1.0", ""),
        ("2", "2.0", "0.5"),
        ("3", "3.0", ""),
    ]


def test_rows_on_disk_take_no_memory(tmp_path: Path) -> None:
    def grown(log: MetricsCSV, first: int, last: int) -> int:
        before = tracemalloc.get_traced_memory()[0]
        for step in range(first, last):
            log.log_metrics({"reward/total": 0.1 * step, "optim/lr": 1e-6 * step}, step=step)
        return tracemalloc.get_traced_memory()[0] - before

    log = MetricsCSV(folder=tmp_path)
    tracemalloc.start()
    try:
        grown(log, 1, 50)
        assert grown(log, 50, 1050) < 20_000  # 20 bytes a row; each has 30 on disk
    finally:
        tracemalloc.stop()
    assert len(read(tmp_path)) == 1049


def test_half_a_row_at_the_end_goes_when_a_run_is_resumed(tmp_path: Path) -> None:
    killed = MetricsCSV(folder=tmp_path)
    for step in (1, 2):
        killed.log_metrics({"reward/total": float(step)}, step=step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("1")  # the beginning of 15,...
    resumed = MetricsCSV(folder=tmp_path)
    resumed.forget_after(14)
    resumed.log_metrics({"reward/total": 15.0}, step=15)
    assert [row["step"] for row in read(tmp_path)] == ["1", "2", "15"]


def test_a_row_without_a_step_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,reward/total\n\0\0,1.0\n")
    with pytest.raises(ValueError, match=r"metrics\.csv: expected a whole number under 'step'"):
        MetricsCSV(folder=tmp_path)
