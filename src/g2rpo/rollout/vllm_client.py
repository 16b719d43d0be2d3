"""HTTP client of one vLLM server: completions, weights, health."""

import base64
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

from PIL import Image

from g2rpo.rollout.vllm_requests import Answer, Request
from g2rpo.rollout.vllm_retry import EngineLost

START = "python -m g2rpo.rollout.serve MODEL --port 8000"


class ServerLost(EngineLost):
    """The server died or timed out; retry after a restart."""


class NotFoundError(RuntimeError):
    """The server does not know this request."""


class VLLMClient:
    """Client of one server.

    Args:
        url: Address of the server, `http://host:port`.
        timeout_s: Maximum seconds for the completions of one prompt, and for a weight update.
        key: The server's key; None if it asks for none.
    """

    def __init__(self, *, url: str, timeout_s: float, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self.timeout_s = timeout_s
        self.adapter: str | None = None
        """Name of the adapter that requests use; None for the weights alone."""
        self.labels = False
        """Whether answers say which weights sampled each token, since the first `label`."""

    def is_healthy(self) -> bool:
        """Return whether the server and its engine answer."""
        try:
            self._call("GET", "/health", timeout_s=5)
        except (ServerLost, RuntimeError):
            return False
        return True

    def wait_until_healthy(self, most_s: float) -> None:
        """Wait for a server that was lost.

        Raises:
            RuntimeError: It is not back after `most_s` seconds.
        """
        deadline = time.monotonic() + most_s
        while not self.is_healthy():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"rollout.urls: {self.url} was lost and not back within {most_s:g} s; start it"
                    f" with `{START}`"
                )
            time.sleep(0.5)

    def complete(self, request: Request, fields: dict[str, Any]) -> Answer:
        """Return the completions of one prompt.

        Args:
            request: The prompt.
            fields: Fields of vLLM's `SamplingParams`.

        Raises:
            ServerLost: The server did not answer in time.
            RuntimeError: The server refused the request; the message names the prompt.
        """
        body: dict[str, Any] = {
            "token_ids": request.token_ids,
            "sampling_params": fields,
            "return_token_ids": True,
        }
        if self.adapter is not None:
            body["model"] = self.adapter
        if request.images:
            body["content_parts"] = [
                {"type": "image_url", "url": _data_url(image)} for image in request.images
            ]
        try:
            answer = self._call("POST", "/inference/v1/generate", body)
        except RuntimeError as error:
            raise RuntimeError(f"prompt {request.prompt_id!r}: {error}") from error
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        return Answer(
            prompt_ids=answer["prompt_token_ids"],
            token_ids=[choice["token_ids"] for choice in choices],
            logprobs=[
                [token["logprob"] for token in choice["logprobs"]["content"]] for choice in choices
            ],
            versions=_versions(choices),
        )

    def push(self, folder: str) -> None:
        """Make the server load weights from a folder that it can read."""
        self._call(
            "POST",
            "/collective_rpc",
            {"method": "reload_weights", "kwargs": {"weights_path": folder}},
        )

    def load_adapter(self, folder: str, rank: int) -> None:
        """Make the server use the adapter in a folder that it can read, instead of the last one.

        Args:
            folder: The adapter in peft's format; its path becomes the name of the adapter.
            rank: Maximum rank of adapters that the server must accept.

        Raises:
            RuntimeError: The server was started without adapters, or for lower ranks.
        """
        wanted = {"lora_name": folder, "lora_path": folder, "load_inplace": True}
        try:
            self._call("POST", "/v1/load_lora_adapter", wanted)
        except RuntimeError as error:
            raise RuntimeError(
                f"rollout.lora=adapter: expected a server with `{START} --enable-lora"
                f" --max-lora-rank {rank}`, got {error}; start it so, or use rollout.lora=merged"
            ) from error
        self.adapter = folder

    def label(self, version: int) -> None:
        """Name the weights, so that answers say which tokens these have sampled, if it can."""
        try:
            self._call("POST", "/update_weight_version", {"new_version": str(version)})
        except NotFoundError:
            self.labels = False
        else:
            self.labels = True

    def forget(self) -> None:
        """Clear keys and values, prepared images and vision features.

        Raises:
            RuntimeError: Running requests of another client still use the prefix cache.
        """
        done = self._call("POST", "/reset_prefix_cache")
        if not done.get("success", False):
            raise RuntimeError(
                f"{self.url}: the prefix cache could not be reset, because requests of another"
                " client are running; use the servers for one run at a time"
            )
        self._call("POST", "/reset_mm_cache")
        self._call("POST", "/reset_encoder_cache")

    def pause(self) -> None:
        """Wait for running requests and hold back new ones."""
        self._call("POST", "/pause", query={"mode": "wait"})

    def abort(self) -> None:
        """End all requests where they are."""
        self._call("POST", "/abort_requests", {})

    def resume(self) -> None:
        """Accept requests again."""
        self._call("POST", "/resume")

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        address = self.url + path + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310
            address, data, {"Content-Type": "application/json"}, method=method
        )
        if self._key:  # not sent on if the server redirects to another address
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s or self.timeout_s) as response:  # noqa: S310
                text, kind = response.read(), response.headers.get_content_type()
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace")[:500]
            if error.code >= 500:
                raise ServerLost(f"{address} answered {error.code}: {words}") from error
            said = f"{address} answered {error.code}: {words}"
            if error.code == 404:
                raise NotFoundError(f"{said}; the server must run as with `{START}`") from error
            raise RuntimeError(said) from error
        # connection refused or reset, timed out, or closed in the middle of an answer
        except (OSError, HTTPException) as error:
            raise ServerLost(f"{address}: {type(error).__name__}: {error}") from error
        # the answer to load_lora_adapter is a sentence
        return json.loads(text) if text and kind == "application/json" else {}


def _versions(choices: Sequence[Mapping[str, Any]]) -> list[list[int]] | None:
    """Return the version behind each token of each completion; None if weights have no label."""
    found = []
    for choice in choices:
        spans = choice.get("weight_versions") or ()
        if not all(span["version"].isdecimal() for span in spans):
            return None
        row = [int(span["version"]) for span in spans for _ in range(span["start"], span["end"])]
        if len(row) != len(choice["token_ids"]):
            return None
        found.append(row)
    return found


def _data_url(image: Image.Image) -> str:
    """Encode as PNG, which is lossless, with the fastest compression."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
