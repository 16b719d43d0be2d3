"""Prompts of a batch to requests for vLLM, and its answers back to `Rollouts`.

Both engines use it, `rollout=vllm` and `rollout=vllm_server`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

from g2rpo.policy.encoder import ChatEncoder
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.draw import prompt_seed

BANNED = -100.0
"""Logit bias of a token that may not be sampled: the lowest that vLLM accepts. e^-100 vanishes
beside 1 in float32.
"""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt for the engine: its token ids, images and seed."""

    prompt_id: str
    token_ids: list[int]
    """Token ids of the prompt with one placeholder per image, as vLLM expects them."""
    expanded_ids: list[int]
    """Token ids as the trainer reads them, with all tokens of each image."""
    images: list[Image.Image]
    seed: int
    """Seed of this prompt's completions; vLLM samples the k-th of the group with `seed + k`."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The engine's answer to a request."""

    prompt_ids: list[int]
    """The prompt as the engine read it, placeholders expanded."""
    token_ids: list[list[int]]
    """Token ids of each completion, including the end token."""
    logprobs: list[list[float]]
    """Log-probability of each of these tokens, in nats."""
    versions: list[list[int]] | None = None
    """Number of updates behind the weights that sampled each token; None if nobody has to know."""


def requests_of(encoder: ChatEncoder, batch: PromptBatch, seed: int) -> list[Request]:
    """Return one request per prompt.

    The seed of a prompt depends on `seed` and its position alone, so a repeated request gets the
    same completions, on any rank.
    """
    rows = [
        ids[mask.bool()].tolist()
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
    ]
    return [
        Request(
            prompt_id=prompt.id,
            token_ids=encoder.unexpanded(prompt),
            expanded_ids=ids,
            images=images,
            seed=prompt_seed(seed, position),
        )
        for prompt, position, ids, images in zip(
            batch.prompts, batch.position.tolist(), rows, encoder.pictures(batch), strict=True
        )
    ]


def sampling_fields(encoder: ChatEncoder, sampling: Sampling, seed: int) -> dict[str, Any]:
    """Return the fields of vLLM's `SamplingParams`, including all that a checkpoint's generation
    config could change.
    """
    return {
        "n": _num_draws(sampling),
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": seed,
        # Only the encoder's end tokens end a completion, as in `rollout=hf`.
        "ignore_eos": True,
        "stop_token_ids": list(encoder.end_tokens),
        "logprobs": 0,
        "detokenize": False,
        "logit_bias": dict.fromkeys(encoder.forbidden_token_ids, BANNED),
    }


def rollouts_of(
    encoder: ChatEncoder,
    batch: PromptBatch,
    sampling: Sampling,
    requests: Sequence[Request],
    answers: Mapping[int, Answer],
) -> Rollouts:
    """Return the answers as `Rollouts`, in the order of the requests.

    Args:
        encoder: Encoder that made `batch`.
        batch: Prompts that were asked.
        sampling: How the completions were sampled.
        requests: One request per prompt of the batch.
        answers: The answer to each request, by the request's index.

    Raises:
        ValueError: The engine read a prompt with other token ids than the trainer, or truncated a
            completion. The message names the prompt.
        AssertionError: A group is incomplete.
    """
    rows, logprobs, versions = [], [], []
    for place, request in enumerate(requests):
        answer = answers[place]
        check_prompt(request, answer.prompt_ids, encoder.image_token_id)
        assert len(answer.token_ids) == _num_draws(sampling), (
            f"{request.prompt_id}: {len(answer.token_ids)} of {_num_draws(sampling)} completions"
        )
        shortest = min(
            (len(row) for row in answer.token_ids if row[-1] not in encoder.end_tokens),
            default=sampling.max_new_tokens,
        )
        if shortest < sampling.max_new_tokens:
            raise ValueError(
                f"prompt {request.prompt_id!r} of {len(request.expanded_ids)} tokens: the engine"
                f" cut a completion after {shortest} tokens, before"
                f" rollout.max_new_tokens={sampling.max_new_tokens}; its max_model_len must hold"
                " prompt and completion"
            )
        times = sampling.group_size // _num_draws(sampling)
        rows += answer.token_ids * times
        logprobs += answer.logprobs * times
        versions += (answer.versions or []) * times
    width = max(len(row) for row in rows)
    device = batch.input_ids.device
    mask = _padded([[True] * len(row) for row in rows], False, width)
    ids = _padded(rows, encoder.pad_token_id, width)
    return Rollouts(
        completion_ids=ids.to(device),
        completion_mask=mask.to(device),
        old_logprobs=_padded(logprobs, 0.0, width).to(device),
        prompt=torch.arange(len(requests), device=device).repeat_interleave(sampling.group_size),
        finished=torch.tensor([row[-1] in encoder.end_tokens for row in rows]).to(device),
        texts=encoder.decode(ids, mask),
        weight_versions=_padded(versions, -1, width).to(device) if versions else None,
    )


def _padded(rows: Sequence[list[Any]], value: float, width: int) -> Shaped[Tensor, "b t"]:
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def _num_draws(sampling: Sampling) -> int:
    """Number of completions to request: vLLM refuses several greedy ones, which would be equal."""
    return 1 if sampling.temperature == 0 else sampling.group_size


def check_prompt(request: Request, read: Sequence[int], image_token_id: int) -> None:
    """Raise `ValueError` if the engine read other token ids than the trainer.

    Args:
        request: The request that was sent.
        read: Token ids of the prompt as the engine reports them.
        image_token_id: Token id of the image placeholder.
    """
    if list(read) == request.expanded_ids:
        return
    ours, theirs = request.expanded_ids.count(image_token_id), list(read).count(image_token_id)
    if ours != theirs:
        raise ValueError(
            f"prompt {request.prompt_id!r}: the trainer reads {ours} image tokens, the engine"
            f" {theirs}. Both must bound images alike: give the engine's image processor the bounds"
            " of model.min_pixels and model.max_pixels"
        )
    raise ValueError(
        f"prompt {request.prompt_id!r}: the engine reads other token ids than the trainer; is it"
        " another checkpoint's tokenizer?"
    )
