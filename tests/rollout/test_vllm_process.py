"""A vLLM server as a child process, for real: a run that survives the death of its engine. `make
test-vllm` runs it.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo import cli
from g2rpo.rollout.vllm_client import VLLMClient
from g2rpo.rollout.vllm_process import ServerProcess
from g2rpo.rollout.vllm_requests import Answer, Request
from g2rpo.rollout.vllm_server import VLLMServerEngine

SMALL = (
    "experiment=smoke",
    "rollout=vllm_server",
    "trainer.max_steps=3",
    "heldout.prompts_per_task=1",
    "filter=none",
    "rollout.timeout_s=60",
    "rollout.options=[--max-model-len, '512']",
)


def children(pid: int) -> dict[int, str]:
    """All processes below one, with their names."""
    found, wanted = {}, {pid}
    processes = {
        int(p.name): (p / "stat").read_text()
        for p in Path("/proc").iterdir()
        if p.name.isdigit() and (p / "stat").exists()
    }
    for _ in range(5):
        for child, stat in processes.items():
            if int(stat.rpartition(")")[2].split()[1]) in wanted:
                wanted.add(child)
                found[child] = stat[stat.index("(") + 1 : stat.rindex(")")]
    return found


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "adapter",
    [(), ("model/adapter=lora", "rollout.lora=adapter", "optimizer.lr=1e-2")],
    ids=["all weights", "an adapter that goes over as an adapter"],
)
def test_a_run_whose_engine_is_killed_in_the_middle_of_a_step_finishes_with_whole_groups(
    adapter: tuple[str, ...],
    composed: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("vllm")
    engines: list[VLLMServerEngine] = []
    asked: list[str] = []
    complete, start = VLLMClient.complete, VLLMServerEngine.start

    def noted(self: VLLMServerEngine, *given: Any) -> None:
        engines.append(self)
        start(self, *given)

    def disturbed(self: VLLMClient, request: Request, fields: dict[str, Any]) -> Answer:
        # training prompts in groups; the probe asks for single completions
        if request.prompt_id.startswith("gym/train") and fields["n"] == 4:
            asked.append(request.prompt_id)
            if len(asked) == 9:  # the third prompt of the second step
                server = engines[0].process.process.pid
                victims = [pid for pid, name in children(server).items() if "Engine" in name]
                assert victims, children(server)
                os.kill(victims[0], signal.SIGKILL)
        return complete(self, request, fields)

    monkeypatch.setattr(VLLMServerEngine, "start", noted)
    monkeypatch.setattr(VLLMClient, "complete", disturbed)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cli.train(composed(*SMALL, *adapter, f"run_dir={tmp_path}"))
    engines[0].process.stop()

    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "finished"
    with (tmp_path / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["rollout/num_restarts"]]
    assert [float(row["rollout/num_restarts"]) for row in rows] == [0, 1, 0]
    assert [float(row["rollout/num_regenerated"]) > 0 for row in rows] == [False, True, False]
    assert max(float(row["rollout/sync_logprob_gap"]) for row in rows) <= 2e-4
    gaps = [
        float(cell)
        for row in rows
        for name, cell in row.items()
        if name.startswith("rollout/logprob_gap_max/") and cell
    ]
    assert 0 < max(gaps) <= 2e-4  # in the step of the restart, too
    written = [
        json.loads(line)
        for line in (tmp_path / "completions.jsonl").read_text().split("\n")
        if line
    ]
    groups = Counter((row["step"], row["prompt_id"]) for row in written)
    assert len(groups) == 18
    assert set(groups.values()) == {4}


def test_a_server_that_does_not_start_is_said_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("g2rpo.rollout.vllm_process.MODULE", "g2rpo.rollout.no_such_module")
    server = ServerProcess(log_file=tmp_path / "logs" / "server.log", options=[], start_s=30)
    with pytest.raises(
        RuntimeError,
        match=(
            r"(?s)the vLLM server was not up within 30 s \(.*server\.log\):.*No module named"
            r" g2rpo.*no_such_module"
        ),
    ):
        server.start(tmp_path)
    assert server.process is None


def test_a_server_that_hangs_is_ended_with_all_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "g2rpo.rollout.vllm_process.MODULE", "http.server"
    )  # takes the port's option for something else, and is never well
    server = ServerProcess(log_file=tmp_path / "server.log", options=[], start_s=0.1)
    with pytest.raises(RuntimeError, match=r"not up within 0\.1 s"):
        server.start(tmp_path)
    assert server.process is None


@pytest.mark.process
def test_a_server_ends_with_a_trainer_that_was_killed(tmp_path: Path) -> None:
    watched = (
        "import os, pathlib, time; from threading import Thread; from g2rpo.rollout.serve import"
        " end_with_parent\n"
    )
    watched += f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
    watched += (
        "Thread(target=end_with_parent, args=(os.getppid(), 0.05), daemon=True).start();"
        " time.sleep(60)"
    )
    trainer = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]],"
        " start_new_session=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", trainer, watched])
    deadline = time.monotonic() + 30
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    server = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{server}").exists()
    process.kill()
    process.wait()
    while (
        Path(f"/proc/{server}").exists()
        and "\nState:\tZ" not in Path(f"/proc/{server}/status").read_text()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
