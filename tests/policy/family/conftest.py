"""Tiny checkpoints of all families, and prompts with none, one and two images."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_families import BUILDERS, Case

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.records import Prompt, Sampling
from g2rpo.rollout.hf import HFEngine


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`family_folder("gemma3")`: a checkpoint of that `model_type`, built once."""
    built: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in built:
            built[kind] = tmp_path_factory.mktemp("family") / kind
            BUILDERS[kind](built[kind])
        return built[kind]

    return folder


@pytest.fixture(scope="session")
def family_prompts() -> tuple[Prompt, ...]:
    """One image, none, two of different sizes, and a flat one."""

    def noise(seed: int, width: int, height: int) -> Image.Image:
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 256, (height, width, 3), generator=generator)
        return Image.fromarray(pixels.to(torch.uint8).numpy())

    images = [(noise(0, 64, 64),), (), (noise(1, 90, 40), noise(2, 30, 30)), (noise(3, 20, 60),)]
    return tuple(
        Prompt(
            id=f"t/{i}",
            task="math",
            text="how many? " * (i + 1),
            images=own,
            answer="1",
            answer_type="numerical",
        )
        for i, own in enumerate(images)
    )


@pytest.fixture(scope="session")
def case(
    family_folder: Callable[[str], Path], family_prompts: tuple[Prompt, ...]
) -> Callable[[str], Case]:
    """`case("gemma3")`: made once; tests must not change its policy."""
    made: dict[str, Case] = {}

    def of(kind: str) -> Case:
        if kind not in made:
            checkpoint = Checkpoint(path=str(family_folder(kind)))
            policy, encoder = checkpoint.policy(), checkpoint.encoder()
            batch = encoder.encode(family_prompts)
            engine = HFEngine(max_new_tokens=8)
            engine.start(policy, encoder)
            rollouts = engine.generate(batch, Sampling(group_size=3, max_new_tokens=8), seed=1)
            made[kind] = Case(kind, family_folder(kind), policy, encoder, batch, rollouts)
        return made[kind]

    return of
