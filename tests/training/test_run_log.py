"""`completions.jsonl` after a kill: whole lines up to the checkpoint, nothing else. Its rows are tested with the step that makes them."""

import json
from pathlib import Path
from types import SimpleNamespace

import lightning as L

from g2rpo.training.metrics_csv import MetricsCSV
from g2rpo.training.run_log import RunLog


class Trainer(L.Trainer):
    """What the callback looks at."""

    loggers, global_step = (), 0

    def __init__(self, logger: MetricsCSV, step: int) -> None:
        self.loggers, self.global_step = [logger], step


def start(folder: Path, steps_done: int) -> None:
    RunLog(folder=folder).on_train_start(Trainer(MetricsCSV(folder=folder), steps_done), SimpleNamespace())


def line(step: int, text: str = "a") -> str:
    return json.dumps({"step": step, "completion": text}, ensure_ascii=False) + "\n"


def test_lines_after_the_checkpoint_and_half_a_line_at_the_end_go(tmp_path: Path) -> None:
    file = tmp_path / "completions.jsonl"
    file.write_text(line(1) + line(2) + line(2, "b") + line(3) + line(2)[:-4])
    start(tmp_path, 2)
    assert file.read_text() == line(1) + line(2) + line(2, "b")


def test_a_completion_may_hold_what_other_programs_take_for_the_end_of_a_line(tmp_path: Path) -> None:
    # U+2028, U+0085 and a form feed end a line for str.splitlines, and a model can write any of them
    file, strange = tmp_path / "completions.jsonl", line(1, "a\u2028b\x85c\x0cd\r")
    file.write_text(strange + line(5), encoding="utf-8")
    start(tmp_path, 1)
    assert file.read_text(encoding="utf-8") == strange


def test_a_new_run_in_an_old_folder_begins_with_empty_files(tmp_path: Path) -> None:
    (tmp_path / "completions.jsonl").write_text(line(1) + line(2))
    MetricsCSV(folder=tmp_path).log_metrics({"reward/total": 1.0}, step=1)
    start(tmp_path, 0)
    assert (tmp_path / "completions.jsonl").read_text() == ""
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,reward/total"]


def test_a_new_run_has_nothing_to_cut(tmp_path: Path) -> None:
    start(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []
