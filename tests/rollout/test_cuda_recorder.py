"""The calls that `CudaRecorder` makes of torch.cuda, on a CPU: `torch.cuda.graph` is torch's own,
and what it calls on the GPU is a stand-in that notes the order.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from g2rpo.rollout.step_graph import PROTOTYPE, SYNCHRONIZES, CudaRecorder, _side_stream

MAIN = "main"


class Stream:
    def __init__(self, cuda: "Cuda", name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_stream(self, other: "Stream") -> None:
        self.cuda.said.append(f"{self.name} waits for {other.name}")


class Graph:
    """Stands in for `torch.cuda.CUDAGraph`."""

    def __init__(self, cuda: "Cuda") -> None:
        self.cuda = cuda
        cuda.graphs.append(self)
        self.name = f"graph {len(cuda.graphs)}"

    def capture_begin(self, *pool: Any, capture_error_mode: str, **_: Any) -> None:
        shared = pool[0] if pool else None
        self.cuda.said.append(
            f"{self.name} begins on {self.cuda.current.name}, {capture_error_mode}, {shared}"
        )

    def capture_end(self) -> None:
        if self.cuda.aborted:
            self.cuda.aborted = False
            raise RuntimeError("operation failed due to a previous error during capture")
        self.cuda.said.append(f"{self.name} ends")

    def pool(self) -> str:
        return f"pool of {self.name}"

    def replay(self) -> None:
        self.cuda.said.append(f"{self.name} replays")


class Generator:
    def __init__(self) -> None:
        self.state = "fresh"

    def clone_state(self) -> str:
        return f"copy of {self.state}"

    def graphsafe_set_state(self, state: str) -> None:
        self.state = state


class Cuda:
    """Puts itself in the place of the parts of torch.cuda."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.graphs: list[Graph] = []
        self.aborted = False
        self.sync_mode: Any = 0
        self.current = Stream(self, MAIN)
        self.generator = Generator()
        for name, value in {
            "Stream": lambda device: Stream(self, "side"),
            "stream": self.stream,
            "current_stream": lambda device: self.current,
            "CUDAGraph": lambda: Graph(self),
            "default_generators": (None, self.generator),
            "synchronize": lambda: self.said.append("synchronize"),
            "empty_cache": lambda: self.said.append("empty_cache"),
            "get_sync_debug_mode": lambda: self.sync_mode,
            "set_sync_debug_mode": self.set_sync_mode,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        """As torch's: the way out leads to the stream that was current on the way in."""
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def set_sync_mode(self, mode: Any) -> None:
        """As torch, which warns once."""
        if self.sync_mode == 0 and mode == "warn":
            warnings.warn(f"{PROTOTYPE} is a prototype feature", UserWarning, stacklevel=1)
        self.sync_mode = mode

    def step(self) -> None:
        self.said.append(f"step on {self.current.name}, {self.sync_mode}")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cuda]:
    _side_stream.cache_clear()
    yield Cuda(monkeypatch)
    _side_stream.cache_clear()


@pytest.fixture
def recorder(cuda: Cuda) -> CudaRecorder:
    return CudaRecorder(torch.device("cuda:1"))


def test_a_warm_up_runs_once_on_the_side_stream_between_two_waits(
    cuda: Cuda, recorder: CudaRecorder
) -> None:
    assert recorder.warm_up(cuda.step) is None
    assert cuda.said == ["side waits for main", "step on side, warn", "main waits for side"]
    assert (cuda.sync_mode, cuda.current.name) == (0, MAIN)


def test_a_warm_up_tells_where_the_host_waits_and_passes_other_warnings_on(
    cuda: Cuda, recorder: CudaRecorder
) -> None:
    def step() -> None:
        warnings.warn("something else", UserWarning, stacklevel=1)
        warnings.warn(f"{SYNCHRONIZES} (Triggered internally)", UserWarning, stacklevel=1)

    with pytest.warns(UserWarning, match="something else") as passed:
        reason = recorder.warm_up(step)
    assert len(passed) == 1
    assert reason is not None
    assert reason.startswith(f"{__file__}:")
    assert reason.endswith(SYNCHRONIZES)


def test_a_warm_up_that_fails_restores_what_it_set(cuda: Cuda, recorder: CudaRecorder) -> None:
    with pytest.raises(ZeroDivisionError):
        recorder.warm_up(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    assert (cuda.sync_mode, cuda.current.name) == (0, MAIN)


def test_graphs_are_captured_on_the_side_stream_into_one_pool(
    cuda: Cuda, recorder: CudaRecorder
) -> None:
    first = recorder.capture(cuda.step)
    second = recorder.capture(cuda.step)
    first()
    second()
    captured = [line for line in cuda.said if line not in ("synchronize", "empty_cache")]
    assert captured == [
        "graph 1 begins on side, thread_local, None",
        "step on side, 0",
        "graph 1 ends",
        "graph 2 begins on side, thread_local, pool of graph 1",
        "step on side, 0",
        "graph 2 ends",
        "graph 1 replays",
        "graph 2 replays",
    ]
    assert cuda.current.name == MAIN
    assert cuda.generator.state == "fresh"
    cuda.said.clear()
    recorder.release()
    assert cuda.said == ["empty_cache"]
    recorder.capture(cuda.step)
    assert "graph 3 begins on side, thread_local, None" in cuda.said  # the pool is gone


def test_an_aborted_capture_leaves_its_stream_and_the_random_generator_usable(
    cuda: Cuda, recorder: CudaRecorder
) -> None:
    def step() -> None:
        cuda.aborted, cuda.generator.state = True, "captured"
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="previous error") as caught:
        recorder.capture(step)
    assert "not permitted" in str(caught.value.__context__)
    assert cuda.current.name == MAIN
    assert cuda.generator.state == "copy of fresh"


def test_all_rollouts_capture_on_one_stream(cuda: Cuda) -> None:
    first, second = (CudaRecorder(torch.device("cuda:1")) for _ in range(2))
    assert first._stream is second._stream
