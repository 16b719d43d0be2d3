"""A random tiny policy that ends its completions often and longs for forbidden tokens, and batches
whose content tells their owner.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_server import FakeServer
from PIL import Image
from torch import Tensor

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import Prompt, PromptBatch
from g2rpo.rollout.vllm_server import VLLMServerEngine

LIVELINESS = 6.0
"""Factor on all weight matrices: freshly drawn ones predict almost evenly, whatever they read."""


@pytest.fixture(scope="session")
def encoder(tiny_folder: Path) -> QwenEncoder:
    return QwenEncoder(path=tiny_folder)


@pytest.fixture(scope="session")
def policy(tiny_folder: Path, encoder: QwenEncoder) -> Any:
    """Shared by all tests: they must not change it."""
    policy = Checkpoint(path=str(tiny_folder)).policy()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(LIVELINESS if parameter.ndim > 1 else 1.0)

    def prefer(module: Any, args: Any, logits: Tensor) -> Tensor:
        bonus = torch.zeros(logits.shape[-1])
        bonus[encoder.eos_token_id] = 3.0
        bonus[list(encoder.forbidden_token_ids)] = 4.0
        return logits + bonus

    policy.lm_head.register_forward_hook(prefer)
    return policy


@pytest.fixture(scope="session")
def batch(encoder: QwenEncoder) -> PromptBatch:
    """Six prompts of different lengths with one, two, no, one, one and no images."""

    def prompt(index: int, text: str, *seeds: int) -> Prompt:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        pixels = [
            torch.randint(0, 256, (64, 64, 3), generator=g).to(torch.uint8).numpy()
            for g in generators
        ]
        images = [Image.fromarray(array) for array in pixels]
        return Prompt(
            id=f"t/{index}",
            task="math",
            text=text,
            images=images,
            answer="1",
            answer_type="numerical",
        )

    texts = [
        ("how many squares are there?", 0),
        ("read.", 1, 2),
        ("two and two?",),
        ("why is the circle red?", 3),
        ("look", 4),
        ("red?",),
    ]
    return encoder.encode([prompt(index, *text) for index, text in enumerate(texts)])


@pytest.fixture(scope="session")
def made() -> Callable[..., PromptBatch]:
    """`made(("a", "math", 2), ("b", "chart", 0))`: prompts a and b with 2 and 0 images; tokens and
    pixels say whose they are.
    """

    def batch_of(*prompts: tuple[str, str, int]) -> PromptBatch:
        tokens = [[ord(name)] * (3 + images) for name, _, images in prompts]
        longest = max(len(row) for row in tokens)
        sizes = [
            (ord(name) + k / 10, 2 * (k + 1)) for name, _, images in prompts for k in range(images)
        ]
        return PromptBatch(
            prompts=tuple(
                Prompt(
                    id=name,
                    task=task,
                    text=name,
                    images=["?"] * images,
                    answer="1",
                    answer_type="numerical",
                )
                for name, task, images in prompts
            ),
            input_ids=torch.tensor([[0] * (longest - len(row)) + row for row in tokens]),
            attention_mask=torch.tensor(
                [[0] * (longest - len(row)) + [1] * len(row) for row in tokens]
            ),
            num_images=torch.tensor([images for _, _, images in prompts]),
            position=torch.arange(len(prompts)),
            images=tuple(
                {
                    "pixel_values": torch.full((2 * width, 3), value),
                    "image_grid_thw": torch.tensor([[1, 2, width]]),
                }
                for value, width in sizes
            ),
        )

    return batch_of


@pytest.fixture
def fake(encoder: QwenEncoder) -> Iterator[Callable[[], FakeServer]]:
    """Makes servers that read images as the encoder does."""
    servers: list[Any] = []

    def make() -> Any:
        servers.append(FakeServer.reading_like(encoder))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def started(policy: Any, encoder: QwenEncoder, tmp_path: Path) -> Callable[..., VLLMServerEngine]:
    """An engine on these servers. The stand-in invents its log-probabilities, so the probe is told
    to let everything pass.
    """

    def start(*servers: Any, **options: Any) -> VLLMServerEngine:
        given = {
            "max_new_tokens": 8,
            "weights_dir": str(tmp_path / "weights"),
            "max_sync_gap": 1e9,
            "timeout_s": 5.0,
            "start_s": 5.0,
        }
        engine = VLLMServerEngine(**given | {"urls": [server.url for server in servers]} | options)
        engine.start(policy, encoder)
        return engine

    return start
