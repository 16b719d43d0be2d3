"""Sharded models are loaded when the processes are connected; see also `test_ranks.py`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rank_processes import run_ranks

from g2rpo.training.build import build_module, build_trainer
from g2rpo.training.parts import build_parts
from g2rpo.training.sharded_strategy import ShardedStrategy

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_trainer_fsdp_loads_no_weights_before_training(
    composed: Callable[..., Any], tmp_path: Path
) -> None:
    cfg = composed("trainer=fsdp", "trainer.accelerator=cpu", f"run_dir={tmp_path}")
    trainer = build_trainer(cfg)
    module = build_module(cfg, build_parts(cfg), trainer)
    assert isinstance(trainer.strategy, ShardedStrategy)
    assert module.policy is None


@pytest.fixture(scope="module")
def found(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks measured in `sharded_ranks.py`."""
    out = tmp_path_factory.mktemp("sharded")
    run_ranks(Path(__file__).with_name("sharded_ranks.py"), tiny_folder, out)
    return [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_gradients_are_those_of_a_plain_policy_whatever_passes_a_rank_makes(
    found: list[dict[str, Any]],
) -> None:
    for rank in found:
        gaps = {name: gap for name, gap in rank.items() if name.startswith(("flat ", "replicated"))}
        assert len(gaps) == 15
        assert max(gaps.values()) < 1e-5, gaps


def test_every_rank_holds_its_share_and_only_shards_after_passes(
    found: list[dict[str, Any]],
) -> None:
    for rank in found:
        assert rank["head"] == "Linear"
        assert rank["share"] == pytest.approx(0.5, abs=0.02)
        assert rank["shards after a pass"]
        assert rank["plain when gathered"]
        assert rank["shards after gathering"]
        assert rank["digest"] == rank["plain digest"]


def test_a_minibatch_without_images_leaves_the_vision_tower_alone(
    found: list[dict[str, Any]],
) -> None:
    assert [rank["vision without images"] for rank in found] == [[], []]


def test_a_loss_that_is_not_finite_is_raised_on_all_ranks_with_rank_and_task(
    found: list[dict[str, Any]],
) -> None:
    said = {rank["nan"] for rank in found}
    assert len(said) == 1
    assert re.fullmatch(r"loss became nan \(rank 1, prompts math '.+'\)", said.pop())
    assert not any(rank["gradients after nan"] for rank in found)


def test_bfloat16_computes_and_float32_holds_the_gradient(found: list[dict[str, Any]]) -> None:
    for rank in found:
        assert rank["bf16 dtype"] == "torch.float32"
        assert rank["bf16 cosine"] > 0.99


def test_the_fused_kernel_of_adamw_updates_shards(found: list[dict[str, Any]]) -> None:
    assert [rank["fused"] < 1e-5 for rank in found] == [True, True]
