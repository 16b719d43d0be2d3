"""Speed of a step whose tokens are counted by hand."""

from collections import Counter
from typing import Any

import pytest
import torch

from g2rpo.metrics import checked
from g2rpo.policy.adapter import LoRA
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.flops import cost_of, text_flops, vision_flops
from g2rpo.records import Sampling, Scores
from g2rpo.rollout.kept_groups import Collected
from g2rpo.training.step_metrics import throughput

LENGTHS = [2, 5, 1, 3]


@pytest.fixture
def collected(policy: Any, encoder: QwenEncoder, scripted: Any, prompts_of: Any) -> Collected:
    batch = encoder.encode(prompts_of("math", "chart"))
    engine = scripted(lengths=LENGTHS)
    engine.start(policy, encoder)
    rollouts = engine.generate(batch, Sampling(group_size=2, max_new_tokens=5), 0)
    return Collected(
        batch=batch,
        rollouts=rollouts,
        scores=Scores(total=torch.zeros(4), parts={}),
        failed=torch.zeros(4, dtype=torch.bool),
        draws=1,
        drawn=Counter(),
        kept=Counter(),
        places=[0, 1],
        num_groups=2,
        accuracies={},
        empty=False,
    )


def test_tokens_and_work_are_those_of_the_step_over_its_seconds(
    policy: Any, collected: Collected
) -> None:
    prompts = collected.batch.attention_mask.sum(1)
    found = checked(throughput(policy, collected, "shared", 4.0))
    assert found["time/tokens_per_second"] == (int(prompts.sum()) + 11) / 4
    cost = cost_of(policy)
    forward = vision_flops(policy, cost, collected.batch) + text_flops(
        cost, prompts, torch.tensor(LENGTHS), torch.tensor([0, 0, 1, 1]), shared=True
    )
    assert found["time/tflops"] == pytest.approx(4 * forward / 4 / 1e12)


def test_frozen_weights_beside_an_adapter_need_no_gradient_of_their_own(
    policy: Any, collected: Collected
) -> None:
    LoRA(rank=1).attach(policy)
    cost, prompts = cost_of(policy), collected.batch.attention_mask.sum(1)
    forward = vision_flops(policy, cost, collected.batch) + text_flops(
        cost, prompts, torch.tensor(LENGTHS), torch.tensor([0, 0, 1, 1]), shared=True
    )
    assert throughput(policy, collected, "shared", 4.0)["time/tflops"] == pytest.approx(
        3 * forward / 4 / 1e12
    )


def test_a_copied_prompt_and_padding_are_of_no_use(policy: Any, collected: Collected) -> None:
    assert throughput(policy, collected, "shared", 1.0)["time/useful_frac"] == 1.0
    width = collected.batch.attention_mask.shape[1]
    repeated = throughput(policy, collected, "repeated", 1.0)["time/useful_frac"]
    assert repeated == pytest.approx(
        (int(collected.batch.attention_mask.sum()) + 7) / (4 * (width + 5))
    )
