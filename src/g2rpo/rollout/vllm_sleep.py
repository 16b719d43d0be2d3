"""Sleep mode: the engine frees its GPU memory while the trainer updates.

How much memory came free is measured on the device.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

log = logging.getLogger("g2rpo")
GIB = 2**30
LOWER = (
    "Lower rollout.gpu_memory_utilization, or what the trainer holds: batch.micro_batch_prompts,"
    " model.gradient_checkpointing=true"
)


class Sleeper:
    """Puts an engine to sleep and wakes it; on a CPU both do nothing.

    Args:
        llm: The engine; on a GPU it must be built with `enable_sleep_mode`.
        device: The trainer's device, which the engine shares.
        weight_bytes: Size of the engine's weights; sleeping must free at least as much on its
            devices together.
        num_devices: Number of devices over which the engine is sharded.
        keeps_weights: Whether the sleeping engine keeps its weights in the machine's memory,
            because only adapters are sent after it wakes up.
    """

    def __init__(
        self,
        llm: Any,
        *,
        device: torch.device,
        weight_bytes: int,
        num_devices: int = 1,
        keeps_weights: bool = False,
    ) -> None:
        self.llm = llm
        self.device = device
        self.weight_bytes = weight_bytes // num_devices
        self.level = 1 if keeps_weights else 2
        self.asleep = False
        self._freed = 0

    def sleep(self) -> dict[str, float]:
        """Free weights and cache until the next sync, and return the freed memory in GiB.

        Raises:
            RuntimeError: Less memory came free than the weights take.
        """
        if self.device.type != "cuda" or self.asleep:
            return {}
        before = self._free_bytes()
        self.llm.sleep(level=self.level)
        self.asleep = True
        self._freed = self._free_bytes() - before
        if self._freed < self.weight_bytes:
            raise RuntimeError(
                f"rollout.sleep: the sleeping engine freed {self._freed / GIB:.2f} GiB, expected at"
                f" least its weights, {self.weight_bytes / GIB:.2f} GiB; set rollout.sleep=false if"
                " trainer and engine fit into memory together"
            )
        log.info("the sleeping engine freed %.2f GiB", self._freed / GIB)
        return {"rollout/freed_gib": self._freed / GIB}

    @contextmanager
    def waking(self) -> Iterator[None]:
        """Allocate memory for weights before the block, which updates them, and for keys and values
        after it.
        """
        if not self.asleep:
            yield
            return
        # The engine needs the memory that the trainer's allocator holds in reserve.
        torch.cuda.empty_cache()
        self._wake("weights")
        yield
        self._wake("kv_cache")
        self.asleep = False

    def _wake(self, what: str) -> None:
        try:
            self.llm.wake_up(tags=[what])
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            raise RuntimeError(
                f"rollout: the engine wants {self._freed / GIB:.2f} GiB back to wake up, and"
                f" {self._free_bytes() / GIB:.2f} GiB of the GPU are free. {LOWER}"
            ) from error

    def _free_bytes(self) -> int:
        return torch.cuda.mem_get_info(self.device)[0]


@contextmanager
def explain_out_of_memory(device: torch.device, gpu_memory_utilization: float) -> Iterator[None]:
    """Re-raise errors about GPU memory with the required and free GiB and the keys to lower."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.empty_cache()
    try:
        yield
    except (RuntimeError, ValueError, MemoryError) as error:
        free, total = torch.cuda.mem_get_info(device)
        if free >= gpu_memory_utilization * total and "out of memory" not in str(error):
            raise
        raise RuntimeError(
            f"rollout: the engine wants {gpu_memory_utilization * total / GIB:.2f} GiB of the GPU"
            f" to start (rollout.gpu_memory_utilization={gpu_memory_utilization}), and"
            f" {free / GIB:.2f} GiB are free. {LOWER}. vLLM says: {error}"
        ) from error
