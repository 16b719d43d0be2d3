"""A random tiny model, and an engine and a reward that do what a test wrote down."""

import copy
import math
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from g2rpo.data.gym.source import GymSource
from g2rpo.data.mixture import TaskMix
from g2rpo.data.stream import PromptStream
from g2rpo.interfaces import Encoder
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.stats import token_stats
from g2rpo.records import Prompt, PromptBatch, Rollouts, Sampling
from g2rpo.training.datamodule import PromptDataModule

SHARPNESS = 8.0
"""A random model guesses evenly everywhere. Larger logits give every token a probability and an
entropy of its own.
"""


@pytest.fixture(scope="session")
def encoder(tiny_folder: Path) -> QwenEncoder:
    return Checkpoint(path=str(tiny_folder)).encoder()


@pytest.fixture(scope="session")
def _loaded(tiny_folder: Path) -> Any:
    policy = Checkpoint(path=str(tiny_folder)).policy()
    policy.model.language_model.norm.weight.data.mul_(SHARPNESS)
    return policy


@pytest.fixture
def policy(_loaded: Any) -> Any:
    """The random model with sharpened predictions; every test has its own copy."""
    return copy.deepcopy(_loaded)


def gym_prompts(*tasks: str) -> list[Prompt]:
    return [GymSource(levels=[0]).get(task, index, "train") for index, task in enumerate(tasks)]


@pytest.fixture
def prompts_of() -> Callable[..., list[Prompt]]:
    """`prompts_of("math", "chart")`: a gym prompt for each task."""
    return gym_prompts


def completion(length: int, seed: int, eos: int) -> list[int]:
    """So many token ids, the end token last; the others are ordinary bytes of the tokenizer's
    alphabet.
    """
    generator = torch.Generator().manual_seed(seed)
    return [*torch.randint(10, 200, (length - 1,), generator=generator).tolist(), eos]


class ScriptedEngine:
    """Completions of the given lengths. The policy's probability of each token is `ratios[row]`
    times what the sampler reports.
    """

    def __init__(self, *, lengths: Sequence[int], ratios: Sequence[float] | None = None) -> None:
        self.sampling = Sampling(group_size=1, max_new_tokens=max(lengths))
        self.lengths = list(lengths)
        self.ratios = list(ratios or [1.0] * len(lengths))
        self.synced: list[tuple[int, dict[str, Tensor]]] = []
        self.seeds: list[int] = []

    def start(self, policy: Any, encoder: Encoder) -> None:
        self.policy, self.encoder = policy, encoder

    def load_weights(self, policy: Any, step: int) -> None:
        self.synced.append(
            (step, {name: value.clone() for name, value in policy.state_dict().items()})
        )

    @torch.no_grad()
    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        self.seeds.append(seed)
        num = len(batch.prompts) * sampling.group_size
        lengths = [*islice(cycle(self.lengths), num)]
        ids = torch.full((num, max(lengths)), self.encoder.pad_token_id)
        for row, length in enumerate(lengths):
            ids[row, :length] = torch.tensor(completion(length, row, self.encoder.eos_token_id))
        mask = torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]
        forbidden = tuple(self.encoder.forbidden_token_ids)
        logprobs = token_stats(self.policy, batch, ids, mask, forbidden=forbidden).logprobs
        shift = torch.tensor([math.log(ratio) for ratio in islice(cycle(self.ratios), num)])
        return Rollouts(
            completion_ids=ids,
            completion_mask=mask,
            old_logprobs=(logprobs - shift[:, None]).masked_fill(~mask, 0.0),
            prompt=torch.arange(len(batch.prompts)).repeat_interleave(sampling.group_size),
            finished=torch.ones(len(ids), dtype=torch.bool),
            texts=tuple(f"completion {row}" for row in range(len(ids))),
        )


class ListedReward:
    """The accuracies of a list, one completion after the other, again and again; format is always
    kept, and total is accuracy.
    """

    def __init__(self, accuracies: Sequence[float]) -> None:
        self.accuracies = list(accuracies)
        self.calls = 0

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        accuracy = self.accuracies[self.calls % len(self.accuracies)]
        self.calls += 1
        return {"accuracy": accuracy, "format": 1.0, "structure": 0.0, "total": accuracy}


class Recorder(L.Callback):
    """Keeps what `training_step` returned last, as `module.last`."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        pl_module.last = outputs


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def scripted() -> type[ScriptedEngine]:
    return ScriptedEngine


@pytest.fixture
def listed() -> type[ListedReward]:
    return ListedReward


@pytest.fixture
def datamodule(encoder: QwenEncoder) -> Callable[..., PromptDataModule]:
    """`datamodule("math", "chart", steps=2)`: one gym prompt of each task a step."""

    def build(*tasks: str, steps: int) -> PromptDataModule:
        mix = TaskMix(weights=dict.fromkeys(tasks, 1.0))
        stream = PromptStream(source=GymSource(levels=[0]), mix=mix, seed=0)
        return PromptDataModule(
            stream=stream, encoder=encoder, num_prompts=len(tasks), num_steps=steps
        )

    return build
