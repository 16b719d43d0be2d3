"""An adapter reaches engines with weights of their own as part of the weights: names and values of
an ordinary checkpoint.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from g2rpo.policy.adapter import LoRA
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.stats import token_stats
from g2rpo.policy.weight_stream import full_tensors
from g2rpo.records import PromptBatch, Sampling
from g2rpo.rollout.hf import HFEngine
from g2rpo.rollout.serving_folder import write_serving_folder
from g2rpo.rollout.vllm import VLLMEngine
from g2rpo.rollout.vllm_host import Host
from g2rpo.rollout.weights_folder import weight_bytes


@pytest.fixture
def adapted(policy: Any) -> Any:
    """The lively policy with an adapter that matters."""
    own = copy.deepcopy(policy)
    LoRA(rank=2, alpha=4, vision=True).attach(own)
    generator = torch.Generator().manual_seed(1)
    for name, value in own.named_parameters():
        if ".lora_B." in name:
            value.data.copy_(torch.randn(value.shape, generator=generator) * 0.3)
    return own


class Receiver:
    """Stands for vLLM's engine: keeps what it is told to load."""

    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}

    def collective_rpc(self, method: str, kwargs: dict[str, Any]) -> None:
        assert method == "reload_weights"
        self.weights = {name: value.clone() for name, value in kwargs["weights_iterator"]}


def test_the_engine_in_this_process_gets_merged_weights_under_the_names_of_a_checkpoint(
    policy: Any, adapted: Any
) -> None:
    engine, receiver = VLLMEngine(max_new_tokens=4), Receiver()
    engine._llm = Host.__new__(Host)  # without the engine that it would build
    engine._llm.llm = receiver
    engine._policy = policy
    engine.push()
    plain = receiver.weights
    assert all(torch.equal(value, plain[name]) for name, value in policy.state_dict().items())
    engine._policy = adapted
    engine.push()
    got = receiver.weights
    assert list(got) == list(plain)
    changed = {name for name, value in got.items() if not torch.equal(value, plain[name])}
    # 4 layers of 7 projections; 3 blocks of 4, 3 mergers of 2
    assert len(changed) == 4 * 7 + 3 * 4 + 3 * 2
    assert all(torch.equal(value, got[name]) for name, value in full_tensors(adapted))


def test_the_folder_for_servers_holds_merged_weights(
    adapted: Any, encoder: QwenEncoder, tmp_path: Path
) -> None:
    write_serving_folder(adapted, encoder, tmp_path)
    written, merged = load_file(tmp_path / "model-0-0.safetensors"), dict(full_tensors(adapted))
    assert written.keys() == merged.keys()
    assert all(torch.equal(value, merged[name]) for name, value in written.items())


def test_a_sleeping_engine_need_not_free_an_adapter_it_does_not_have(
    policy: Any, adapted: Any
) -> None:
    assert weight_bytes(policy) == weight_bytes(adapted) > 0


@torch.no_grad()
def test_the_policy_itself_samples_with_its_adapter(
    policy: Any, adapted: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    sampling = Sampling(group_size=3, max_new_tokens=12)
    engine = HFEngine(max_new_tokens=12)
    engine.start(adapted, encoder)
    drawn = engine.generate(batch, sampling, seed=0)

    def gap(model: Any) -> float:
        own = token_stats(
            model,
            batch,
            drawn.completion_ids,
            drawn.completion_mask,
            forbidden=tuple(encoder.forbidden_token_ids),
        )
        return float((own.logprobs - drawn.old_logprobs).abs().max())

    assert gap(adapted) < 1e-4
    assert gap(policy) > 0.5
