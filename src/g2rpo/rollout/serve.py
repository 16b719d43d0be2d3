"""A vLLM server set up for training: `python -m g2rpo.rollout.serve MODEL [--port 8000] [any option
of vLLM's]`.

The same as `VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --enable-scale-out --logprobs-mode
processed_logprobs --generation-config vllm`: the development mode opens the addresses at which
weights are changed, so the port belongs on a trusted network.
"""

import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence

SETTINGS = (
    "--enable-scale-out",
    "--logprobs-mode",
    "processed_logprobs",
    "--generation-config",
    "vllm",
    "--limit-mm-per-prompt",
    '{"image": 8, "video": 0}',
)
"""Token ids in and out, log-probabilities at the temperature of sampling, and no sampling settings
out of the checkpoint.
"""


WITH_PARENT = "--with-parent"
"""Ours, not vLLM's: the server ends when the process that started it does, even if that was killed.
"""


def end_with_parent(parent: int, every_s: float = 2.0) -> None:
    """Ends this process's group, and so vLLM's workers, once `parent` is gone. For a process that
    leads a session of its own.
    """
    while os.getppid() == parent:
        time.sleep(every_s)
    os.killpg(os.getpgrp(), signal.SIGTERM)  # which lets them give shared memory back
    time.sleep(10)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def serve(args: Sequence[str]) -> None:
    """Serves until it is stopped; later options win over `SETTINGS`."""
    if not args or args[0].startswith("-"):
        sys.exit("usage: python -m g2rpo.rollout.serve MODEL [options of vLLM]")
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"
    if WITH_PARENT in args:
        threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    sys.argv = [
        "serve",
        "--model",
        args[0],
        *SETTINGS,
        *(arg for arg in args[1:] if arg != WITH_PARENT),
    ]
    # by module name and not through vLLM's own command, which looks for a distribution that is
    # called vllm
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1:])
