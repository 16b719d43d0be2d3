"""Four steps with look-ahead in one of several processes: `python ahead_ranks.py CHECKPOINT OUT
SIZE`; rank from the environment. What is written depends on prompts, positions and seeds alone.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from simulated_engines import SimulatedEngine

from g2rpo import ranks
from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.data.mixture import TaskMix
from g2rpo.data.stream import PromptStream
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.records import Prompt
from g2rpo.rollout.collect import OnlineFilter
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.gradients import GradientConflict
from g2rpo.training.module import G2RPOModule
from g2rpo.training.quiet import quieten

STEPS = 4


class HalfReward:
    """Right above one half, so that some groups agree and are filtered out."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        accuracy = float(float(completion) > 0.5)
        return {"accuracy": accuracy, "total": accuracy}


class Ledger(L.Callback):
    """What each step learned from, with places over all ranks; saves in the middle."""

    def __init__(self) -> None:
        self.steps: list[list[tuple[str, list[str]]]] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        experience = outputs["experience"]
        rollouts = experience.rollouts
        own = [
            (prompt.id, [rollouts.texts[i] for i in (rollouts.prompt == row).nonzero()[:, 0]])
            for row, prompt in enumerate(experience.batch.prompts)
        ]
        self.steps.append(sorted(ranks.all_gather_list(own)))
        trainer.save_checkpoint(Path(trainer.default_root_dir) / f"{len(self.steps)}.ckpt")


def main(folder: str, out: Path, world: int, resume: str | None) -> None:
    quieten()
    torch.set_num_threads(1)
    checkpoint = Checkpoint(path=folder)
    module = G2RPOModule(
        policy=checkpoint.policy(),
        encoder=checkpoint.encoder(),
        engine=SimulatedEngine(ahead=1),
        reward=HalfReward(),
        algorithm=Algorithm(
            tasks=TASKS,
            advantage=G2RPO(scope="group"),
            loss=ClipLoss(tis_clip=2.0),
            shaping=Shaping(length=None, entropy=None),
            batch=BatchPlan(prompts_per_step=3, group_size=3),
            optimizer=partial(torch.optim.SGD, lr=1e-4),
            group_filter=OnlineFilter(max_draws=4),
            gradient_conflict=GradientConflict(every_n_steps=None),
        ),
    )
    mix = TaskMix(weights={"math": 1.0, "chart": 1.0, "grounding": 1.0})
    stream = PromptStream(source=GymSource(levels=[0]), mix=mix, seed=0)
    data = PromptDataModule(stream=stream, encoder=module.encoder, num_prompts=3, num_steps=STEPS)
    ledger = Ledger()
    trainer = L.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        devices=world,
        strategy="ddp" if world > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=out,
        callbacks=[ledger],
    )
    out.mkdir(exist_ok=True)
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    result = {"steps": ledger.steps, "counts": data.stream.counts, "left": len(data.reserved)}
    (out / f"rank{ranks.rank()}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if sys.argv[4:] else None)
