"""What a run writes down while it trains: every completion with its verdict, and a metrics file without rows from a lost future."""

import json
import os
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

from g2rpo import ranks
from g2rpo.records import Experience
from g2rpo.training.metrics_csv import MetricsCSV


class RunLog(L.Callback):
    """Appends to `folder/completions.jsonl` after every step; on resume, forgets what lies behind the checkpoint."""

    def __init__(self, *, folder: str | Path) -> None:
        self.path = Path(folder) / "completions.jsonl"

    @rank_zero_only
    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Cuts both files back to the step the run starts from."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.forget_after(trainer.global_step)
        if self.path.exists():
            os.truncate(self.path, _end_of_step(self.path, trainer.global_step))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """One row per completion of any rank."""
        rows = ranks.listed(completion_rows(trainer.global_step, pl_module.rollout_batch, outputs["experience"]))
        if trainer.is_global_zero:
            self._append(rows)

    def _append(self, rows: list[dict[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def completion_rows(step: int, rollout_batch: int, experience: Experience) -> list[dict[str, Any]]:
    """The completions of a rollout batch as plain rows; `step` counts updates, its own included."""
    rollouts, scores = experience.rollouts, experience.scores
    prompts = [experience.batch.prompts[i] for i in rollouts.prompt.tolist()]
    columns = zip(
        prompts, rollouts.texts, experience.rewards.tolist(), scores.parts["accuracy"].tolist(), scores.parts["format"].tolist(),
        experience.advantages.tolist(), rollouts.completion_mask.sum(1).tolist(), rollouts.finished.tolist(), strict=True,
    )  # fmt: skip
    return [
        {
            "step": step, "rollout_batch": rollout_batch,
            "task": prompt.task, "prompt_id": prompt.id, "prompt": prompt.text, "answer": prompt.answer, "completion": text,
            "reward": reward, "accuracy": accuracy, "format": form, "advantage": advantage,
            "completion_tokens": tokens, "finished": finished,
        }
        for prompt, text, reward, accuracy, form, advantage, tokens, finished in columns
    ]  # fmt: skip


def _end_of_step(path: Path, step: int) -> int:
    """Bytes of the rows up to a step; the half line that a killed run can leave at the end is none of them."""
    end = 0
    with path.open("rb") as file:  # by lines of bytes: the file can be larger than memory
        for line in file:
            if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                break
            end += len(line)
    return end
