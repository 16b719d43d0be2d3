"""Two steps of training in one of several processes: `python ranks_step.py CHECKPOINT OUT SIZE
whole|adapter|tasks ddp|fsdp`; rank from the environment.

`tasks` trains all weights with `gradient=pcgrad` and `curriculum=mt_grpo`. What is drawn, written
and judged depends on prompts, positions and seeds alone, so the outcome may not depend on the
number of processes.
"""

import sys
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import lightning as L
import torch

from g2rpo import ranks
from g2rpo.algorithm.advantage.ema_grpo import EMAGRPO
from g2rpo.algorithm.gradient.pcgrad import PCGrad
from g2rpo.algorithm.gradient.sum import Sum
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.algorithm.shaping.entropy import EntropyBand
from g2rpo.algorithm.shaping.length import LengthBand
from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.data.mixture import TaskMix
from g2rpo.data.mt_grpo import MTGRPO
from g2rpo.data.stream import PromptStream
from g2rpo.interfaces import Encoder
from g2rpo.policy.adapter import LoRA
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.forward import full_tensor
from g2rpo.policy.sharding import Sharding
from g2rpo.policy.stats import token_stats
from g2rpo.records import Prompt, PromptBatch, Rollouts, Sampling
from g2rpo.rollout.collect import OnlineFilter
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.gradients import GradientConflict
from g2rpo.training.module import G2RPOModule
from g2rpo.training.quiet import quieten
from g2rpo.training.run_log import RunLog
from g2rpo.training.sharded_strategy import ShardedModels, ShardedStrategy

GROUP_SIZE = 4


class PromptEngine:
    """Completions that are a function of seed and position, as those of every engine; the sampler's
    probabilities differ a little from the policy's.
    """

    sampling = Sampling(group_size=1, max_new_tokens=9)

    def start(self, policy: Any, encoder: Encoder) -> None:
        self.policy, self.encoder = policy, encoder

    def load_weights(self, policy: Any, step: int) -> None:
        pass

    @torch.no_grad()
    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        draws = [
            Random(f"{seed}/{position}/{i}")
            for position in batch.position.tolist()
            for i in range(sampling.group_size)
        ]
        lengths = torch.tensor([draw.randint(1, 9) for draw in draws])
        ids = torch.tensor([[draw.randint(10, 200) for _ in range(9)] for draw in draws])
        ids[torch.arange(len(ids)), lengths - 1] = self.encoder.eos_token_id
        mask = torch.arange(9) < lengths[:, None]
        ids = ids.where(mask, self.encoder.pad_token_id)
        shift = torch.tensor([[draw.uniform(-0.3, 0.3)] for draw in draws])
        logprobs = token_stats(
            self.policy, batch, ids, mask, forbidden=tuple(self.encoder.forbidden_token_ids)
        ).logprobs
        return Rollouts(
            completion_ids=ids,
            completion_mask=mask,
            old_logprobs=(logprobs - shift).masked_fill(~mask, 0.0),
            prompt=torch.arange(len(batch.prompts)).repeat_interleave(sampling.group_size),
            finished=torch.ones(len(ids), dtype=torch.bool),
            texts=tuple(str(int(length)) for length in lengths),
        )


class LengthReward:
    """Right where the number of tokens (the completion's text) is a multiple of what the task asks
    for.
    """

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        accuracy = float(int(completion) % (2 + TASKS.index(prompt.task)) == 0)
        return {"accuracy": accuracy, "format": 1.0, "structure": 0.0, "total": accuracy}


class Recorder(L.Callback):
    """Keeps what `training_step` returned last."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        pl_module.last = outputs


class SharpCheckpoint(Checkpoint):
    """A policy with larger logits than its reference."""

    def policy(self, sharding: Sharding | None = None) -> Any:
        policy = super().policy(sharding)
        policy.model.language_model.norm.weight.data.mul_(8.0)
        return policy

    def reference(self, policy: Any, sharding: Sharding | None = None) -> Any:
        if self.adapter is not None:
            return policy
        return Checkpoint.policy(self, sharding).requires_grad_(False)


def build(checkpoint: Checkpoint, sharded: bool, by_task: bool) -> G2RPOModule:
    if sharded:
        policy, reference = ShardedModels(checkpoint=checkpoint, needs_reference=True), None
    else:
        policy = checkpoint.policy()
        reference = checkpoint.reference(policy)
    bands = {task: [0, 2, 5, 9] for task in TASKS}
    return G2RPOModule(
        policy=policy,
        reference=reference,
        encoder=checkpoint.encoder(),
        engine=PromptEngine(),
        reward=LengthReward(),
        algorithm=Algorithm(
            tasks=TASKS,
            advantage=EMAGRPO(decay=0.5),
            loss=ClipLoss(kl_coef=0.05, tis_clip=2.0),
            shaping=Shaping(
                length=LengthBand(
                    bands=bands, weight=0.1, min_accuracy=0.5, allow_in_unanimous_groups=False
                ),
                entropy=EntropyBand(low=0.0, high=0.5, weight=0.3),
            ),
            batch=BatchPlan(
                prompts_per_step=7, group_size=GROUP_SIZE, num_minibatches=2, micro_batch_prompts=2
            ),
            optimizer=partial(torch.optim.SGD, lr=0.01),
            group_filter=OnlineFilter(max_draws=2),
            gradient_conflict=GradientConflict(every_n_steps=2),
            gradient=PCGrad() if by_task else Sum(),
            max_grad_norm=1.0,
            failure_budget=0.0,
            seed=3,
        ),
    )


def main(folder: str, out: Path) -> None:
    quieten()
    torch.set_num_threads(1)
    adapter = LoRA(rank=4) if sys.argv[4] == "adapter" else None
    by_task, sharded = sys.argv[4] == "tasks", sys.argv[5] == "fsdp"
    module = build(SharpCheckpoint(path=folder, adapter=adapter), sharded, by_task)
    mix = TaskMix(weights={"math": 1.0, "chart": 1.0, "grounding": 1.0})
    stream = PromptStream(
        source=GymSource(levels=[0]),
        mix=mix,
        seed=0,
        curriculum=MTGRPO(lr=0.5) if by_task else None,
    )
    data = PromptDataModule(stream=stream, encoder=module.encoder, num_prompts=7, num_steps=2)
    world = int(sys.argv[3])
    trainer = L.Trainer(
        max_steps=4,
        accelerator="cpu",
        devices=world,
        strategy=ShardedStrategy() if sharded else "ddp" if world > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=out,
        callbacks=[RunLog(folder=out), Recorder()],
    )
    out.mkdir(exist_ok=True)
    trainer.fit(module, datamodule=data)
    result = {
        "weights": {name: full_tensor(value) for name, value in module.policy.named_parameters()},
        "metrics": module.last["metrics"],
        "moments": module.algorithm.advantage.moments,
        "counts": data.stream.counts,
        "groups": len(module.last["experience"].batch.prompts),
    }
    torch.save(result, out / f"rank{ranks.rank()}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
