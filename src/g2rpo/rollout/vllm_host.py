"""vLLM's engine in this process, with what a trainer asks of it: completions, new weights,
forgetting, sleep.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from g2rpo.rollout.vllm_requests import Answer, Request

CPU_OPTIONS = {"kv_cache_memory_bytes": 2**28, "block_size": 32}
"""vLLM would ask for a share of the machine's memory, and for blocks of 128 tokens; a group shares
whole blocks of its prompt.
"""


class Host:
    """Builds the engine.

    Args:
        folder: The checkpoint that it serves.
        on_gpu: Whether it has one.
        options: Of vLLM's `LLM`.
    """

    def __init__(self, folder: str, *, on_gpu: bool, options: Mapping[str, Any]) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        if not on_gpu:
            os.environ.setdefault(
                "TORCHDYNAMO_DISABLE", "1"
            )  # compiles helpers of the sampler even where nothing else is compiled
            os.environ.setdefault(
                "OMP_NUM_THREADS", str(torch.get_num_threads())
            )  # else vLLM leaves the trainer one thread
        logging.getLogger("vllm").setLevel(logging.ERROR)
        from vllm import LLM

        self.llm = LLM(
            model=folder,
            seed=0,
            generation_config="vllm",
            use_tqdm_on_load=False,
            logprobs_mode="processed_logprobs",
            **({} if on_gpu else CPU_OPTIONS),
            **options,
        )
        self.room = int(self.llm.model_config.max_model_len)
        """Tokens of prompt and completion together."""

    def generate(
        self,
        requests: Sequence[Request],
        fields: Sequence[Mapping[str, Any]],
        answers: dict[int, Answer],
    ) -> None:
        """Writes the answer of every request into `answers`, by its place."""
        place_of = {
            self.add(request, own): place
            for place, (request, own) in enumerate(zip(requests, fields, strict=True))
        }
        while len(answers) < len(requests):
            answers |= {place_of[key]: answer for key, answer in self.step()}

    def add(self, request: Request, fields: Mapping[str, Any]) -> str:
        """Takes a request and returns the name under which `step` answers it. Others may be under
        way.
        """
        from vllm import SamplingParams

        prompt = {"prompt_token_ids": request.token_ids} | (
            {"multi_modal_data": {"image": request.images}} if request.images else {}
        )
        (name,) = self.llm.enqueue([prompt], [SamplingParams(**fields)], use_tqdm=False)
        return name.partition("-")[0]  # what follows is known inside of the engine alone

    def step(self) -> list[tuple[str, Answer]]:
        """One token for all that is under way. Returns what ended with it."""
        return [
            (output.request_id, _answer(output))
            for output in self.llm.llm_engine.step()
            if output.finished
        ]

    def reload(self, folder: str) -> None:
        """Weights from a checkpoint folder."""
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})

    def forget(self) -> None:
        """Keys and values, prepared images and vision features: all of them were, or could have
        been, computed with older weights.
        """
        self.llm.reset_prefix_cache()
        self.llm.reset_mm_cache()
        self.llm.llm_engine.reset_encoder_cache()

    def sleep(self, level: int) -> None:
        """Lets go of memory; see `vllm_sleep`."""
        self.llm.sleep(level=level)

    def wake_up(self, tags: list[str]) -> None:
        """Takes it back."""
        self.llm.wake_up(tags=tags)


def _answer(output: Any) -> Answer:
    return Answer(
        prompt_ids=list(output.prompt_token_ids),
        token_ids=[list(one.token_ids) for one in output.outputs],
        logprobs=[
            [found[i].logprob for found, i in zip(one.logprobs, one.token_ids, strict=True)]
            for one in output.outputs
        ],
    )
