"""Engines with weights of their own, without a server: for measurements and tests of look-ahead.

`SimulatedEngine` writes tokens that mean nothing and takes its time. `CopiedPolicy` is a copy of
the policy that gets weights as a server would: `rollout._target_=simulated_engines.CopiedPolicy`.
"""

import copy
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import torch

from g2rpo.interfaces import Encoder
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.groups import cat_rollouts, select_rollouts
from g2rpo.rollout.hf import HFEngine
from g2rpo.rollout.turns import Turns

Arrived = Callable[[int, Rollouts], None]


class OwnCopy:
    """What both engines share; a subclass writes in `generate_ahead`.

    Args:
        sampling: Sampling parameters of training.
        ahead: Number of rollout batches to write ahead.
        max_staleness: As in the configuration.
    """

    def __init__(
        self, *, sampling: Sampling, ahead: int = 0, max_staleness: int | None = None
    ) -> None:
        self.sampling, self.ahead, self.max_staleness = sampling, ahead, max_staleness
        self.version = 0
        """Number of updates behind the weights."""
        self.turns = Turns()
        self.stopped = threading.Event()

    def check_world_size(self, num_processes: int) -> None:
        """Accept any number."""

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Do nothing: the weights are there."""
        yield

    def sleep(self) -> None:
        """Do nothing: there is no GPU to share."""

    def metrics(self) -> dict[str, float]:
        """Return none."""
        return {}

    def start(self, policy: Any, encoder: Encoder) -> None:
        """Store the encoder."""
        self.encoder = encoder

    def load_weights(self, policy: Any, step: int) -> None:
        """Change the weights between two groups."""
        with self.turns.alone():
            self.version = step

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """Return the completions of a batch."""
        groups: dict[int, Rollouts] = {}
        self.generate_ahead(batch, sampling, seed, groups.__setitem__)
        return cat_rollouts([groups[row] for row in range(len(batch.prompts))])

    def generate_ahead(
        self, batch: PromptBatch, sampling: Sampling, seed: int, arrived: Arrived
    ) -> None:
        """Write the groups of a batch."""
        raise NotImplementedError

    def stop_ahead(self) -> None:
        """Write nothing more."""
        self.stopped.set()

    def dated(self, rollouts: Rollouts) -> Rollouts:
        """Return completions that the current weights have written."""
        mask = rollouts.completion_mask
        return replace(
            rollouts,
            weight_versions=torch.full(mask.shape, self.version).masked_fill(~mask, -1),
        )


class SimulatedEngine(OwnCopy):
    """Writes tokens that follow from seed and position, one group after the other.

    Args:
        ahead: Number of rollout batches to write ahead.
        group_s: Seconds for a group.
        max_staleness: As in the configuration.
        max_new_tokens: Longest completion.
    """

    def __init__(
        self,
        *,
        ahead: int = 0,
        group_s: float = 0.0,
        max_staleness: int | None = None,
        max_new_tokens: int = 6,
    ) -> None:
        super().__init__(
            sampling=Sampling(group_size=1, max_new_tokens=max_new_tokens),
            ahead=ahead,
            max_staleness=max_staleness,
        )
        self.group_s = group_s
        self.asked: list[tuple[int, list[str]]] = []
        """Version of the weights and ids of the prompts, for every call."""
        self.before_group: Callable[[str], None] = lambda prompt_id: None

    def generate_ahead(
        self, batch: PromptBatch, sampling: Sampling, seed: int, arrived: Arrived
    ) -> None:
        """Write one group after the other."""
        self.asked.append((self.version, [prompt.id for prompt in batch.prompts]))
        for row, prompt in enumerate(batch.prompts):
            if self.stopped.is_set():
                raise RuntimeError("stopped")
            with self.turns.beside_others():
                self.before_group(prompt.id)
                time.sleep(self.group_s)
                group = self.group(sampling, f"{seed}/{batch.position[row]}")
            arrived(row, group)

    def group(self, sampling: Sampling, seed: str) -> Rollouts:
        """Return a group of completions, whose texts are numbers in [0, 1]."""
        rng, size, width = Random(seed), sampling.group_size, sampling.max_new_tokens
        lengths = torch.tensor([rng.randint(2, width) for _ in range(size)])
        ids = torch.tensor([[rng.randint(10, 200) for _ in range(width)] for _ in range(size)])
        ids[torch.arange(size), lengths - 1] = self.encoder.eos_token_id
        mask = torch.arange(width) < lengths[:, None]
        return self.dated(
            Rollouts(
                completion_ids=ids.where(mask, self.encoder.pad_token_id),
                completion_mask=mask,
                old_logprobs=torch.full(ids.shape, -5.0).masked_fill(~mask, 0.0),
                prompt=torch.zeros(size, dtype=torch.long),
                finished=torch.ones(size, dtype=torch.bool),
                texts=tuple(f"{rng.random():.3f}" for _ in range(size)),
            )
        )


class CopiedPolicy(OwnCopy):
    """A copy of the policy that writes a whole batch at once, as `rollout=hf` does.

    It takes the settings of `rollout=vllm_server`, so that a run needs another `_target_` only.

    Args:
        max_new_tokens: Maximum number of tokens per completion.
        temperature: Sampling temperature in training.
        ahead: Number of rollout batches to write ahead.
        max_staleness: As in the configuration.
        **others: Settings that only a server has.
    """

    def __init__(
        self,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        ahead: int = 0,
        max_staleness: int | None = None,
        **others: Any,
    ) -> None:
        self.engine = HFEngine(max_new_tokens=max_new_tokens, temperature=temperature)
        super().__init__(sampling=self.engine.sampling, ahead=ahead, max_staleness=max_staleness)
        self._one_at_a_time = threading.Lock()

    def start(self, policy: Any, encoder: Encoder) -> None:
        """Copy the policy, and the encoder, whose tokenizer threads must not share."""
        super().start(policy, copy.deepcopy(encoder))
        self.policy = copy.deepcopy(policy).requires_grad_(False)
        self.engine.start(self.policy, self.encoder)

    def load_weights(self, policy: Any, step: int) -> None:
        """Copy the weights between two batches."""
        with self.turns.alone():
            self.policy.load_state_dict(policy.state_dict())
            self.version = step

    def generate_ahead(
        self, batch: PromptBatch, sampling: Sampling, seed: int, arrived: Arrived
    ) -> None:
        """Write all groups of a batch."""
        with self._one_at_a_time, self.turns.beside_others():
            rollouts = self.dated(self.engine.generate(batch, sampling, seed))
        for row in range(len(batch.prompts)):
            arrived(row, select_rollouts(rollouts, torch.tensor([row])))
