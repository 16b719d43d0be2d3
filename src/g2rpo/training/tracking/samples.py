"""Logs completions and pictures to TensorBoard and MLflow."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger

from g2rpo.records import Experience
from g2rpo.training.tracking.table_rows import completion_rows

COLUMNS = ("task", "prompt", "answer", "completion", "accuracy", "reward", "advantage")


def show_completions(
    loggers: Iterable[Any], experience: Experience, step: int, *, per_task: int, image_px: int
) -> None:
    """Log some completions of a rollout batch with their pictures.

    Args:
        loggers: Loggers of the run; other kinds than TensorBoard and MLflow are skipped.
        experience: This rank's part of the rollout batch.
        step: `trainer.global_step`.
        per_task: Number of completions per task.
        image_px: Longest side of a picture in pixels.
    """
    able = [logger for logger in loggers if isinstance(logger, TensorBoardLogger | MLFlowLogger)]
    if not able:
        return
    rows = completion_rows(step, experience, per_task=per_task, image_px=image_px)
    for logger in able:
        show = _to_tensorboard if isinstance(logger, TensorBoardLogger) else _to_mlflow
        # a run's loggers may fail in mid-run: tracking/lost_logger.py
        getattr(logger, "watched", lambda call: call)(show)(logger, rows, step)


def _to_tensorboard(logger: TensorBoardLogger, rows: list[dict[str, Any]], step: int) -> None:
    logger.experiment.add_text("completions", _markdown(rows), step)
    for name, image in _pictures(rows).items():
        logger.experiment.add_image(f"prompts/{name}", np.asarray(image), step, dataformats="HWC")


def _to_mlflow(logger: MLFlowLogger, rows: list[dict[str, Any]], step: int) -> None:
    logger.experiment.log_text(logger.run_id, _markdown(rows), f"completions/step_{step:06d}.md")
    for name, image in _pictures(rows).items():
        logger.experiment.log_image(logger.run_id, image, f"completions/step_{step:06d}_{name}.png")


def _pictures(rows: list[dict[str, Any]]) -> Mapping[str, Any]:
    """Return one picture per task, of the completion with the highest advantage."""
    return {row["task"]: row["image"] for row in reversed(rows) if row["image"] is not None}


def _markdown(rows: list[dict[str, Any]]) -> str:
    """Format rows as a Markdown table; line breaks and bars in cells are escaped."""
    columns = [*COLUMNS, *(name for name in (rows or [{}])[0] if name.startswith("reward/"))]
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(row[name]) for name in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", "<br>")
