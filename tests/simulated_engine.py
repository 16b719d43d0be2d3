"""An engine with weights of its own that takes its time, for tests of look-ahead."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import torch

from g2rpo.interfaces import Encoder
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.turns import Turns


class SimulatedEngine:
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
        self.sampling = Sampling(group_size=1, max_new_tokens=max_new_tokens)
        self.ahead, self.max_staleness, self.group_s = ahead, max_staleness, group_s
        self.version = 0
        self.turns = Turns()
        self.asked: list[tuple[int, list[str]]] = []
        """Version of the weights and ids of the prompts, for every call."""
        self.stopped = threading.Event()
        self.before_group: Callable[[str], None] = lambda prompt_id: None

    def check_world_size(self, num_processes: int) -> None:
        pass

    def start(self, policy: Any, encoder: Encoder) -> None:
        self.encoder = encoder

    @contextmanager
    def generating(self) -> Iterator[None]:
        yield

    def sleep(self) -> None:
        pass

    def metrics(self) -> dict[str, float]:
        return {}

    def load_weights(self, policy: Any, step: int) -> None:
        with self.turns.alone():
            self.version = step

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        from g2rpo.rollout.groups import cat_rollouts

        groups: dict[int, Rollouts] = {}
        self.generate_ahead(batch, sampling, seed, groups.__setitem__)
        return cat_rollouts([groups[row] for row in range(len(batch.prompts))])

    def generate_ahead(
        self,
        batch: PromptBatch,
        sampling: Sampling,
        seed: int,
        arrived: Callable[[int, Rollouts], None],
    ) -> None:
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
        rng, size, width = Random(seed), sampling.group_size, sampling.max_new_tokens
        lengths = torch.tensor([rng.randint(2, width) for _ in range(size)])
        ids = torch.tensor([[rng.randint(10, 200) for _ in range(width)] for _ in range(size)])
        ids[torch.arange(size), lengths - 1] = self.encoder.eos_token_id
        mask = torch.arange(width) < lengths[:, None]
        return Rollouts(
            completion_ids=ids.where(mask, self.encoder.pad_token_id),
            completion_mask=mask,
            old_logprobs=torch.full(ids.shape, -5.0).masked_fill(~mask, 0.0),
            prompt=torch.zeros(size, dtype=torch.long),
            finished=torch.ones(size, dtype=torch.bool),
            texts=tuple(f"{rng.random():.3f}" for _ in range(size)),
            weight_versions=torch.full(ids.shape, self.version).masked_fill(~mask, -1),
        )

    def stop_ahead(self) -> None:
        self.stopped.set()
