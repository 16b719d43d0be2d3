"""Trainers let the encoder process images on their device, once for sampling and update."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch

from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.data.gym.source import TASKS
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.patches import Patches
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import PromptBatch
from g2rpo.rollout.collect import KeepAll
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.cold_start import DemonstrationData
from g2rpo.training.gradients import GradientConflict
from g2rpo.training.lightning_hooks import LightningHooks
from g2rpo.training.module import G2RPOModule
from g2rpo.training.quiet import quieten

TRAINER = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta")), world_size=1)
"""A trainer on a device that stands in for a GPU."""


def test_training_processes_images_on_the_device_of_the_trainer(tiny_folder: Path) -> None:
    encoder = Checkpoint(path=str(tiny_folder)).encoder()
    LightningHooks.setup(SimpleNamespace(trainer=TRAINER, encoder=encoder), "fit")
    assert encoder.device.type == "meta"


def test_a_cold_start_processes_images_on_the_device_of_the_trainer(tiny_folder: Path) -> None:
    encoder = Checkpoint(path=str(tiny_folder)).encoder()
    demonstrations = SimpleNamespace(encoder=encoder)
    DemonstrationData.setup(SimpleNamespace(trainer=TRAINER, demonstrations=demonstrations), "fit")
    assert encoder.device.type == "meta"


def test_an_encoder_of_the_user_needs_no_device() -> None:
    LightningHooks.setup(SimpleNamespace(trainer=TRAINER, encoder=object()), "fit")


def module(policy: Any, encoder: QwenEncoder, engine: Any, reward: Any) -> G2RPOModule:
    algorithm = Algorithm(
        tasks=TASKS,
        advantage=G2RPO(scope="group"),
        loss=ClipLoss(),
        shaping=Shaping(length=None, entropy=None),
        batch=BatchPlan(prompts_per_step=2, group_size=2),
        optimizer=partial(torch.optim.SGD, lr=1e-4),
        group_filter=KeepAll(),
        gradient_conflict=GradientConflict(every_n_steps=None),
    )
    return G2RPOModule(
        policy=policy, encoder=encoder, engine=engine, reward=reward, algorithm=algorithm
    )


def test_sampling_and_update_take_the_same_patches_which_are_made_once(
    policy: Any,
    encoder: QwenEncoder,
    scripted: Any,
    listed: Any,
    datamodule: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, used = [], []
    process, concatenated = Patches.__call__, PromptBatch.image_inputs

    def recorded(patches: Patches, image: Any, device: torch.device) -> torch.Tensor:
        made.append(process(patches, image, device))
        return made[-1]

    def inputs(batch: PromptBatch) -> dict[str, torch.Tensor]:
        used.append([image["pixel_values"].data_ptr() for image in batch.images])
        return concatenated(batch)

    monkeypatch.setattr(Patches, "__call__", recorded)
    monkeypatch.setattr(PromptBatch, "image_inputs", inputs)
    quieten()
    trainer = L.Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trained = module(policy, encoder, scripted(lengths=[3, 5, 2, 7]), listed([1.0, 0.0]))
    trainer.fit(trained, datamodule=datamodule("math", "chart", steps=1))
    assert len(made) == 2
    assert len(used) >= 2  # by the engine and by the update
    assert all(pointers == [patches.data_ptr() for patches in made] for pointers in used)
