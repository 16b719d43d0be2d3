"""What goes to vLLM and what comes back, without vLLM."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import PromptBatch, Sampling
from g2rpo.rollout.groups import select_prompts
from g2rpo.rollout.vllm_requests import (
    Answer,
    Request,
    check_prompt,
    requests_of,
    rollouts_of,
    sampling_fields,
)

SAMPLING = Sampling(group_size=2, max_new_tokens=4, temperature=0.7)


def test_a_request_has_one_placeholder_per_image_and_no_padding(
    encoder: QwenEncoder, batch: PromptBatch
) -> None:
    found = requests_of(encoder, batch, seed=1)
    placeholder = encoder.image_token_id
    assert (
        [request.token_ids.count(placeholder) for request in found]
        == batch.num_images.tolist()
        == [1, 2, 0, 1, 1, 0]
    )
    for request, prompt, ids in zip(found, batch.prompts, batch.input_ids.tolist(), strict=True):
        assert request.prompt_id == prompt.id
        assert request.expanded_ids == ids[-len(request.expanded_ids) :]
        # what the tokenizer makes of the chat text is what the engine gets: the other road to the
        # same ids
        assert (
            request.token_ids
            == encoder.tokenizer(encoder.chat_text(prompt), add_special_tokens=False)["input_ids"]
        )
        assert [image.size for image in request.images] == [(64, 64)] * len(prompt.images)


def test_seeds_differ_between_positions_and_draws_and_are_the_same_on_any_rank(
    encoder: QwenEncoder, batch: PromptBatch
) -> None:
    def seeds(own: PromptBatch, seed: int) -> list[int]:
        return [request.seed for request in requests_of(encoder, own, seed)]

    first, other_draw = seeds(batch, 5), seeds(batch, 6)
    assert seeds(select_prompts(batch, torch.tensor([4, 1])), 5) == [first[4], first[1]]
    assert len({*first, *other_draw}) == 12
    # vLLM draws the k-th completion of a group with seed + k: groups must not run into each other,
    # nor beyond 63 bits
    ordered = sorted(first + other_draw)
    assert min(b - a for a, b in itertools.pairwise(ordered)) > 10_000
    assert max(ordered) < 2**62


def test_what_a_checkpoint_could_set_is_set_and_forbidden_tokens_are_banned(
    encoder: QwenEncoder,
) -> None:
    fields = sampling_fields(encoder, SAMPLING, seed=9)
    assert fields["logit_bias"] == dict.fromkeys(encoder.forbidden_token_ids, -100.0)
    assert (fields["n"], fields["max_tokens"], fields["temperature"], fields["seed"]) == (
        2,
        4,
        0.7,
        9,
    )
    assert (fields["top_p"], fields["top_k"], fields["min_p"], fields["repetition_penalty"]) == (
        1.0,
        0,
        0.0,
        1.0,
    )
    assert fields["ignore_eos"]
    assert fields["stop_token_ids"] == [encoder.eos_token_id]


def test_every_end_token_stops_the_engine_and_ends_a_completion(
    encoder: QwenEncoder, batch: PromptBatch, answers: dict[int, Answer]
) -> None:
    other = copy.copy(encoder)
    other.end_tokens = encoder.end_tokens | {60: "<other end>"}
    assert sampling_fields(other, SAMPLING, seed=9)["stop_token_ids"] == [encoder.eos_token_id, 60]
    answers[0] = replace(
        answers[0],
        token_ids=[[50, encoder.eos_token_id], [61, 60]],
        logprobs=[[-0.5] * 2, [-1.0] * 2],
    )
    rollouts = rollouts_of(other, batch, SAMPLING, requests_of(other, batch, 0), answers)
    assert rollouts.finished.tolist() == [True, True, *[True, False] * 5]


@pytest.fixture
def answers(encoder: QwenEncoder, batch: PromptBatch) -> dict[int, Answer]:
    """Prompt p's completions are [50 + p, end] and [60 + p] * 4, which was cut."""
    return {
        place: Answer(
            prompt_ids=request.expanded_ids,
            token_ids=[[50 + place, encoder.eos_token_id], [60 + place] * 4],
            logprobs=[[-0.5, -0.25], [-1.0 - place] * 4],
        )
        for place, request in enumerate(requests_of(encoder, batch, 0))
    }


def test_answers_become_rollouts_in_the_order_of_the_prompts(
    encoder: QwenEncoder, batch: PromptBatch, answers: dict[int, Answer]
) -> None:
    shuffled = {place: answers[place] for place in (3, 0, 5, 1, 4, 2)}
    rollouts = rollouts_of(encoder, batch, SAMPLING, requests_of(encoder, batch, 0), shuffled)
    assert rollouts.prompt.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert rollouts.completion_ids[:4].tolist() == [
        [50, encoder.eos_token_id, encoder.pad_token_id, encoder.pad_token_id],
        [60] * 4,
        [51, encoder.eos_token_id, encoder.pad_token_id, encoder.pad_token_id],
        [61] * 4,
    ]
    assert rollouts.completion_mask.sum(1).tolist() == [2, 4] * 6
    assert rollouts.finished.tolist() == [True, False] * 6
    assert rollouts.old_logprobs[:2].tolist() == [[-0.5, -0.25, 0.0, 0.0], [-1.0] * 4]
    assert rollouts.texts[2] == encoder.tokenizer.decode([51])


def test_a_group_that_is_not_complete_is_never_used(
    encoder: QwenEncoder, batch: PromptBatch, answers: dict[int, Answer]
) -> None:
    answers[4] = replace(answers[4], token_ids=answers[4].token_ids[:1])
    with pytest.raises(AssertionError, match="t/4: 1 of 2"):
        rollouts_of(encoder, batch, SAMPLING, requests_of(encoder, batch, 0), answers)


def test_a_completion_that_the_engine_had_no_room_for_is_an_error(
    encoder: QwenEncoder, batch: PromptBatch, answers: dict[int, Answer]
) -> None:
    answers[3] = replace(
        answers[3],
        token_ids=[[50, encoder.eos_token_id], [63] * 3],
        logprobs=[[-0.5] * 2, [-1.0] * 3],
    )
    with pytest.raises(
        ValueError,
        match=(
            r"prompt 't/3' of \d+ tokens: the engine cut a completion after 3 tokens, before"
            r" rollout\.max_new_tok"
        ),
    ):
        rollouts_of(encoder, batch, SAMPLING, requests_of(encoder, batch, 0), answers)


def _request(*ids: int) -> Request:
    return Request(prompt_id="docvqa/7", token_ids=[], expanded_ids=list(ids), images=[], seed=0)


def test_another_number_of_image_tokens_is_an_error_that_names_the_prompt() -> None:
    check_prompt(_request(1, 9, 9, 2), [1, 9, 9, 2], image_token_id=9)
    with pytest.raises(
        ValueError,
        match=(
            r"prompt 'docvqa/7': the trainer reads 2 image tokens, the engine 3.*model\.max_pixels"
        ),
    ):
        check_prompt(_request(1, 9, 9, 2), [1, 9, 9, 9, 2], image_token_id=9)
    with pytest.raises(ValueError, match=r"prompt 'docvqa/7': the engine reads other token ids"):
        check_prompt(_request(1, 9, 9, 2), [1, 9, 9, 3], image_token_id=9)


def test_a_greedy_completion_is_asked_once_and_stands_for_its_group(
    encoder: QwenEncoder, batch: PromptBatch, answers: dict[int, Answer]
) -> None:
    greedy = replace(SAMPLING, temperature=0.0)
    assert sampling_fields(encoder, greedy, seed=0)["n"] == 1
    single = {
        place: replace(answer, token_ids=answer.token_ids[:1], logprobs=answer.logprobs[:1])
        for place, answer in answers.items()
    }
    rollouts = rollouts_of(encoder, batch, greedy, requests_of(encoder, batch, 0), single)
    assert rollouts.completion_ids[:, 0].tolist() == [
        50,
        50,
        51,
        51,
        52,
        52,
        53,
        53,
        54,
        54,
        55,
        55,
    ]


def test_the_rollouts_are_where_the_batch_is(
    encoder: QwenEncoder, batch: PromptBatch, answers: dict[int, Answer]
) -> None:
    rollouts = rollouts_of(encoder, batch, SAMPLING, requests_of(encoder, batch, 0), answers)
    assert rollouts.completion_ids.device == batch.input_ids.device
    assert rollouts.old_logprobs.dtype == torch.float32
