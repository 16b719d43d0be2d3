"""What a trainer asks its engine's process, and what comes back, through a socket."""

import math
import socket

import pytest
from PIL import Image

from g2rpo.policy.encoder import ChatEncoder
from g2rpo.records import PromptBatch, Sampling
from g2rpo.rollout.vllm_messages import (
    answer_message,
    generate_message,
    read_answer,
    read_requests,
)
from g2rpo.rollout.vllm_requests import Answer, requests_of, sampling_fields
from g2rpo.wire import Wire


def test_requests_arrive_as_they_were_with_all_their_pixels(
    encoder: ChatEncoder, batch: PromptBatch
) -> None:
    sampling = Sampling(group_size=3, max_new_tokens=8, temperature=0.7)
    asked = [
        (place, request, sampling_fields(encoder, sampling, request.seed))
        for place, request in enumerate(requests_of(encoder, batch, 4))
    ][1:]
    assert sum(len(request.images) for _, request, _ in asked) > 1
    one, two = (Wire(end) for end in socket.socketpair())
    one.send(*generate_message(asked))
    found = read_requests(*two.receive())
    one.close()
    two.close()
    assert found == asked
    assert all(isinstance(token, int) for token in found[0][2]["logit_bias"])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_pixels_of_any_mode_arrive(mode: str) -> None:
    image = Image.effect_noise((13, 7), 80).convert(mode)
    assert Image.frombytes(mode, image.size, image.tobytes()) == image


def test_an_answer_arrives_to_the_last_bit() -> None:
    answer = Answer(
        prompt_ids=[1, 2], token_ids=[[5, 7], [9]], logprobs=[[-1 / 3, -1e-17], [-math.pi]]
    )
    one, two = (Wire(end) for end in socket.socketpair())
    one.send(answer_message(3, answer))
    assert read_answer(two.receive()[0]) == (3, answer)
    one.close()
    two.close()
