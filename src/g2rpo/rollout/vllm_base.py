"""What both ways of running vLLM share: when weights are sent, and when they are verified.

With several trainer processes these are points where all ranks meet: a sharded policy can neither
be sent nor asked for log-probabilities by one rank alone. Within `generating` every rank asks its
engine at its own pace. An engine that dies there is restarted with the last weights, which are in a
folder, and verified when all ranks leave the block.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from g2rpo import ranks
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.forward import compute_dtype
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.sync_probe import SyncProbe
from g2rpo.rollout.vllm_retry import EngineStats
from g2rpo.rollout.vllm_settings import EngineSettings

Generate = Callable[[PromptBatch, Sampling, int], Rollouts]


class VLLMBase:
    """An engine with its own copy of the weights.

    Args:
        settings: Settings that both ways of running vLLM share.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.sampling = settings.sampling
        self._settings = settings
        self._step = 0
        self._unverified = "at the start"
        """Why the weights are unverified; empty once verified."""
        self._stats = EngineStats()
        self._inside = False

    def start(self, policy: Any, encoder: ChatEncoder) -> None:
        """Store the policy. vLLM itself starts with the first `generating`, after the policy has
        been moved to its device.
        """
        if reason := family_of(policy).no_vllm:
            raise ValueError(
                f"rollout: expected hf with model_type {policy.config.model_type!r}, got a vLLM"
                f" engine, which {reason}; set rollout=hf"
            )
        self._lora_rank = self._settings.lora_rank(policy)
        self._policy, self._encoder = policy, encoder
        self._probe = SyncProbe(
            sampling=self.sampling, max_gap=self._settings.max_gap(compute_dtype(policy))
        )

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Prepare the engine for `generate` within the block, and verify its weights afterwards.

        All ranks must enter and leave the block together. In between, they may call `generate` at
        different times and a different number of times. A block within a block does nothing.
        """
        if self._inside:
            yield
            return
        if stale := _reason_of_any_rank(self._stale()):
            self._sync(stale)
        self._inside = True
        try:
            yield
        finally:
            self._inside = False
        # before the policy learns from these completions
        if unverified := _reason_of_any_rank(self._unverified):
            self._verify(unverified)

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """Return `sampling.group_size` completions per prompt, grouped by prompt.

        Outside of `generating`, all ranks must call it together.
        """
        with self.generating(), ranks.named():
            self._probe.remember(batch)
            return self._answers(batch, sampling, seed)

    def load_weights(self, policy: Any, step: int) -> None:
        """Send the new weights, clear caches of older ones and run the sync probe, on every rank.

        Raises:
            RuntimeError: A rank failed; every rank raises and names it.
        """
        self._policy, self._step = policy, step
        if ranks.world_size() > 1 or self._stale() != "at the start":
            self._sync(f"after step {step}")

    def metrics(self) -> dict[str, float]:
        """Return gap and duration of the last sync and failures since the last call, over all
        ranks.
        """
        return self._stats.reduce()

    def _sync(self, when: str) -> None:
        start = time.perf_counter()
        self._unverified = when
        self._send_weights()
        self._verify(when)
        self._stats.sync_s = time.perf_counter() - start

    def _verify(self, when: str) -> None:
        """Run the sync probe on every rank, unless no rank has seen prompts yet."""
        if not _reason_of_any_rank("seen" if self._probe.batch is not None else ""):
            return
        worst = 0.0
        for name, generate in self._engines():
            with ranks.raise_on_all_ranks():
                asked = self._probe.ask(self._encoder, generate, self._policy.device)
            with ranks.raise_on_all_ranks():
                gap = self._probe.gap(self._policy, self._encoder, *asked)
                worst = max(worst, self._probe.check(gap, f"{when}{name}"))
        self._unverified = ""
        self._stats.sync_logprob_gap = worst

    def _stale(self) -> str:
        """Return why the engine needs the weights before it can generate; empty if it does not."""
        raise NotImplementedError

    def _send_weights(self) -> None:
        """Make all engines load the current weights; all ranks call it together."""
        raise NotImplementedError

    def _engines(self) -> list[tuple[str, Generate]]:
        """Return what the probe asks: a suffix for error messages, and how to generate."""
        raise NotImplementedError

    def _answers(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """Return completions of the engines of this rank; no other rank takes part."""
        raise NotImplementedError


def _reason_of_any_rank(reason: str) -> str:
    """Return this rank's reason, or the first one of another rank; empty if no rank has one."""
    reasons = ranks.all_gather_list([reason])
    return reason or next(filter(None, reasons), "")
