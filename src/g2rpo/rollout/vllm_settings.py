"""Settings of `rollout=vllm` and `rollout=vllm_server`: their fields are the keys `rollout.*`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from g2rpo.policy.adapter import adapted_layers, adapter_settings
from g2rpo.policy.family.choose_family import family_of
from g2rpo.records import Sampling
from g2rpo.rollout.ahead import refuse_ahead
from g2rpo.rollout.sync_probe import MAX_GAP

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM accepts as `max_lora_rank`."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Settings that both ways of running vLLM share."""

    max_new_tokens: int
    """Maximum number of tokens per completion."""
    temperature: float = 1.0
    """Sampling temperature in training; 0 is greedy."""
    top_p: float = 1.0
    """Must be 1: with nucleus sampling, vLLM reports log-probabilities after truncation."""
    start_s: float = 600.0
    """Maximum seconds until a started or lost engine is ready."""
    timeout_s: float = 600.0
    """Maximum seconds to wait for an answer; after that, the engine counts as lost."""
    max_restarts: int = 3
    """Maximum number of restarts within one rollout; after that, the run stops."""
    ahead: int = 0
    """Number of rollout batches that are written while the trainer learns from earlier ones."""
    max_sync_gap: float | None = None
    """Maximum difference between engine and trainer in a token's log-probability after a weight
    sync, in nats. None chooses by dtype (`sync_probe.MAX_GAP`).
    """
    lora: str = "merged"
    """How the weights of an adapter reach the engine: `merged` into the weights that it adapts, or
    as an `adapter`, which is much smaller. Weights without an adapter are always sent whole.
    """
    tis_clip: float | None = 2.0
    """Default of `loss.tis_clip`, which reads it: maximum weight of truncated importance sampling.
    """

    def __post_init__(self) -> None:
        if self.lora not in ("merged", "adapter"):
            raise ValueError(f"rollout.lora: expected merged or adapter, got {self.lora!r}")
        if self.sampling.top_p < 1:
            raise ValueError(
                f"rollout.top_p: expected 1, got {self.top_p}: vLLM reports log-probabilities of"
                " the truncated distribution, the trainer computes those of the full one; use"
                " rollout=hf for top-p sampling"
            )
        if self.max_sync_gap is not None and not self.max_sync_gap > 0:
            raise ValueError(
                "rollout.max_sync_gap: expected null (by dtype) or nats above 0, got"
                f" {self.max_sync_gap}"
            )
        for name in ("start_s", "timeout_s"):
            if getattr(self, name) <= 0:
                raise ValueError(
                    f"rollout.{name}: expected seconds above 0, got {getattr(self, name)}"
                )
        if self.max_restarts < 0:
            raise ValueError(f"rollout.max_restarts: expected 0 or more, got {self.max_restarts}")

    def lora_rank(self, policy: Any) -> int | None:
        """Return vLLM's `max_lora_rank` for adapters of this policy; None if none is sent as such.

        Raises:
            ValueError: `rollout.lora=adapter` with an adapter that vLLM cannot use, or with none.
        """
        if self.lora == "merged":
            return None
        if not (settings := adapter_settings(policy)):
            raise ValueError(
                "rollout.lora: expected merged, because the policy has no adapter, got adapter; set"
                " rollout.lora=merged, or model/adapter=lora"
            )
        if adapted_layers(policy).keys() & family_of(policy).vision_modules(policy).keys():
            raise ValueError(
                "rollout.lora: expected merged with model.adapter.vision=true, got adapter; vLLM's"
                " adapters leave the vision tower out"
            )
        fitting = [rank for rank in LORA_RANKS if rank >= settings["rank"]]
        if not fitting:
            raise ValueError(
                f"rollout.lora: expected merged with model.adapter.rank={settings['rank']:g}, got"
                f" adapter; vLLM takes adapters of rank {LORA_RANKS[-1]} or less"
            )
        return fitting[0]

    @property
    def sampling(self) -> Sampling:
        """How completions are sampled in training; callers replace the group size."""
        return Sampling(
            group_size=1,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
        )

    def max_gap(self, dtype: torch.dtype) -> float:
        """Return the largest gap in nats that is accepted for weights of this dtype."""
        return MAX_GAP[dtype] if self.max_sync_gap is None else self.max_sync_gap


@dataclass(frozen=True, kw_only=True)
class VLLMSettings(EngineSettings):
    """Settings of `rollout=vllm`, an engine on the trainer's own devices."""

    max_model_len: int | None = None
    """Maximum number of tokens of prompt and completion together. None takes the model's own
    maximum, for which vLLM reserves memory.
    """
    max_num_seqs: int = 256
    """Maximum number of completions that are generated at the same time."""
    max_images: int = 8
    """Maximum number of images per prompt."""
    gpu_memory_utilization: float = 0.4
    """Fraction of a GPU's memory that the engine uses while it is awake."""
    sleep: bool = True
    """Whether the engine frees that memory while the trainer updates (on a GPU)."""
    enforce_eager: bool = False
    """Whether to run without CUDA graphs: slower, but ready at once. Always so on a CPU."""
    own_process: bool = False
    """Whether the engine of a single trainer process runs in a subprocess too."""
    tensor_parallel_size: int = 1
    """Number of neighboring trainer processes that share one engine, sharded over their devices."""
    log_dir: str = "."
    """Folder for the log of an engine in a subprocess."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_ahead(self.ahead, "the engine shares the trainer's devices and rests during updates")
        for name in ("max_model_len", "max_num_seqs", "max_images", "tensor_parallel_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"rollout.{name}: expected at least 1, got {value}")
        if not 0 < self.gpu_memory_utilization < 1:
            raise ValueError(
                "rollout.gpu_memory_utilization: expected a share in (0, 1), got"
                f" {self.gpu_memory_utilization}"
            )

    def llm_options(
        self, *, dtype: str, on_gpu: bool, lora_rank: int | None = None
    ) -> dict[str, Any]:
        """Return the arguments of vLLM's `LLM`.

        Args:
            dtype: Dtype of the weights, such as `bfloat16`.
            on_gpu: Whether the engine runs on a GPU.
            lora_rank: Maximum rank of adapters; None for an engine without adapters.
        """
        options = {
            "dtype": dtype,
            "max_model_len": self.max_model_len,
            "max_num_seqs": self.max_num_seqs,
            "limit_mm_per_prompt": {"image": self.max_images, "video": 0},
            "enforce_eager": self.enforce_eager or not on_gpu,
        }
        if lora_rank is not None:
            options |= {"enable_lora": True, "max_lora_rank": lora_rank}
        if on_gpu:
            options |= {
                "gpu_memory_utilization": self.gpu_memory_utilization,
                "enable_sleep_mode": self.sleep,
            }
        if self.tensor_parallel_size > 1:
            # Each device holds the whole vision tower: its number of heads need not be divisible.
            options |= {
                "tensor_parallel_size": self.tensor_parallel_size,
                "mm_encoder_tp_mode": "data",
            }
        return options


@dataclass(frozen=True, kw_only=True)
class VLLMServerSettings(EngineSettings):
    """Settings of `rollout=vllm_server`, vLLM behind HTTP."""

    weights_dir: str
    """Folder through which weights are sent. Trainer and servers need the same path for it."""
    urls: Sequence[str] = ()
    """Addresses of running servers; if empty, one is started on this machine."""
    options: Sequence[str] = ()
    """Command-line options of vLLM for the server that is started on this machine."""
    max_concurrency: int = 64
    """Maximum number of prompts that a server answers at the same time."""
    max_staleness: int | None = None
    """Maximum number of updates between the weights that write a token and those that learn from
    it; older groups are asked again. None for one rollout batch more than `ahead`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ahead not in range(3):
            raise ValueError(f"rollout.ahead: expected 0, 1 or 2 rollout batches, got {self.ahead}")
        if not self.ahead and self.max_staleness is not None:
            raise ValueError(
                "rollout.max_staleness: expected null with rollout.ahead=0, where every completion"
                f" is written by the weights that learn from it, got {self.max_staleness}"
            )
        if self.max_concurrency < 1:
            raise ValueError(
                f"rollout.max_concurrency: expected at least 1, got {self.max_concurrency}"
            )
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(
                    f"rollout.urls: expected addresses like http://host:8000, got {url!r}"
                )
        if self.urls and self.options:
            raise ValueError(
                "rollout.options: expected none together with rollout.urls; pass the options to"
                " these servers when you start them"
            )
