"""Step time with look-ahead beside that of taking turns, with engine and trainer that only wait.

    OMP_NUM_THREADS=1 python perf/ahead.py [--steps 12] [--unit 1.0]

The engine sleeps while it writes and the trainer sleeps in its update, for the given shares of two
units of time; everything else is a real run of the small model. The ideal ratio is that of the
measured seconds, if whoever takes longer never waits: max(engine, trainer) / (engine + trainer).
Exit code 1 if a ratio is above its bound.
"""

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from typing import Any

import lightning as L
import torch
from simulated_engines import SimulatedEngine

from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.data.mixture import TaskMix
from g2rpo.data.stream import PromptStream
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.records import Prompt
from g2rpo.rollout.collect import KeepAll
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.gradients import GradientConflict
from g2rpo.training.module import G2RPOModule
from g2rpo.training.quiet import quieten

PROMPTS = 2
WARM = 2
"""Number of steps at the start and at the end that are not counted: there is nothing ahead."""
PAIRS = {"1:1": (1.0, 1.0, 0.6), "3:1": (1.5, 0.5, 0.8), "1:3": (0.5, 1.5, 0.8)}
"""Units of engine and trainer, and the largest ratio that is accepted."""


class SleepingSGD(torch.optim.SGD):
    """Takes `update_s` seconds for a step."""

    def __init__(self, parameters: Any, *, update_s: float) -> None:
        super().__init__(parameters, lr=1e-6)
        self.update_s = update_s

    def step(self, closure: Any = None) -> Any:
        """Sleep, then update."""
        time.sleep(self.update_s)
        return super().step(closure)


class NumberReward:
    """The completion is the accuracy."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """Return it."""
        return {"accuracy": float(completion), "total": float(completion)}


class Rows(L.Callback):
    """Keeps the metrics of every step."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep them."""
        self.rows.append(outputs["metrics"])


def steps_of(ahead: int, engine_s: float, trainer_s: float, steps: int) -> list[dict[str, float]]:
    """Return the metrics of the steps of a run that are neither the first nor the last ones."""
    named = Checkpoint.packaged(name="tiny_qwen3_vl")
    encoder, rows = named.encoder(), Rows()
    module = G2RPOModule(
        policy=named.policy(),
        encoder=encoder,
        engine=SimulatedEngine(ahead=ahead, group_s=engine_s / PROMPTS),
        reward=NumberReward(),
        algorithm=Algorithm(
            tasks=TASKS,
            advantage=G2RPO(scope="group"),
            loss=ClipLoss(tis_clip=2.0),
            shaping=Shaping(length=None, entropy=None),
            batch=BatchPlan(prompts_per_step=PROMPTS, group_size=2),
            optimizer=partial(SleepingSGD, update_s=trainer_s),
            group_filter=KeepAll(),
            gradient_conflict=GradientConflict(every_n_steps=None),
        ),
    )
    mix = TaskMix(weights={"math": 1.0, "chart": 1.0})
    stream = PromptStream(source=GymSource(levels=[0]), mix=mix, seed=0)
    data = PromptDataModule(stream=stream, encoder=encoder, num_prompts=PROMPTS, num_steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        L.Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            callbacks=[rows],
        ).fit(module, datamodule=data)
    return rows.rows[WARM:-WARM]


def mean(rows: list[dict[str, float]], name: str) -> float:
    """Return the mean of a metric over steps."""
    return statistics.fmean(row[name] for row in rows)


def main() -> int:
    """Print a row for each pair of durations; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--unit", type=float, default=1.0, help="seconds of a unit of time")
    args = parser.parse_args()
    quieten()
    failed = 0
    print("engine:trainer  in turns s  ahead=1 s  ratio  ideal  bound  waits: trainer  engine")
    for name, (engine, trainer, bound) in PAIRS.items():
        turns, ahead = (
            steps_of(number, engine * args.unit, trainer * args.unit, args.steps)
            for number in (0, 1)
        )
        whole, short = mean(turns, "time/step_s"), mean(ahead, "time/step_s")
        writing, ratio = engine * args.unit, short / whole
        ideal = max(writing, whole - writing) / whole
        failed += ratio > bound
        print(
            f"{name:>14}  {whole:10.3f}  {short:9.3f}  {ratio:5.3f}  {ideal:5.3f}  {bound:5.2f}"
            f"  {mean(ahead, 'time/trainer_wait_frac'):14.3f}"
            f"  {mean(ahead, 'time/engine_idle_frac'):6.3f}"
        )
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
