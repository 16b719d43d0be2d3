"""Benchmarks in training: every n steps and at the end. The weights that did best on them are kept; the training reward has no say."""

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L

from g2rpo.evaluation.plan import Plan
from g2rpo.evaluation.results import Entry, macro
from g2rpo.evaluation.suite import SuiteEvaluation, weights_digest
from g2rpo.model.checkpoint import save_checkpoint
from g2rpo.tracking.wandb_tracker import trackers

log = logging.getLogger("g2rpo")
Heldout = Callable[[Any, str], float]
"""Held-out macro score of a module in training; the name is that of the file with its completions."""


class BenchmarkCallback(L.Callback):
    """Asks the benchmarks on every rank, and writes on the first.

    `folder/eval` holds the predictions of the last step, `folder/eval/step_<n>` those of step n, `folder/checkpoints/best` the
    weights with the highest mean over benchmarks. Without benchmarks, `eval.every_n_steps` asks the held-out prompts instead.

    Args:
        suite: The benchmarks; there may be none.
        folder: Of the run.
        model: Settings of the model that completions depend on besides the weights.
        dtype: Of the weights that are written.
        heldout: Measures the held-out prompts on one process.
    """

    def __init__(self, *, suite: SuiteEvaluation, folder: str | Path, model: dict[str, Any], dtype: str, heldout: Heldout) -> None:
        self.suite, self.folder, self.model, self.dtype, self.heldout = suite, Path(folder), model, dtype, heldout
        self.entries: dict[str, Entry] = {}
        self.spent_s = 0.0
        self._plans: dict[str, Plan] = {}
        self._best = -math.inf

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """A resumed run goes on comparing with its own best; another run's is removed."""
        if not trainer.is_global_zero:
            return
        best = self.folder / "checkpoints" / "best"
        if pl_module.steps_done and (best / "best.json").exists():
            self._best = json.loads((best / "best.json").read_text(encoding="utf-8"))["score"]
        else:
            shutil.rmtree(best, ignore_errors=True)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Measures where a step is due; the last one waits for `on_train_end`."""
        every, step = self.suite.every_n_steps, pl_module.steps_done
        if every is not None and step % every == 0 and trainer.global_step < trainer.max_steps:
            self._measure(trainer, pl_module, self.folder / "eval" / f"step_{step}")

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Measures the weights that training ends with."""
        if self.suite.benchmarks or self.suite.every_n_steps is not None:
            self._measure(trainer, pl_module, self.folder / "eval")

    def _measure(self, trainer: L.Trainer, module: Any, folder: Path) -> None:
        started_s = time.perf_counter()
        step = module.steps_done
        if self.suite.benchmarks:
            model = {**self.model, "weights": weights_digest(module.policy.named_parameters())}
            self.entries = self.suite.run(
                module.engine, module.encoder, folder, model=model, device=module.device, stage=_quiet, plans=self._plans, overwrite=True
            )
            row = benchmark_row(self.entries)
        else:
            row = {"heldout/macro": self.heldout(module, f"step_{step}") if trainer.is_global_zero else math.nan}
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics(row, step=step - 1)
            for tracker in trackers(trainer.loggers):
                tracker.log_benchmarks(self.entries, step)
            measure, score = next((name, row[name]) for name in ("benchmark/macro", "heldout/macro") if name in row)
            log.info("step %d: %s %.4f", step, measure, score)
            self._keep_if_best(module, step, measure, score)
        trainer.strategy.barrier()
        self.spent_s += time.perf_counter() - started_s

    def _keep_if_best(self, module: Any, step: int, measure: str, score: float) -> None:
        if not score > self._best:
            return
        self._best = score
        best = self.folder / "checkpoints" / "best"
        new, old = best.with_name(".best_new"), best.with_name(".best_old")
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        save_checkpoint(module.policy, module.encoder, new, self.dtype)
        (new / "best.json").write_text(json.dumps({"step": step, "measure": measure, "score": score}) + "\n", encoding="utf-8")
        if best.exists():
            best.rename(old)
        new.rename(best)
        shutil.rmtree(old, ignore_errors=True)


def benchmark_row(entries: dict[str, Entry]) -> dict[str, float]:
    """The metrics of an evaluation, as `g2rpo.metrics` declares them."""
    row = {"benchmark/macro": macro(entries)["macro"]}
    for name, found in entries.items():
        row |= {f"benchmark/score/{name}": found["score"], f"benchmark/parse_rate/{name}": found["parse_rate"]}
    return row


@contextmanager
def _quiet(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """No bar of its own: that of training is still there."""
    yield lambda count: None
