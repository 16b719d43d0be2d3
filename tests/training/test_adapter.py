"""Training an adapter: what moves, what a checkpoint holds, and that a killed run goes on as if
nothing had happened.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from closeness import near
from hydra.utils import instantiate
from safetensors.torch import load_file

from g2rpo import cli
from g2rpo.algorithm.advantage.ema_grpo import EMAGRPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.data.gym.source import TASKS
from g2rpo.metrics import checked
from g2rpo.policy.adapter import LoRA, is_adapter
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.weight_stream import full_tensors
from g2rpo.rollout.collect import KeepAll
from g2rpo.rollout.hf import HFEngine
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.gradients import GradientConflict
from g2rpo.training.module import G2RPOModule
from g2rpo.training.quiet import quieten
from g2rpo.training.resume import keep_adapter, restore_base

TASKS_OF_A_STEP = ("math", "chart", "grounding")


class LengthPays:
    """Some variety in the rewards of a random model."""

    def score(self, completion: str, prompt: Any) -> dict[str, float]:
        accuracy = min(1.0, len(completion) / 40)
        return {"accuracy": accuracy, "format": 1.0, "structure": 0.0, "total": accuracy}


@pytest.fixture
def fitted(
    tiny_folder: Path,
    encoder: QwenEncoder,
    datamodule: Callable[..., PromptDataModule],
    tmp_path: Path,
    recorder: L.Callback,
) -> Callable[..., G2RPOModule]:
    """Trains so many steps, from a checkpoint if one is given, and writes `folder/last.ckpt`; the
    module afterwards.
    """
    quieten()

    def fit(
        *,
        steps: int = 3,
        adapter: LoRA | None = None,
        folder: str = "run",
        checkpoint: Path | None = None,
        frozen_copy: bool = False,
        kl_coef: float = 0.0,
        scale: float = 1.0,
        gradient_checkpointing: bool = False,
    ) -> G2RPOModule:
        named = Checkpoint(
            path=str(tiny_folder),
            adapter=adapter or LoRA(rank=4),
            gradient_checkpointing=gradient_checkpointing,
        )
        policy = named.policy()
        policy.model.language_model.norm.weight.data.mul_(8.0 * scale)
        reference = named.reference(policy)
        if frozen_copy:
            reference = Checkpoint(path=str(tiny_folder)).policy().requires_grad_(False)
            reference.model.language_model.norm.weight.data.mul_(8.0 * scale)
        module = G2RPOModule(
            policy=policy,
            reference=reference if kl_coef else None,
            encoder=encoder,
            engine=HFEngine(max_new_tokens=6),
            reward=LengthPays(),
            algorithm=Algorithm(
                tasks=TASKS,
                advantage=EMAGRPO(decay=0.5),
                loss=ClipLoss(kl_coef=kl_coef),
                shaping=Shaping(length=None, entropy=None),
                batch=BatchPlan(prompts_per_step=3, group_size=3),
                optimizer=partial(torch.optim.AdamW, lr=0.02),
                group_filter=KeepAll(),
                gradient_conflict=GradientConflict(every_n_steps=1),
                max_grad_norm=1.0,
                failure_budget=0.0,
                seed=0,
            ),
        )
        trainer = L.Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=[recorder],
        )
        trainer.fit(
            module,
            datamodule=datamodule(*TASKS_OF_A_STEP, steps=4),
            ckpt_path=checkpoint,
            weights_only=False,
        )
        trainer.save_checkpoint(tmp_path / folder / "last.ckpt")
        return module

    return fit


def test_training_moves_the_adapter_and_nothing_else(
    fitted: Callable[..., G2RPOModule], tiny_folder: Path
) -> None:
    module = fitted()
    fresh = Checkpoint(path=str(tiny_folder), adapter=LoRA(rank=4)).policy()
    fresh.model.language_model.norm.weight.data.mul_(8.0)
    before = fresh.state_dict()
    moved = {
        name
        for name, value in module.policy.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == {name for name in before if is_adapter(name)}
    optimized = [value for group in module.optimizers().param_groups for value in group["params"]]
    assert {id(value) for value in optimized} == {
        id(value) for name, value in module.policy.named_parameters() if is_adapter(name)
    }
    assert len(optimized) == 4 * 7 * 2
    row = checked(module.last["metrics"])
    assert row["policy/old_logprob_gap"] < 1e-4
    assert row["gradient/norm_ratio"] > 1
    assert all(math.isfinite(value) for value in row.values())


def test_the_reference_without_adapter_is_worth_a_frozen_copy(
    fitted: Callable[..., G2RPOModule],
) -> None:
    own, copied = (
        fitted(kl_coef=0.1, frozen_copy=frozen, folder=str(frozen)) for frozen in (False, True)
    )
    assert own._reference[0] is own.policy
    assert own.last["metrics"]["loss/kl"] == copied.last["metrics"]["loss/kl"] > 1e-4
    assert torch.equal(own.last["experience"].ref_logprobs, copied.last["experience"].ref_logprobs)
    assert all(
        torch.equal(value, copied.policy.state_dict()[name])
        for name, value in own.policy.state_dict().items()
    )


def test_gradient_checkpointing_trains_the_same_adapter(fitted: Callable[..., G2RPOModule]) -> None:
    plain, recomputed = (
        fitted(steps=1, gradient_checkpointing=trade).policy.state_dict() for trade in (False, True)
    )
    assert all(near(value, recomputed[name]) for name, value in plain.items())


def test_a_checkpoint_holds_the_adapter_and_a_run_goes_on_from_it_to_the_bit(
    fitted: Callable[..., G2RPOModule], tmp_path: Path
) -> None:
    unbroken = fitted(steps=4, folder="unbroken")
    fitted(steps=2, folder="killed")
    last = tmp_path / "killed" / "last.ckpt"
    saved = torch.load(last, weights_only=False)
    assert {is_adapter(name) for name in saved["state_dict"]} == {True}
    assert len(saved["state_dict"]) == len(saved["optimizer_states"][0]["state"]) == 4 * 7 * 2
    resumed = fitted(steps=4, folder="resumed", checkpoint=last)
    assert resumed.rollout_batch == 4
    assert all(
        torch.equal(value, resumed.policy.state_dict()[name])
        for name, value in unbroken.policy.state_dict().items()
    )
    assert resumed.algorithm.advantage.moments == unbroken.algorithm.advantage.moments
    assert resumed.last["metrics"]["reward/total"] == unbroken.last["metrics"]["reward/total"]


def test_a_checkpoint_goes_on_with_its_own_adapter_and_its_own_base_only(
    fitted: Callable[..., G2RPOModule], tmp_path: Path
) -> None:
    fitted(steps=1, folder="killed")
    last = tmp_path / "killed" / "last.ckpt"
    with pytest.raises(
        ValueError,
        match=(
            r"resume: expected an adapter with rank 4, alpha 32, layers 28 as in the run to resume,"
            r" got an adapter with rank 2, alpha 32, .*; set the same model\.adapter"
        ),
    ):
        fitted(steps=2, checkpoint=last, adapter=LoRA(rank=2))
    with pytest.raises(ValueError, match=r"alpha 32, .*alpha 16, "):
        fitted(steps=2, checkpoint=last, adapter=LoRA(rank=4, alpha=16))
    with pytest.raises(
        ValueError,
        match=(
            r"resume: expected the base weights that the adapter was trained on \(\w{12}\), got"
            r" others in model\.path \(\w{12}\)"
        ),
    ):
        fitted(steps=2, checkpoint=last, scale=1.001)


def test_a_run_with_an_adapter_and_one_without_do_not_continue_each_other(
    tiny_folder: Path,
) -> None:
    plain, own = (
        Checkpoint(path=str(tiny_folder)).policy(),
        Checkpoint(path=str(tiny_folder), adapter=LoRA(rank=2)).policy(),
    )
    whole = {"state_dict": {f"policy.{name}": value for name, value in plain.state_dict().items()}}
    keep_adapter(whole, plain)
    assert len(whole["state_dict"]) == len(plain.state_dict())
    restore_base(whole, plain)
    with pytest.raises(
        ValueError, match=r"expected no adapter as in the run to resume, got an adapter with rank 2"
    ):
        restore_base(whole, own)
    part = {"state_dict": {f"policy.{name}": value for name, value in own.state_dict().items()}}
    keep_adapter(part, own)
    with pytest.raises(
        ValueError,
        match=r"expected an adapter with rank 2, .* as in the run to resume, got no adapter",
    ):
        restore_base(part, plain)
    restore_base(part, own)
    assert part["state_dict"].keys() == {f"policy.{name}" for name in own.state_dict()}


def test_a_run_from_the_command_line_leaves_merged_weights_and_the_adapter(
    composed: Callable[..., Any], tmp_path: Path
) -> None:
    small = (
        "trainer.max_steps=2",
        "batch.prompts_per_step=4",
        "batch.group_size=4",
        "rollout.max_new_tokens=24",
        "filter=none",
    )
    adapter = (
        "model/adapter=lora",
        "model.adapter.rank=2",
        "optimizer.lr=1e-2",
        "heldout.prompts_per_task=1",
        "loss.kl_coef=0.01",
    )
    cli.train(composed(*small, *adapter, "reward_workers=inline", f"run_dir={tmp_path}"))
    checkpoint = Checkpoint.packaged(name="tiny_qwen3_vl", adapter=LoRA(rank=2))
    own, final = (
        checkpoint.policy(),
        load_file(tmp_path / "checkpoints" / "final" / "model.safetensors"),
    )
    base = dict(full_tensors(own))
    written = load_file(tmp_path / "checkpoints" / "adapter" / "adapter_model.safetensors")
    for name, value in own.named_parameters():
        if is_adapter(name):
            value.data.copy_(written["base_model.model." + name.replace(".default", "")])
    merged = dict(full_tensors(own))
    assert final.keys() | {"lm_head.weight"} == base.keys()  # which is tied to the embedding
    assert all(torch.equal(value, merged[name]) for name, value in final.items())
    assert sum(not torch.equal(value, base[name]) for name, value in final.items()) == 4 * 7


def test_a_wrong_setting_of_an_adapter_ends_the_run_with_its_key(
    composed: Callable[..., Any], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert composed("model/adapter=lora", "seed=5").model.adapter.seed == 5
    with pytest.raises(SystemExit):
        cli.train(composed("model/adapter=lora", "model.adapter.rank=0", f"run_dir={tmp_path}"))
    assert caplog.messages[-1].startswith("model.adapter.rank: expected 1 or more, got 0")
    assert instantiate(composed().model.adapter) is None
