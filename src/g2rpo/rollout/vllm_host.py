"""vLLM's `LLM` with the methods that a trainer needs, from generating to sleeping."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from g2rpo.launch import marks
from g2rpo.rollout.vllm_requests import Answer, Request

CPU_OPTIONS = {"kv_cache_memory_bytes": 2**28, "block_size": 32}
"""On a CPU vLLM would reserve a share of the machine's memory. Its default blocks of 128 tokens are
too large: a group shares only whole blocks of its prompt.
"""


class Host:
    """An engine in this process.

    Args:
        folder: Checkpoint folder that the engine loads.
        on_gpu: Whether the engine runs on a GPU.
        options: Further arguments of vLLM's `LLM`.
        adapter: Folder of an adapter to use, in peft's format; the options must enable LoRA.
    """

    def __init__(
        self,
        folder: str,
        *,
        on_gpu: bool,
        options: Mapping[str, Any],
        adapter: str | None = None,
    ) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        if not on_gpu:
            # Otherwise vLLM compiles helpers of its sampler, even with enforce_eager.
            os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
            # Otherwise vLLM reduces the trainer to one thread.
            os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
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
        self.max_model_len = int(self.llm.model_config.max_model_len)
        """Maximum number of tokens of prompt and completion together."""
        self._lora: Any = None
        """vLLM's `LoRARequest` of the current adapter."""
        if adapter is not None:
            self.load_adapter(adapter)

    def generate(
        self,
        requests: Sequence[Request],
        fields: Sequence[Mapping[str, Any]],
        answers: dict[int, Answer],
    ) -> None:
        """Store the answer to every request in `answers`, by the request's index."""
        place_of = {
            self.add(request, own): place
            for place, (request, own) in enumerate(zip(requests, fields, strict=True))
        }
        while len(answers) < len(requests):
            marks.drop_if_asked()
            answers |= {place_of[key]: answer for key, answer in self.step()}

    def add(self, request: Request, fields: Mapping[str, Any]) -> str:
        """Queue a request and return the id under which `step` answers it."""
        from vllm import SamplingParams

        prompt = {"prompt_token_ids": request.token_ids} | (
            {"multi_modal_data": {"image": request.images}} if request.images else {}
        )
        (name,) = self.llm.enqueue(
            [prompt], [SamplingParams(**fields)], lora_request=self._lora, use_tqdm=False
        )
        return name.partition("-")[0]  # the engine appends a suffix that its outputs lack

    def step(self) -> list[tuple[str, Answer]]:
        """Generate one token for every running request; return id and answer of finished ones."""
        return [
            (output.request_id, _answer(output))
            for output in self.llm.llm_engine.step()
            if output.finished
        ]

    def reload(self, folder: str) -> None:
        """Load weights from a checkpoint folder."""
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})

    def load_adapter(self, folder: str) -> None:
        """Replace the adapter by the one in a folder."""
        from vllm.lora.request import LoRARequest

        number = 1
        if self._lora is not None:
            number += self._lora.lora_int_id
            self.llm.llm_engine.remove_lora(self._lora.lora_int_id)
        # A new name and number each time: vLLM does not load a known one again.
        self._lora = LoRARequest(f"adapter{number}", number, folder)
        self.llm.llm_engine.add_lora(self._lora)

    def forget(self) -> None:
        """Clear keys and values, prepared images and vision features of older weights."""
        self.llm.reset_prefix_cache()
        self.llm.reset_mm_cache()
        self.llm.llm_engine.reset_encoder_cache()

    def sleep(self, level: int) -> None:
        """Free GPU memory; see `vllm_sleep`."""
        self.llm.sleep(level=level)

    def wake_up(self, tags: list[str]) -> None:
        """Allocate the memory of these tags again (`weights`, `kv_cache`)."""
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
