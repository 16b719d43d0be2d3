"""A decoding step as a CUDA graph: captured once, then repeated with a single launch.

A step launches hundreds of kernels, and for small batches the host takes longer to launch them than
the GPU to compute. Replaying a graph launches all of them at once.

The graph holds addresses. All state of the step must be tensors that it changes in place; whoever
moves one of them calls `reset`. Weights may move between rollouts (resumed checkpoints, offloading,
adapters), so no graph outlives a `generate`.
"""

import functools
import logging
import warnings
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch

from g2rpo.policy.forward import is_sharded

log = logging.getLogger(__name__)

LEAST_STEPS = 16
"""Minimum number of steps of the same shapes for which a graph is captured. A capture takes the
host as long as a plain step, plus the time to instantiate the graph and to empty the allocator's
cache: a few plain steps in all. `perf/gpu.py --parts decode` measures it.
"""
LEAVE_FRAC = 0.5
"""Minimum of `leave_frac` with graphs. Each change of the number of rows needs another capture, and
a GPU, which is busy with reading the weights, gains little from fewer rows. With one half there are
at most log2(rows) changes.
"""
SYNCHRONIZES = "called a synchronizing CUDA operation"
"""What torch's debug mode says of an operation for which the host waits."""
PROTOTYPE = "Synchronization debug mode"
"""How torch's warning about that mode begins."""


@runtime_checkable
class Recorder(Protocol):
    """What `StepGraph` needs of CUDA; tests have a stand-in for it."""

    def warm_up(self, step: Callable[[], None]) -> str | None:
        """Run the step on the stream of the capture; return why it cannot be captured, if so."""

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """Capture the step without running it; return the function that repeats it.

        Raises:
            RuntimeError: The step cannot be captured, or memory is short.
        """

    def release(self) -> None:
        """Free the memory of all graphs."""


class CudaRecorder:
    """Captures with `torch.cuda.CUDAGraph`. All graphs share one memory pool and one stream.

    Args:
        device: The GPU on which the step runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _side_stream(device)
        self._last: Any = None
        """The latest graph. It lives until the next one is captured: a pool needs an owner."""

    def warm_up(self, step: Callable[[], None]) -> str | None:
        """Run the step on the side stream, and watch for operations for which the host waits.

        They end a capture, and an aborted capture leaves torch's random generator and allocator in
        a bad state. So it is not even begun.
        """
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        mode = torch.cuda.get_sync_debug_mode()
        with torch.cuda.stream(self._stream), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                step()
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        here.wait_stream(self._stream)
        waits = [warning for warning in said if SYNCHRONIZES in str(warning.message)]
        for warning in said:
            if warning not in waits and PROTOTYPE not in str(warning.message):
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        return f"{waits[0].filename}:{waits[0].lineno} {SYNCHRONIZES}" if waits else None

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """Capture the step into the pool of the graph before it."""
        graph = torch.cuda.CUDAGraph()
        generator = torch.cuda.default_generators[self._device.index]
        randomness = generator.clone_state()
        recording = torch.cuda.graph(
            graph,
            pool=None if self._last is None else self._last.pool(),
            stream=self._stream,
            capture_error_mode="thread_local",  # other threads may go on with pinning memory
        )
        try:
            # if a capture is aborted, torch forgets to leave its stream
            with torch.cuda.stream(torch.cuda.current_stream(self._device)), recording:
                step()
        except RuntimeError:
            generator.graphsafe_set_state(randomness)  # the former one believes it is captured
            raise
        self._last = graph
        return graph.replay

    def release(self) -> None:
        """Drop the last graph, and give its memory back to the device."""
        self._last = None
        torch.cuda.empty_cache()


@functools.cache
def _side_stream(device: torch.device) -> Any:
    """Return the stream of all captures; cuBLAS keeps memory for each stream that it has seen."""
    return torch.cuda.Stream(device)


class StepGraph:
    """Runs a decoding step, from a graph as soon as there is one.

    The first step after `reset` runs plainly, as the warm-up that a capture needs.

    Args:
        step: Runs one decoding step. It changes its tensors in place and reads no values from them.
        recorder: Captures the step.
    """

    def __init__(self, step: Callable[[], None], recorder: Recorder) -> None:
        self._step = step
        self._recorder = recorder
        self._replay: Callable[[], None] | None = None
        self._warm = False
        self.failed = False
        """Whether a capture has failed; the step runs plainly from then on."""
        self.captures = 0

    def run(self, left: int) -> None:
        """Run one step.

        Args:
            left: Number of steps, with this one, until shapes change at the latest.
        """
        if self._replay is None and not self.failed and left >= LEAST_STEPS:
            if not self._warm:
                self._warm_up()
                return
            self._capture()
        (self._replay or self._step)()

    def reset(self) -> None:
        """Forget the graph, because tensors that it uses have moved."""
        self._replay, self._warm = None, False

    def release(self) -> None:
        """Forget the graph and the step, and free their memory; nothing runs afterwards.

        The step refers to its owner, and the owner to this object. Python would keep such a cycle,
        with the key-value cache in it, until its garbage collector comes.
        """
        self.reset()
        del self._step
        self._recorder.release()

    def _warm_up(self) -> None:
        reason = self._recorder.warm_up(self._step)
        self._warm = True
        if reason is not None:
            self._give_up(reason)

    def _capture(self) -> None:
        try:
            self._replay = self._recorder.capture(self._step)
            self.captures += 1
        except RuntimeError as error:
            # the end of an aborted capture raises too; the step's own error came before
            first = error.__context__ or error
            self._give_up(f"{type(first).__name__}: {str(first).strip().splitlines()[0]}")

    def _give_up(self, reason: str) -> None:
        self.failed = True
        log.warning(
            "rollout=hf: expected a decoding step that a CUDA graph can hold, got %s; decoding goes"
            " on without graphs (rollout.enforce_eager=true does so without trying)",
            reason,
        )


def recorder_for(policy: Any) -> Recorder | None:
    """Return what captures decoding steps of the policy; None where graphs do not help or work."""
    if policy.device.type != "cuda" or is_sharded(policy):  # a sharded step communicates
        return None
    return CudaRecorder(policy.device)
