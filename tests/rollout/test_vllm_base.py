"""When an engine gets weights and is verified, with a stand-in for the engine."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.hf import HFEngine
from g2rpo.rollout.vllm_base import Generate, VLLMBase
from g2rpo.rollout.vllm_settings import EngineSettings

GROUP = Sampling(group_size=2, max_new_tokens=8)


class Noting(VLLMBase):
    """Answers with the policy itself, `off` nats beside it, and notes what is done."""

    def __init__(self) -> None:
        super().__init__(EngineSettings(max_new_tokens=8))
        self.done: list[str] = []
        self.state = "at the start"
        self.off = 0.0

    def start(self, policy: Any, encoder: QwenEncoder) -> None:
        super().start(policy, encoder)
        self.own = HFEngine(max_new_tokens=8)
        self.own.start(policy, encoder)

    def _stale(self) -> str:
        return self.state

    def _send_weights(self) -> None:
        self.state = ""
        self.done.append("send")

    def _engines(self) -> list[tuple[str, Generate]]:
        return [(" (here)", self._probed)]

    def _probed(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        self.done.append("probe")
        rollouts = self.own.generate(batch, sampling, seed)
        return replace(rollouts, old_logprobs=rollouts.old_logprobs + self.off)

    def _answers(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        self.done.append("answer")
        return self.own.generate(batch, sampling, seed)


@pytest.fixture
def engine(policy: Any, encoder: QwenEncoder) -> Noting:
    engine = Noting()
    engine.start(policy, encoder)
    return engine


def test_weights_are_sent_before_a_block_and_verified_once_after_it(
    engine: Noting, policy: Any, batch: PromptBatch
) -> None:
    engine.load_weights(policy, 0)  # nothing is started yet, and so nothing sent
    with engine.generating():
        engine.generate(batch, GROUP, 0)
        engine.generate(batch, GROUP, 1)
    assert engine.done == ["send", "answer", "answer", "probe"]
    engine.generate(batch, GROUP, 2)
    assert engine.done[4:] == ["answer"]
    engine.load_weights(policy, 1)
    assert engine.done[5:] == ["send", "probe"]
    engine.state = "after waking up"
    engine.generate(batch, GROUP, 3)
    assert engine.done[7:] == ["send", "probe", "answer"]


def test_an_engine_that_was_restarted_in_a_block_is_verified_before_anyone_learns_from_it(
    engine: Noting, batch: PromptBatch
) -> None:
    engine.generate(batch, GROUP, 0)
    engine.off = 0.1
    with (  # noqa: PT012
        pytest.raises(
            RuntimeError,
            match=r"after a restart \(here\), engine and trainer .* differ by 0\.1 nats",
        ),
        engine.generating(),
    ):
        engine.generate(batch, GROUP, 1)
        engine._unverified = "after a restart"


def test_an_error_in_a_block_is_not_hidden_by_a_probe(engine: Noting, batch: PromptBatch) -> None:
    with pytest.raises(ZeroDivisionError), engine.generating():
        raise ZeroDivisionError
    assert engine.done == ["send"]
    engine.generate(batch, GROUP, 0)
    assert engine.done == ["send", "answer", "probe"]


def test_a_family_that_vllm_reads_in_another_way_is_refused_with_the_reason(
    encoder: QwenEncoder,
) -> None:
    gemma = SimpleNamespace(config=SimpleNamespace(model_type="gemma3"))
    engine = VLLMBase(EngineSettings(max_new_tokens=4))
    with pytest.raises(
        ValueError, match=r"^rollout: expected hf with model_type 'gemma3', .* see each other"
    ):
        engine.start(gemma, encoder)
