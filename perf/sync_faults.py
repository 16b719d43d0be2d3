"""Let engines that are out of step with the trainer answer the sync probe, one fault at a time.

    python perf/sync_faults.py

The small model takes one optimizer step, with the learning rate of training. The engine then has a
fault, and the probe compares both sides. The table of docs/explanations/sync_probe.md is between
marks; `tests/rollout/test_sync_faults.py` compares it with a new measurement.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from worked_page import table, with_tables

from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.interfaces import Encoder
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.forward import one_forward
from g2rpo.policy.stats import token_stats
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.hf import HFEngine
from g2rpo.rollout.sync_probe import MAX_GAP, SyncProbe

PAGE = Path(__file__).parents[1] / "docs" / "explanations" / "sync_probe.md"
SAMPLING = Sampling(group_size=4, max_new_tokens=56, temperature=1.0)
LEARNING_RATE = 1e-4
MAX_NATS = MAX_GAP[torch.float32]


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The trainer's policy after an update, the one before it, and what both sides are asked."""

    trainer: Any
    before: Any
    encoder: Encoder
    batch: PromptBatch


def updated() -> Sides:
    """Return both sides of an update of the small model on completions of its own."""
    checkpoint = Checkpoint.packaged(name="tiny_qwen3_vl", dtype="float32")
    encoder, policy = checkpoint.encoder(), checkpoint.policy()
    batch = encoder.encode([GymSource().get(task, 0, "train") for task in TASKS])
    before = copy.deepcopy(policy)
    rollouts = written(policy, encoder, batch, SAMPLING)
    advantages = torch.tensor([1.0, -1.0]).repeat(len(rollouts.completion_ids) // 2)
    logprobs = one_forward(
        policy,
        token_stats,
        batch,
        rollouts.completion_ids,
        rollouts.completion_mask,
        forbidden=tuple(encoder.forbidden_token_ids),
    ).logprobs
    loss = -(advantages[:, None] * logprobs * rollouts.completion_mask).mean()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    loss.backward()
    optimizer.step()
    return Sides(trainer=policy, before=before, encoder=encoder, batch=batch)


def written(policy: Any, encoder: Encoder, batch: PromptBatch, sampling: Sampling) -> Rollouts:
    """Return completions of a policy, with its log-probabilities."""
    engine = HFEngine(max_new_tokens=SAMPLING.max_new_tokens)
    engine.start(policy, encoder)
    return engine.generate(batch, sampling, 0)


def mixed(sides: Sides, *older: str) -> Any:
    """Return the trainer's policy, with parameters from before the update under these prefixes."""
    policy = copy.deepcopy(sides.trainer)
    with torch.no_grad():
        for (name, weight), old in zip(
            policy.named_parameters(), sides.before.parameters(), strict=True
        ):
            if name.startswith(older):
                weight.copy_(old)
    return policy


FAULTS: dict[str, Callable[[Sides], tuple[Any, float]]] = {
    "none": lambda s: (s.trainer, 1.0),
    "all weights are those before the update": lambda s: (s.before, 1.0),
    "the vision tower is the one before the update": lambda s: (mixed(s, "model.visual"), 1.0),
    "one text layer is the one before the update": lambda s: (
        mixed(s, "model.language_model.layers.0."),
        1.0,
    ),
    "weights are rounded to bfloat16": lambda s: (
        copy.deepcopy(s.trainer).bfloat16().float(),
        1.0,
    ),
    "log-probabilities are those at temperature 0.9": lambda s: (s.trainer, 0.9),
}
"""What is wrong with an engine: returns its policy and the temperature of its answers."""


def gaps() -> dict[str, float]:
    """Return the largest difference in nats that the probe finds, by fault."""
    torch.manual_seed(0)
    sides = updated()
    found = {}
    for name, fault in FAULTS.items():
        policy, temperature = fault(sides)

        def answers(
            batch: PromptBatch,
            sampling: Sampling,
            seed: int,
            policy: Any = policy,
            temperature: float = temperature,
        ) -> Rollouts:
            return written(policy, sides.encoder, batch, replace(sampling, temperature=temperature))

        probe = SyncProbe(sampling=SAMPLING, max_gap=MAX_NATS)
        probe.remember(sides.batch)
        asked = probe.ask(sides.encoder, answers, torch.device("cpu"))
        found[name] = probe.gap(sides.trainer, sides.encoder, *asked).nats
    return found


def verdict(nats: float) -> str:
    """Return what happens to a run with this difference."""
    return "goes on" if nats <= MAX_NATS else "stops"


def page(found: dict[str, float]) -> str:
    """Return the page with a table of these differences."""
    rows = [(name, f"{nats:.1e}", verdict(nats)) for name, nats in found.items()]
    return with_tables(
        PAGE, "sync_faults.py", [table(("fault", "largest difference, nats", "the run"), rows)]
    )


def main() -> None:
    """Measure, write the table and print it."""
    text = page(found := gaps())
    PAGE.write_text(text)
    for name, nats in found.items():
        print(f"{nats:.1e}  {name}")


if __name__ == "__main__":
    main()
