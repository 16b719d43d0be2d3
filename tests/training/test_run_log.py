"""`completions.jsonl` after a kill: whole lines up to the checkpoint, nothing else. Its rows are
tested with the step that makes them.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from PIL import Image

from g2rpo.records import Experience, Prompt, PromptBatch, Rollouts, Scores
from g2rpo.training.metrics_csv import MetricsCSV
from g2rpo.training.run_log import RunLog, completion_rows


class Trainer(L.Trainer):
    """What the callback looks at."""

    loggers, global_step = (), 0

    def __init__(self, logger: MetricsCSV, step: int) -> None:
        self.loggers, self.global_step = [logger], step


def start(folder: Path, steps_done: int) -> None:
    RunLog(folder=folder).on_train_start(
        Trainer(MetricsCSV(folder=folder), steps_done), SimpleNamespace()
    )


def line(step: int, text: str = "a") -> str:
    return json.dumps({"step": step, "completion": text}, ensure_ascii=False) + "\n"


def test_lines_after_the_checkpoint_and_half_a_line_at_the_end_go(tmp_path: Path) -> None:
    file = tmp_path / "completions.jsonl"
    file.write_text(line(1) + line(2) + line(2, "b") + line(3) + line(2)[:-4])
    start(tmp_path, 2)
    assert file.read_text() == line(1) + line(2) + line(2, "b")


def test_a_completion_may_hold_what_other_programs_take_for_the_end_of_a_line(
    tmp_path: Path,
) -> None:
    # U+2028, U+0085 and a form feed end a line for str.splitlines, and a model can write any of
    # them
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


class AtStep(L.Trainer):
    """A trainer whose step is set."""

    step = 0

    @property
    def global_step(self) -> int:
        return self.step


def pictures_of(folder: Path, steps: int, max_steps: int, *, ends: bool = True) -> set[str]:
    """Names of the pictures after a run of so many steps with three prompts of one task each.

    Without `ends` the run is killed after its last step.
    """
    log = RunLog(folder=folder)
    trainer = AtStep(
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        max_steps=max_steps,
    )
    for step in range(1, steps + 1):
        trainer.step = step
        image = Image.new("RGB", (600, 300), (step, 0, 0))
        prompts = [
            Prompt(
                id=f"s/{step}/{i}",
                task="math",
                text="?",
                images=(image,),
                answer="1",
                answer_type="numerical",
            )
            for i in range(3)
        ]
        log.on_train_batch_end(
            trainer,
            SimpleNamespace(rollout_batch=step, encoder=SimpleNamespace(end_tokens={})),
            {
                "experience": SimpleNamespace(batch=SimpleNamespace(prompts=prompts)),
                "table": SimpleNamespace(own=torch.tensor([])),
                "timeline": [],
            },
            None,
            step - 1,
        )
    if ends:
        log.on_train_end(trainer, SimpleNamespace())
    return {path.name for path in (folder / "images").iterdir()}


@pytest.fixture
def without_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step have no completions."""
    monkeypatch.setattr("g2rpo.training.run_log.completion_rows", lambda *_: [])


@pytest.mark.usefixtures("without_rows")
@pytest.mark.parametrize(("max_steps", "ends"), [(7, False), (-1, True), (9, True)])
def test_pictures_of_the_first_prompts_at_doubling_steps_and_at_the_last_are_kept(
    max_steps: int, ends: bool, tmp_path: Path
) -> None:
    assert pictures_of(tmp_path, 7, max_steps, ends=ends) == {
        f"s-{step}-{i}-0.png" for step in (1, 2, 4, 7) for i in (0, 1)
    }
    with Image.open(tmp_path / "images" / "s-7-0-0.png") as image:
        assert (image.size, image.getpixel((0, 0))) == ((256, 128), (7, 0, 0))


@pytest.mark.usefixtures("without_rows")
def test_pictures_stop_at_their_limit_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "of_an_earlier_start.png").write_bytes(bytes(4_000_000))
    assert pictures_of(tmp_path, 3, 3) == {"of_an_earlier_start.png"}


def test_a_row_says_which_token_ended_its_completion_or_that_it_was_cut() -> None:
    ids = torch.tensor([[5, 1, 0], [5, 2, 0], [5, 6, 7], [1, 0, 0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]]).bool()
    rollouts = Rollouts(
        completion_ids=ids,
        completion_mask=mask,
        old_logprobs=torch.zeros(4, 3),
        prompt=torch.tensor([0, 0, 0, 0]),
        finished=torch.tensor([True, True, False, True]),
        texts=("a", "b", "c", ""),
    )
    zeros = torch.zeros(4)
    prompt = Prompt(id="p", task="math", text="?", images=(), answer="1", answer_type="numerical")
    batch = PromptBatch(
        prompts=(prompt,),
        input_ids=torch.tensor([[3]]),
        attention_mask=torch.tensor([[1]]),
        num_images=torch.tensor([0]),
        position=torch.tensor([0]),
    )
    experience = Experience(
        batch=batch,
        rollouts=rollouts,
        task=torch.tensor([1] * 4),
        rewards=zeros,
        advantages=zeros,
        scores=Scores(total=zeros, parts={"accuracy": zeros, "format": zeros}),
    )
    rows = completion_rows(1, 1, experience, {1: "<end>", 2: "<other end>"})
    assert [row["ended_by"] for row in rows] == ["<end>", "<other end>", "length", "<end>"]
