"""Runs benchmarks in every validation and keeps the best weights."""

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
from lightning.pytorch.trainer.states import TrainerFn

from g2rpo import ranks
from g2rpo.benchmark.evaluation.plan import Plan
from g2rpo.benchmark.evaluation.results import Entry, macro
from g2rpo.benchmark.evaluation.suite import model_settings, weights_digest
from g2rpo.files import finish_replacing
from g2rpo.policy.export import save_checkpoint
from g2rpo.training.display import progress_bar
from g2rpo.training.showcase import has_table
from g2rpo.training.tracking.wandb_tracker import trackers
from g2rpo.training.validation import validation_name

log = logging.getLogger("g2rpo")


class Benchmarks(L.Callback):
    """Runs the benchmarks of `eval` in every validation, before the held-out prompts.

    Files in the run folder:

    - `eval/` holds the predictions after the last step, `eval/step_<n>/` those of step n.
    - `checkpoints/best/` holds the weights with the highest mean over benchmarks or, without
      benchmarks, over the tasks of the held-out prompts. Training rewards do not count.

    Args:
        folder: The run folder.
        before: Whether to run the benchmarks before training too.
        keep_best: Whether to write `checkpoints/best`.
    """

    def __init__(self, *, folder: str | Path, before: bool = False, keep_best: bool = True) -> None:
        self.folder, self.before, self.keep_best = Path(folder), before, keep_best
        self.entries: dict[str, Entry] = {}
        """Scores of the latest validation by benchmark."""
        self.spent_s = 0.0
        """Seconds spent on benchmarks."""
        self._plans: dict[str, Plan] = {}
        self._best = -math.inf
        self._known = False
        self._asked = False
        self._asked_times = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Read the best score of a resumed run; remove the best weights of another run."""
        if not trainer.is_global_zero:
            return
        if trainer.global_step:
            self._read_best()
        else:
            shutil.rmtree(finish_replacing(self.folder / "checkpoints" / "best"), True)
            self._known = True

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Run the benchmarks; a killed evaluation resumes from its saved predictions."""
        suite, name = pl_module.validation.suite, validation_name(trainer)
        training = trainer.state.fn == TrainerFn.FITTING
        self._asked = (
            bool(suite.benchmarks)
            and not trainer.sanity_checking
            and (name != "before" or self.before)
        )
        if not self._asked:
            return
        started_s = time.perf_counter()
        model = {
            **model_settings(pl_module.validation.model),
            "weights": weights_digest(pl_module.policy.named_parameters()),
        }
        folder = self.folder / "eval" / name if name.startswith("step_") else self.folder / "eval"
        with pl_module.generating():
            self.entries = suite.run(
                pl_module.engine,
                pl_module.encoder,
                folder,
                model=model,
                device=pl_module.device,
                progress_bar=_quiet if training else progress_bar,
                plans=self._plans,
                overwrite=name != "before",
            )
        self.spent_s += time.perf_counter() - started_s

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Log the scores."""
        if self._asked:
            pl_module.log_scores(benchmark_row(self.entries))
            self._asked_times += 1
            if has_table(self._asked_times, 1) or validation_name(trainer) == "after":
                for tracker in trackers(trainer.loggers):
                    tracker.log_benchmarks(self.entries, trainer.global_step)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Keep the weights if they are the best so far."""
        if trainer.sanity_checking or validation_name(trainer) == "before" or not self.keep_best:
            return
        scores = {
            name: float(trainer.callback_metrics[name])
            for name in ("benchmark/macro", "val/macro")
            if name in trainer.callback_metrics
        }
        measure = "benchmark/macro" if self._asked else "val/macro"
        if measure in scores:
            if trainer.is_global_zero and self._asked:
                log.info("step %d: %s %.4f", trainer.global_step, measure, scores[measure])
            self._keep_if_best(pl_module, trainer.global_step, measure, scores[measure])
        trainer.strategy.barrier()

    def _read_best(self) -> None:
        """Read the best score once; a run that resumes after its last step begins no training."""
        file = finish_replacing(self.folder / "checkpoints" / "best") / "best.json"
        if not self._known and file.exists():
            self._best = json.loads(file.read_text(encoding="utf-8"))["score"]
        self._known = True

    def _keep_if_best(self, module: Any, step: int, measure: str, score: float) -> None:
        """Write the weights if rank 0 has seen no better score; all ranks gather sharded ones."""
        self._read_best()
        if not ranks.all_gather_list([score > self._best])[0]:
            return
        self._best = score
        text = json.dumps({"step": step, "measure": measure, "score": score}) + "\n"
        save_checkpoint(
            module.policy,
            module.encoder,
            self.folder / "checkpoints" / "best",
            module.validation.model.compute_dtype,
            extra={"best.json": text},
        )


def benchmark_row(entries: dict[str, Entry]) -> dict[str, float]:
    """Return the metrics of an evaluation under their declared names."""
    row = {"benchmark/macro": macro(entries)["macro"]}
    for name, found in entries.items():
        row |= {
            f"benchmark/score/{name}": found["score"],
            f"benchmark/parse_rate/{name}": found["parse_rate"],
        }
    return row


@contextmanager
def _quiet(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show nothing, because the progress bar of training is on screen."""
    yield lambda count: None
