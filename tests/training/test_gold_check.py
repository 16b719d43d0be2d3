"""Gold answers that a run must not train on are found before it starts, named by file and line, and
left out if wanted.
"""

import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from g2rpo.data.rows import BadRecord
from g2rpo.data.skips import Skips
from g2rpo.prompt import Failed, Prompt
from g2rpo.reward.openvlthinker import OpenVLThinkerReward
from g2rpo.scoring.extract import tagged_answer
from g2rpo.training.gold_check import BATCH_PROMPTS, FINDINGS, check_golds, refuse_bad_golds


class Listed:
    """Golds of mathematics in a file; some are held out."""

    def __init__(
        self, golds: Sequence[str], *, on_error: str = "raise", heldout: int = 0, most: int = 20_000
    ) -> None:
        rows = [
            Prompt(
                id=f"rows/{line}",
                task="math",
                text="?",
                images=(),
                answer=gold,
                answer_type="numerical",
                meta={"file": "rows.jsonl", "line": line},
            )
            for line, gold in enumerate(golds, 1)
        ]
        self.rows = {"heldout": rows[:heldout], "train": rows[heldout:]}
        self.skips, self.check_golds = Skips(on_error=on_error), most

    def size(self, task: str, split: str) -> int | None:
        return len(self.rows[split]) if task == "math" else 0

    def get(self, task: str, index: int, split: str) -> Prompt:
        return self.rows[split][index]

    def leave_out(self, task: str, split: str, indices: Collection[int]) -> None:
        self.rows[split] = [
            row for index, row in enumerate(self.rows[split]) if index not in indices
        ]


class Endless:
    """Numbers that never run out."""

    def __init__(self, answer: str = "3") -> None:
        self.answer, self.asked = answer, 0

    def size(self, task: str, split: str) -> int | None:
        return None

    def get(self, task: str, index: int, split: str) -> Prompt:
        self.asked += 1
        return Prompt(
            id=f"{task}/{index}",
            task=task,
            text="?",
            images=(),
            answer=self.answer,
            answer_type="numerical",
        )


class Exact:
    """Right if the answer is the gold answer, letter by letter; golds that begin with `any` pay for
    every answer.
    """

    def __init__(self, form: float = 1.0) -> None:
        self.form, self.calls = form, 0

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        self.calls += 1
        if prompt.answer.startswith("broken"):
            raise ValueError("this gold cannot be read")
        right = tagged_answer(completion) == prompt.answer or prompt.answer.startswith("any")
        accuracy = float(right and not prompt.answer.startswith("none"))
        return {"accuracy": accuracy, "format": self.form, "structure": 0.0, "total": accuracy}


class ByModel(Exact):
    """Grades everything in batches, as a judge does."""

    def in_batch(self, prompt: Prompt) -> bool:
        return True

    def score_all(
        self, completions: Sequence[str], prompts: Sequence[Prompt]
    ) -> list[dict[str, float] | Failed]:
        raise AssertionError("the judge was asked")


@pytest.fixture(autouse=True)
def first_process(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv(FINDINGS, "")  # so that what a check sets there is taken back
    caplog.set_level(logging.INFO)


def refuse(source: Any, folder: Path, reward: Any = None) -> None:
    made = reward or Exact()
    refuse_bad_golds(source, made, tasks=("math", "chart"), rules=made, folder=folder)


def test_right_golds_pass_and_one_line_says_what_was_checked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = Listed(["1", "2", "3"], heldout=1)
    refuse(source, tmp_path)
    (line,) = caplog.messages
    assert line.startswith("gold answers: 3 records checked with the run's reward, 0 refused, ")
    assert list(tmp_path.iterdir()) == []


def test_bad_golds_end_the_run_with_file_line_count_and_remedy(tmp_path: Path) -> None:
    source = Listed(["1", "none 2", "3", *["any"] * 4, "broken"], heldout=2)
    with pytest.raises(BadRecord) as caught:
        refuse(source, tmp_path)
    first, *lines, remedy = str(caught.value).split("\n")
    assert first.startswith(
        "6 of 8 records have a gold answer that this reward does not score correctly"
    )
    assert [line.partition(": prompt")[0] for line in lines] == [
        "- rows.jsonl, line 4",
        "- rows.jsonl, line 5",
        "- rows.jsonl, line 6",
        "- rows.jsonl, line 7",
        "- rows.jsonl, line 8",
        "- and 1 more",
    ]
    assert "answer 'any' (numerical): the wrong answer " in lines[0]
    assert (
        "answer 'broken' (numerical): the reward cannot judge it: ValueError: this gold cannot be"
        " read" in lines[4]
    )
    assert "data.on_error=skip" in remedy
    assert "data.check_golds=0" in remedy


def test_with_skip_bad_golds_are_left_out_of_both_splits_and_counted(tmp_path: Path) -> None:
    source = Listed(["1", "none 2", "3", "any", "5"], heldout=2, on_error="skip")
    refuse(source, tmp_path)
    assert [row.answer for row in source.rows["heldout"]] == ["1"]
    assert [row.answer for row in source.rows["train"]] == ["3", "5"]
    found = source.skips.summary()
    assert found["unusable"] == {"math": 2}
    assert sorted(reason.partition(": prompt")[0] for reason in found["records"]) == [
        "rows.jsonl, line 2",
        "rows.jsonl, line 4",
    ]


def test_of_many_records_a_named_sample_is_checked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = Listed([str(number) for number in range(2000)], heldout=500, most=40)
    reward = Exact()
    refuse(source, tmp_path, reward)
    assert "40 records of 2,000, drawn at random with seed 0 checked" in caplog.messages[0]
    assert reward.calls == 3 * 40
    bad = Listed(["none"] * 2000, heldout=500, most=40)
    found = check_golds(bad, reward, tasks=("math",), rules=reward, most=40).findings
    again = check_golds(bad, reward, tasks=("math",), rules=reward, most=40).findings
    assert found == again
    assert len({(one.split, one.index) for one in found}) == 40
    assert {one.split for one in found} == {"train", "heldout"}
    assert (
        found != check_golds(bad, reward, tasks=("math",), rules=reward, most=40, seed=1).findings
    )


def test_the_same_gold_is_tried_once_also_across_batches() -> None:
    reward = Exact()
    count = 2 * BATCH_PROMPTS + 3
    report = check_golds(
        Listed(["7", "none"] * count), reward, tasks=("math",), rules=reward, most=10**6
    )
    assert (report.records, report.checked, len(report.findings)) == (2 * count, 2 * count, count)
    assert reward.calls == 2 * 3
    assert [finding.index for finding in report.findings] == list(range(1, 2 * count, 2))


def test_of_an_endless_source_a_few_are_checked_and_bad_ones_only_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = Endless("none")
    refuse(source, tmp_path)
    assert source.asked == 16
    assert "16 of 16 records have a gold answer" in caplog.messages[1]
    assert "cannot leave them out" in caplog.messages[1]


def test_zero_checks_nothing(tmp_path: Path) -> None:
    reward = Exact()
    refuse(Listed(["none"], most=0), tmp_path, reward)
    assert reward.calls == 0


def test_answers_that_a_model_grades_are_not_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(Listed(["1", "none"]), tmp_path, ByModel())
    assert "2 of them skipped, because a model grades them, 0 refused" in caplog.messages[0]


def test_a_reward_that_expects_other_tags_than_the_prompts_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(Listed(["1"]), tmp_path, Exact(form=0.0))
    assert (
        "correct answers in <thinking> and <answer>, as the prompts ask for, do not get the full"
        in caplog.messages[1]
    )


def test_other_processes_leave_out_what_the_first_one_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golds = ["1", "none 2", "3", "any"]
    refuse(Listed(golds, on_error="skip"), tmp_path)
    assert os.environ[FINDINGS] == str(tmp_path / "gold_findings.json")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    source, reward = Listed(golds, on_error="skip"), Exact()
    refuse(source, tmp_path, reward)
    assert reward.calls == 0
    assert [row.answer for row in source.rows["train"]] == ["1", "3"]


def test_a_process_that_another_launcher_started_checks_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FINDINGS)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    source = Listed(["1", "none"], on_error="skip")
    refuse(source, tmp_path)
    assert source.size("math", "train") == 1


@pytest.mark.parametrize(
    ("gold", "words"),
    [
        (r"2 \sqrt { 221 }", "the gold answer in the form that the prompt asks for"),
        ("2x+1", "the gold answer in the form that the prompt asks for"),
    ],
)
def test_the_release_reads_latex_without_dollar_signs_in_part_and_that_is_found(
    gold: str, words: str
) -> None:
    source = Listed([gold])
    (row,) = source.rows["train"]
    hint = "How many?\nAnswer with one expression in LaTeX, between dollar signs."
    source.rows["train"] = [
        Prompt(
            id=row.id,
            task="math",
            text=hint,
            images=(),
            answer=gold,
            answer_type="math",
            meta=row.meta,
        )
    ]
    reward = OpenVLThinkerReward()
    (finding,) = check_golds(source, reward, tasks=("math",), rules=reward, most=10).findings
    assert words in finding.reason
