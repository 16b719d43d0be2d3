"""A stand-in for a vLLM server."""

import base64
import io
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


class FakeServer:
    """A server on a free port. `fails(path, count)` says what goes wrong with the count-th call of
    a path.

    A completion is `[10 + its place in the group, 20 + seed % 100, end token]`. Once its weights
    have a name, it says for each token which weights have written it. No request is answered before
    `answering` is set.
    """

    def __init__(
        self, *, eos: int, expand: Callable[[list[int], list[tuple[int, int]]], list[int]]
    ) -> None:
        self.eos, self.expand = eos, expand
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.fails: Callable[[str, int], str | int | None] = lambda path, count: None
        self.released = threading.Event()
        self.version: str | None = None
        self.answering = threading.Event()
        self.answering.set()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            do_POST = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    @classmethod
    def reading_like(cls, encoder: Any) -> "FakeServer":
        """A server that reads images as this encoder does."""
        cell = encoder.image_processor.patch_size * encoder.image_processor.merge_size

        def expand(ids: list[int], sizes: list[tuple[int, int]]) -> list[int]:
            counts = iter([width * height // cell**2 for width, height in sizes])
            return [
                token
                for i in ids
                for token in ([i] * next(counts) if i == encoder.image_token_id else [i])
            ]

        return cls(eos=encoder.eos_token_id, expand=expand)

    def close(self) -> None:
        """Ends it; requests that hang are let go."""
        self.released.set()
        self.http.shutdown()
        self.http.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One call."""
        body = json.loads(
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0)) or "{}"
        )
        path = handler.path
        with self._lock:
            self.calls.append(path)
            trouble = self.fails(path, self.calls.count(path))
        if trouble == "hangs":
            self.released.wait(20)
            return
        if trouble == "breaks off":
            handler.connection.close()
            return
        if isinstance(trouble, int):
            handler.send_error(trouble, "as the test says")
            return
        if path == "/inference/v1/generate":
            with self._lock:
                self.bodies.append(body)
            self.answering.wait(20)
            found = self.generated(body)
        else:
            found = {"success": trouble != "busy"}
            if path == "/update_weight_version":
                self.version = body["new_version"]
        text = json.dumps(found).encode()
        handler.send_response(200)
        if path == "/v1/load_lora_adapter":  # vLLM answers with a sentence, without a content type
            text = b"Success: LoRA adapter added successfully."
        else:
            handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def generated(self, body: dict[str, Any]) -> dict[str, Any]:
        """Completions that tell their request: seed, place in the group."""
        sizes = []
        for part in body.get("content_parts", []):
            with Image.open(io.BytesIO(base64.b64decode(part["url"].partition(",")[2]))) as image:
                sizes.append(image.size)
        fields = body["sampling_params"]
        choices = []
        spans = [{"version": self.version, "start": 0, "end": 3}] if self.version else None
        for k in reversed(range(fields["n"])):  # in any order
            ids = [10 + k, 20 + fields["seed"] % 100, self.eos]
            choices.append(
                {
                    "index": k,
                    "token_ids": ids,
                    "logprobs": {"content": [{"token_id": i, "logprob": -0.5} for i in ids]},
                    "weight_versions": spans,
                }
            )
        return {"prompt_token_ids": self.expand(body["token_ids"], sizes), "choices": choices}
