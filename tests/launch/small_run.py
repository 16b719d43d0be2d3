"""A run without a model: `python small_run.py HOW RANK HANG_S`; one rank fails, the others wait.

With HOW `engine` every rank has an engine in a process of its own, and one rank is killed.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from g2rpo.launch import marks
from g2rpo.launch.meeting import FOLDER, meet, watch
from g2rpo.launch.member import member
from g2rpo.launch.monitor import Watch


def start_engine() -> None:
    import torch

    from g2rpo.rollout import vllm_subprocess

    vllm_subprocess.MODULE = "fake_child"
    vllm_subprocess.SubprocessEngine(
        address=vllm_subprocess.new_address(),
        device=torch.device("cpu"),
        num_devices=1,
        options={},
        log_file=Path(f"engine{os.getpid()}.log"),
        start_s=60.0,
        timeout_s=60.0,
    ).start(Path())


def main(how: str, rank: int, hang_s: float) -> None:
    me = member()
    try:
        met = meet(me)
    except ConnectionError as error:
        sys.exit(str(error))
    folder = Path(f"run{os.getpid()}") if me.is_first else Path(met.ask(FOLDER))
    watch(Watch(folder=folder, hang_s=hang_s))
    if me.rank == rank and how != "nothing":  # not before all have come
        for other in set(range(me.world_size)) - {rank}:
            met.ask(f"here {other}")
    marks.begin()
    marks.work_on(["ocr", f"chart{me.rank}"])
    met.tell(f"here {me.rank}", "yes")
    if how == "engine":
        start_engine()
        how = "kill"
    if how == "nothing":
        sys.stdout.write(f"{folder.resolve()}\n")
        met.monitor.leave()
    elif me.rank != rank:
        marks.mark()  # waits in a collective
        while True:
            threading.Event().wait(0.1)
    elif how == "raise":
        met.monitor.fail("no memory")
        sys.exit(1)
    elif how == "hang":
        time.sleep(1000)
    else:
        if me.is_first:  # a thread of rank 0 tells the others what it works on
            time.sleep(2)
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[how])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
