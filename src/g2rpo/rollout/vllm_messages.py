"""Requests and answers as messages of `g2rpo.wire`, between a trainer and its engine's process.

| from the trainer | from the engine |
|---|---|
| | `{"max_model_len": ..., "pid": ...}` once, at the start |
| `{"method": "generate", "requests": [...]}` and the pixels of all images | `["answer", {...}]`, one for each request, in any order |
| `{"method": "reload", "given": {"folder": ...}}`, and the other methods of `METHODS` | `["done", null]` |
| | `["failed", text]` if a call failed |
"""  # noqa: E501

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image

from g2rpo.rollout.vllm_requests import Answer, Request

METHODS = ("reload", "load_adapter", "forget", "sleep", "wake_up")
"""Methods of `Host` that a trainer may call, besides `generate`."""
Asked = tuple[int, Request, dict[str, Any]]
"""Index of a request in the caller's list, the request, and the fields of `SamplingParams`."""


def generate_message(asked: Sequence[Asked]) -> tuple[dict[str, Any], list[bytes]]:
    """Return the message that asks for completions, and its buffers."""
    requests, buffers = [], []
    for place, request, fields in asked:
        images = [{"mode": image.mode, "size": image.size} for image in request.images]
        buffers += [image.tobytes() for image in request.images]
        requests.append(
            {
                "place": place,
                "prompt_id": request.prompt_id,
                "token_ids": request.token_ids,
                "expanded_ids": request.expanded_ids,
                "images": images,
                "seed": request.seed,
                # keys of JSON are text
                "fields": fields | {"logit_bias": list(fields["logit_bias"].items())},
            }
        )
    return {"method": "generate", "requests": requests}, buffers


def read_requests(message: Mapping[str, Any], buffers: Sequence[bytes]) -> list[Asked]:
    """Undo `generate_message`."""
    pixels = iter(buffers)
    found = []
    for plain in message["requests"]:
        images = [
            Image.frombytes(image["mode"], tuple(image["size"]), next(pixels))
            for image in plain["images"]
        ]
        names = ("prompt_id", "token_ids", "expanded_ids", "seed")
        request = Request(images=images, **{name: plain[name] for name in names})
        bias = {int(token): float(value) for token, value in plain["fields"]["logit_bias"]}
        found.append((plain["place"], request, plain["fields"] | {"logit_bias": bias}))
    return found


def answer_message(place: int, answer: Answer) -> dict[str, Any]:
    """Return the message with the answer to a request."""
    return {"place": place} | asdict(answer)


def read_answer(message: Mapping[str, Any]) -> tuple[int, Answer]:
    """Undo `answer_message`."""
    fields = dict(message)
    return int(fields.pop("place")), Answer(**fields)
