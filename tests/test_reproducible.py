"""Two runs with the same seed are equal to the bit: with the default number of threads, on a busy
machine, and resumed.
"""

import csv
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from g2rpo.reproducible import reproducible

ROOT = Path(__file__).parents[1]
OPTIONS = (
    "task_mix=generalist",
    "shaping=entropy_bounded",
    "heldout=none",
    "batch.prompts_per_step=12",
    "callbacks.checkpoint.every_n_train_steps=1",
)


@pytest.fixture
def busy() -> Iterator[None]:
    """A process beside the test that never waits."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield
    process.kill()
    process.wait()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _gradient(rows: Tensor) -> Tensor:
    """Of states that are read once per row, some of them many times, as a prompt's last state is by
    its group.
    """
    states = torch.randn(200, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = torch.randn(len(rows), 128, generator=torch.Generator().manual_seed(1))
    (states[rows] * weights).sum().backward()
    assert states.grad is not None
    return states.grad


@pytest.mark.process
def test_states_that_are_read_many_times_get_the_same_gradient_every_time(
    two_threads: None, busy: None
) -> None:
    rows = torch.randint(0, 200, (4000,), generator=torch.Generator().manual_seed(2))
    with reproducible():
        first = _gradient(rows)
        assert all(torch.equal(_gradient(rows), first) for _ in range(50))


def test_mkl_keeps_to_the_number_of_threads() -> None:
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    if not hasattr(library, "mkl_serv_get_dynamic"):
        pytest.skip("this PyTorch was built without MKL")
    library.mkl_serv_set_dynamic(1)
    with reproducible():
        assert library.mkl_serv_get_dynamic() == 0


def test_a_value_of_mkl_cbwr_is_kept_and_the_deterministic_mode_ends_with_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with reproducible():
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["MKL_CBWR"] == "COMPATIBLE"
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_a_machine_with_a_gpu_keeps_its_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with reproducible():
        assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.process
@pytest.mark.slow
def test_two_runs_and_a_resumed_one_have_the_same_numbers_on_a_busy_machine(
    tmp_path: Path, busy: None
) -> None:
    runs = {name: _run(tmp_path / name, "trainer.max_steps=2") for name in ("one", "two")}
    _run(tmp_path / "resumed", "trainer.max_steps=1")
    runs["resumed"] = _run(
        tmp_path / "resumed", "trainer.max_steps=2", f"resume={tmp_path / 'resumed'}"
    )
    assert len(runs["one"][0]) == 2
    assert runs["two"] == runs["one"]
    assert runs["resumed"] == runs["one"]


def _run(folder: Path, *options: str) -> tuple[list[dict[str, str]], list[dict[str, object]]]:
    """Rows of metrics.csv without timings, and all completions, of a run with as many threads as
    the machine offers.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MKL_CBWR")
    }
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *OPTIONS,
        *options,
        f"hydra.run.dir={folder}",
    ]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [
            {name: cell for name, cell in row.items() if not name.startswith("time/")}
            for row in csv.DictReader(file)
        ]
    lines = (folder / "completions.jsonl").read_text(encoding="utf-8").splitlines()
    return rows, [json.loads(line) for line in lines]
