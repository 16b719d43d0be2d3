"""The process of an engine without vLLM: `python -m fake_child ADDRESS SETTINGS`. Files in the
folder FAKE_ENGINE say what goes wrong.

A completion is `[10 + its place in the group, 20 + seed % 100, end token]`.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from g2rpo.rollout import vllm_worker
from g2rpo.rollout.vllm_requests import Answer, Request

FOLDER = Path(os.environ.get("FAKE_ENGINE", ""))


class FakeHost:
    """Ends one request a step. `die` and `hang` hold the number of answers before that happens,
    once; `refuse` a method that fails.
    """

    max_model_len = 1000

    def __init__(
        self, folder: str, *, on_gpu: bool, options: dict[str, Any], adapter: str | None
    ) -> None:
        self.note(
            "start",
            weights=bool(list(Path(folder).glob("*.safetensors"))),
            adapter=adapter,
            on_gpu=on_gpu,
            options=options,
            env=dict(os.environ),
        )
        self.queue: list[tuple[str, Request, dict[str, Any]]] = []
        self.count = self.answered = 0

    def note(self, method: str, **more: Any) -> None:
        with (FOLDER / "calls.jsonl").open("a") as file:
            file.write(json.dumps({"method": method} | more) + "\n")
        if (FOLDER / "refuse").exists() and (FOLDER / "refuse").read_text() == method:
            raise ValueError(f"{method} is refused")

    def add(self, request: Request, fields: dict[str, Any]) -> str:
        self.note("add", prompt=request.prompt_id)
        self.count += 1
        self.queue.append((str(self.count), request, fields))
        return str(self.count)

    def due(self, trouble: str) -> bool:
        file = FOLDER / trouble
        if not file.exists() or self.answered < int(file.read_text()):
            return False
        if not (FOLDER / "again").exists():
            file.unlink()
        return True

    def step(self) -> list[tuple[str, Answer]]:
        if self.due("die"):
            os._exit(9)
        if self.due("hang"):
            time.sleep(60)
        self.answered += 1
        name, request, fields = self.queue.pop(0)
        rows = [
            [10 + k, 20 + fields["seed"] % 100, *fields["stop_token_ids"]]
            for k in range(fields["n"])
        ]
        return [
            (
                name,
                Answer(
                    prompt_ids=request.expanded_ids,
                    token_ids=rows,
                    logprobs=[[-0.5] * 3] * len(rows),
                ),
            )
        ]

    def reload(self, folder: str) -> None:
        self.note("reload", weights=bool(list(Path(folder).glob("*.safetensors"))))

    def load_adapter(self, folder: str) -> None:
        self.note("load_adapter", adapter=folder)

    def forget(self) -> None:
        self.note("forget")


if __name__ == "__main__":
    vllm_worker.Host = FakeHost
    vllm_worker.main(*sys.argv[1:])
