"""Between the records of a step and what vLLM reads and writes, whichever way it is reached."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from PIL import Image

from g2rpo.policy.encoder import QwenEncoder
from g2rpo.policy.pictures import pictures
from g2rpo.records import PromptBatch, Rollouts, Sampling

BANNED = -100.0
"""Logit bias of a token that may not be sampled, the lowest that vLLM takes: e^-100 is less than
float32 can add to 1.
"""
MAX_SEED = 2**63


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt for the engine."""

    prompt_id: str
    token_ids: list[int]
    """With one placeholder per image, as vLLM wants it."""
    expanded_ids: list[int]
    """As the trainer reads it: one placeholder per merged patch."""
    images: list[Image.Image]
    seed: int
    """Of this prompt's completions: the k-th of the group is drawn with `seed + k`."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the engine says to a request."""

    prompt_ids: list[int]
    """The prompt as the engine read it, placeholders expanded."""
    token_ids: list[list[int]]
    """One list per completion, the end token included."""
    logprobs: list[list[float]]


def check_options(sampling: Sampling, max_sync_gap: float | None) -> None:
    """What both ways of reaching vLLM refuse.

    Raises:
        ValueError: for top-p sampling, whose log-probabilities would be those of another
            distribution than the trainer's; for a largest gap that is none.
    """
    if sampling.top_p < 1:
        raise ValueError(
            f"rollout.top_p: expected 1, got {sampling.top_p}: vLLM reports log-probabilities of"
            " the cut distribution, the trainer computes those of the whole; use rollout=hf for"
            " top-p sampling"
        )
    if max_sync_gap is not None and not max_sync_gap > 0:
        raise ValueError(
            f"rollout.max_sync_gap: expected null (by dtype) or nats above 0, got {max_sync_gap}"
        )


def requests_of(encoder: QwenEncoder, batch: PromptBatch, seed: int) -> list[Request]:
    """One request per prompt. A prompt's seed follows from `seed` and its row, so a prompt asked
    again is answered alike.
    """
    rows = [
        ids[mask.bool()].tolist()
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
    ]
    return [
        Request(
            prompt_id=prompt.id,
            token_ids=_collapsed(ids, encoder.image_token_id),
            expanded_ids=ids,
            images=images,
            # far from 2^63, because vLLM counts on from it within a group
            seed=Random(f"{seed}/{row}").randrange(MAX_SEED // 2),  # noqa: S311
        )
        for row, (prompt, ids, images) in enumerate(
            zip(batch.prompts, rows, pictures(encoder, batch), strict=True)
        )
    ]


def sampling_fields(encoder: QwenEncoder, sampling: Sampling, seed: int) -> dict[str, Any]:
    """Fields of vLLM's `SamplingParams`. All that a checkpoint's generation config could change is
    set here.
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
        # end tokens are the encoder's alone, as in `rollout=hf`
        "ignore_eos": True,
        "stop_token_ids": list(encoder.end_tokens),
        "logprobs": 0,
        "detokenize": False,
        "logit_bias": dict.fromkeys(encoder.forbidden_token_ids, BANNED),
    }


def rollouts_of(
    encoder: QwenEncoder,
    batch: PromptBatch,
    sampling: Sampling,
    requests: Sequence[Request],
    answers: Mapping[int, Answer],
) -> Rollouts:
    """The answers as records; `answers` has one for the position of every request.

    Raises:
        ValueError: naming the prompt that the engine read with other token ids than the trainer, or
            had no room for.
        AssertionError: when a group is not complete.
    """
    rows, logprobs = [], []
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
    width = max(len(row) for row in rows)
    device = batch.input_ids.device
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    ids = torch.tensor([row + [encoder.pad_token_id] * (width - len(row)) for row in rows])
    return Rollouts(
        completion_ids=ids.to(device),
        completion_mask=mask.to(device),
        old_logprobs=torch.tensor([row + [0.0] * (width - len(row)) for row in logprobs]).to(
            device
        ),
        prompt=torch.arange(len(requests), device=device).repeat_interleave(sampling.group_size),
        finished=torch.tensor([row[-1] in encoder.end_tokens for row in rows]).to(device),
        texts=encoder.decode(ids, mask),
    )


def _num_draws(sampling: Sampling) -> int:
    """vLLM refuses to write the same greedy completion several times."""
    return 1 if sampling.temperature == 0 else sampling.group_size


def check_prompt(request: Request, read: Sequence[int], image_token_id: int) -> None:
    """Raises `ValueError` where the engine read another prompt than the trainer."""
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


def _collapsed(ids: Sequence[int], image_token_id: int) -> list[int]:
    """One placeholder per run of them: images are kept apart by their start and end tokens."""
    runs = ((token, list(run)) for token, run in itertools.groupby(ids))
    return [token for token, run in runs for token in (run[:1] if token == image_token_id else run)]
