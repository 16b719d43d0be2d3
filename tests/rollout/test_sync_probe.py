"""The probe between a policy and engines that are, or are not, in step with it."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.hf import HFEngine
from g2rpo.rollout.sync_probe import Gap, SyncProbe

SAMPLING = Sampling(group_size=4, max_new_tokens=12, temperature=0.7)
Generate = Callable[[PromptBatch, Sampling, int], Rollouts]


@pytest.fixture
def probe(batch: PromptBatch) -> SyncProbe:
    probe = SyncProbe(sampling=SAMPLING, max_gap=2e-4)
    probe.remember(batch)
    return probe


def generate(policy: Any, encoder: QwenEncoder) -> Generate:
    engine = HFEngine(max_new_tokens=12)
    engine.start(policy, encoder)
    return engine.generate


def asked_gap(probe: SyncProbe, policy: Any, encoder: QwenEncoder, engine: Generate) -> Gap:
    return probe.gap(policy, encoder, *probe.ask(encoder, engine, policy.device))


def test_an_engine_with_the_same_weights_passes(
    probe: SyncProbe, policy: Any, encoder: QwenEncoder
) -> None:
    gap = asked_gap(probe, policy, encoder, generate(policy, encoder))
    assert 0 < probe.check(gap, "now") < 2e-5


@pytest.mark.parametrize("part", ["visual", "language_model"])
def test_an_engine_with_older_weights_is_caught_and_what_differs_is_said(
    part: str, probe: SyncProbe, policy: Any, encoder: QwenEncoder
) -> None:
    newer = copy.deepcopy(policy)
    with torch.no_grad():
        for parameter in getattr(newer.model, part).parameters():
            parameter.mul_(1.05)
    gap = asked_gap(probe, newer, encoder, generate(policy, encoder))
    assert gap.nats > 1e-2
    with pytest.raises(
        RuntimeError,
        match=(
            rf"after step 3, engine and trainer give token \d+ .* prompt '{gap.prompt_id}'.*other"
            r" weights"
        ),
    ):
        probe.check(gap, "after step 3")


def test_log_probabilities_at_another_temperature_are_caught(
    probe: SyncProbe, policy: Any, encoder: QwenEncoder
) -> None:
    own = generate(policy, encoder)

    def untempered(batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        return replace(own(batch, replace(sampling, temperature=1.0), seed))

    assert asked_gap(probe, policy, encoder, untempered).nats > 1e-2


def test_no_number_is_no_agreement(probe: SyncProbe, policy: Any, encoder: QwenEncoder) -> None:
    own = generate(policy, encoder)

    def broken(batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        rollouts = own(batch, sampling, seed)
        rollouts.old_logprobs[1, 0] = float("nan")
        return rollouts

    gap = asked_gap(probe, policy, encoder, broken)
    with pytest.raises(RuntimeError, match="differ by nan nats"):
        probe.check(gap, "now")


def test_prompts_with_images_are_asked_first(
    probe: SyncProbe, batch: PromptBatch, encoder: QwenEncoder
) -> None:
    assert [prompt.id for prompt in probe.batch.prompts] == [
        "t/0",
        "t/1",
        "t/3",
        "t/4",
    ]  # t/2 has no image
    probe.remember(encoder.encode([batch.prompts[2]]))
    assert [prompt.id for prompt in probe.batch.prompts] == ["t/2"]


def test_the_probe_draws_single_short_completions_at_the_temperature_of_training(
    probe: SyncProbe,
) -> None:
    assert probe.sampling == Sampling(group_size=1, max_new_tokens=8, temperature=0.7)


def test_a_rank_without_prompts_asks_a_fixed_one(policy: Any, encoder: QwenEncoder) -> None:
    probe = SyncProbe(sampling=SAMPLING, max_gap=2e-4)
    gap = asked_gap(probe, policy, encoder, generate(policy, encoder))
    assert gap.prompt_id == "sync_probe"
    assert 0 < probe.check(gap, "now") < 2e-5
