"""What a run writes down while it trains: every completion with its verdict, and a metrics file without rows from a lost future."""

import json
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
                logger.forget_after(pl_module.steps_done)
        if self.path.exists():
            kept = [line for line in _whole_lines(self.path) if json.loads(line)["step"] <= pl_module.steps_done]
            part = self.path.with_suffix(".jsonl.part")
            part.write_text("".join(kept), encoding="utf-8")
            part.replace(self.path)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """One row per completion of any rank."""
        rows = ranks.listed(completion_rows(pl_module.steps_done, pl_module.last_experience))
        if trainer.is_global_zero:
            self._append(rows)

    def _append(self, rows: list[dict[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def completion_rows(step: int, experience: Experience) -> list[dict[str, Any]]:
    """A step's completions as plain rows."""
    rollouts, scores = experience.rollouts, experience.scores
    prompts = [experience.batch.prompts[i] for i in rollouts.prompt.tolist()]
    columns = zip(
        prompts, rollouts.texts, experience.rewards.tolist(), scores.parts["accuracy"].tolist(), scores.parts["format"].tolist(),
        experience.advantages.tolist(), rollouts.completion_mask.sum(1).tolist(), rollouts.finished.tolist(), strict=True,
    )  # fmt: skip
    return [
        {
            "step": step, "task": prompt.task, "prompt_id": prompt.id, "prompt": prompt.text, "answer": prompt.answer, "completion": text,
            "reward": reward, "accuracy": accuracy, "format": form, "advantage": advantage,
            "completion_tokens": tokens, "finished": finished,
        }
        for prompt, text, reward, accuracy, form, advantage, tokens, finished in columns
    ]  # fmt: skip


def _whole_lines(path: Path) -> list[str]:
    # a killed run can leave half a line at the end; str.splitlines would also split at U+2028 and its like inside a completion
    return [line + "\n" for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
