"""The records that flow through a step, from the prompt to the experience that the loss receives.

    Prompt -> PromptBatch -> Rollouts -> Scores -> advantages -> Experience
    data      policy         rollout     reward    advantage     rollout/collect.py

A batch has `p` prompts with `group_size` completions each, so `b = p * group_size` rows. Row `i`
answers prompt `i // group_size`. Prompts and images are stored once per group. A field never
changes its meaning: the raw reward, the shaped reward and the advantage are three fields.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.host_copy import copied
from g2rpo.prompt import LOGGED as LOGGED
from g2rpo.prompt import Failed as Failed
from g2rpo.prompt import Prompt as Prompt


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptBatch:
    """`p` encoded prompts: token ids padded on the left to `l`, and the tensors of all images.

    Example, two prompts with one image of two visual tokens each (IMG):
        input_ids      = [[PAD, BOS, IMG, IMG, 17], [BOS, IMG, IMG, 23, 42]]
        attention_mask = [[0,   1,   1,   1,   1 ], [1,   1,   1,   1,  1 ]]
    """

    prompts: tuple[Prompt, ...]
    input_ids: Int[Tensor, "p l"]
    attention_mask: Int[Tensor, "p l"]
    num_images: Int[Tensor, " p"]
    position: Int[Tensor, " p"]
    """Position of each prompt among those that all ranks draw together, plus `draw.PER_DRAW` for
    each earlier draw of the step. With the seed it determines the prompt's completions, so that
    these do not depend on the number of ranks.
    """
    images: tuple[Mapping[str, Tensor], ...] = ()
    """Inputs of the vision tower for every image, in the order of the prompts. Names and shapes are
    those of the model's family; the first dimension counts patches, crops or images.
    """

    def task_positions(self, tasks: Sequence[str]) -> Int[Tensor, " p"]:
        """Return the position of each prompt's task among the tasks of the run."""
        place = {task: position for position, task in enumerate(tasks)}
        return torch.tensor(
            [place[prompt.task] for prompt in self.prompts],
            dtype=torch.long,
            device=self.input_ids.device,
        )

    def to(self, device: torch.device | str) -> Self:
        """Return the batch with all tensors on `device`."""
        moved: dict[str, Any] = {
            f.name: copied(v, device)
            for f in fields(self)
            if isinstance(v := getattr(self, f.name), Tensor)
        }
        images = tuple(
            {name: copied(value, device) for name, value in image.items()} for image in self.images
        )
        return replace(self, images=images, **moved)

    def image_inputs(self) -> dict[str, Tensor]:
        """Return the tensors of all images, concatenated by name; {} without images."""
        names = self.images[0] if self.images else ()
        return {name: torch.cat([image[name] for image in self.images]) for name in names}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Sampling parameters. `temperature=0` means greedy decoding."""

    group_size: int
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.group_size < 1:
            raise ValueError(
                f"group_size: expected at least 1 completion per prompt, got {self.group_size}"
            )
        if self.max_new_tokens < 1:
            raise ValueError(
                f"rollout.max_new_tokens: expected at least 1 token, got {self.max_new_tokens}"
            )
        if self.temperature < 0:
            raise ValueError(
                f"rollout.temperature: expected 0 (greedy) or more, got {self.temperature}"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"rollout.top_p: expected a share in (0, 1], got {self.top_p}")

    def with_group_size(self, group_size: int) -> Self:
        """Return the same parameters with another number of completions per prompt."""
        return replace(self, group_size=group_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollouts:
    """`b` completions, `group_size` per prompt, padded on the right to `t` tokens.

    Example, two prompts, group_size 2:  prompt = [0, 0, 1, 1]
        completion_ids  = [[5, 7, EOS], [5, EOS, PAD], ...]
        completion_mask = [[1, 1, 1],   [1, 1,   0],   ...]     EOS is trained, padding is not
    """

    completion_ids: Int[Tensor, "b t"]
    completion_mask: Bool[Tensor, "b t"]
    old_logprobs: Float[Tensor, "b t"]
    """Log-probability of each token under the policy that sampled it, at the sampling temperature,
    in nats; 0 where the mask is False.
    """
    prompt: Int[Tensor, " b"]
    """Index of the prompt that each completion answers; equal indices form a group."""
    finished: Bool[Tensor, " b"]
    """False if the completion was cut at `max_new_tokens` before its end token."""
    texts: tuple[str, ...]
    weight_versions: Int[Tensor, "b t"] | None = None
    """Number of weight updates that the engine had received when it sampled each token, -1 where
    the mask is False; None for an engine that always samples with the trainer's weights.
    """

    def staleness(self, updates: int) -> Int[Tensor, "b t"] | None:
        """Return the number of updates since each token's weights; 0 where the mask is False.

        Args:
            updates: Number of weight updates before those that learn from these completions.
        """
        if self.weight_versions is None:
            return None
        return (updates - self.weight_versions).where(self.completion_mask, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Rewards of `b` completions: `parts` (accuracy, format, ...) and their weighted `total`.

    A part is NaN where the reward has nothing to say about a completion. Names that begin with
    `LOGGED` are no parts of the reward.
    """

    total: Float[Tensor, " b"]
    parts: Mapping[str, Float[Tensor, " b"]]

    @property
    def accuracy(self) -> Float[Tensor, " b"]:
        """What the filter and the shaping take as accuracy; it is never NaN."""
        return accuracy_column(self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Experience:
    """One scored rollout batch, ready for optimization. Rows of a group are contiguous."""

    batch: PromptBatch
    rollouts: Rollouts
    task: Int[Tensor, " b"]
    """Positions among the tasks of the run."""
    scores: Scores
    """Scores from the reward, before shaping."""
    rewards: Float[Tensor, " b"]
    """Input of the advantage: total, plus the length part, minus the KL penalty, if configured."""
    advantages: Float[Tensor, " b"]
    ref_logprobs: Float[Tensor, "b t"] | None = None
    """Log-probabilities under the frozen reference model, in nats; None without a KL term."""
    trainer_logprobs: Float[Tensor, "b t"] | None = None
    """Log-probabilities before the update, recomputed by the trainer, in nats; None if the
    log-probabilities of the sampler are used instead.
    """
    staleness: Int[Tensor, "b t"] | None = None
    """Number of updates between the weights that sampled a token and those before this update; 0
    where the mask is False. None if the engine always samples with the trainer's weights.
    """

    @property
    def off_policy(self) -> bool:
        """Whether the sampler may differ from the policy before the update."""
        return self.trainer_logprobs is not None or self.staleness is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgment:
    """The judgment of a benchmark on one completion."""

    score: float
    """Headline score of this row, in [0, 1]."""
    parsed: bool
    """Whether an answer was found in the completion."""
    answer: str = ""
    """The answer that was found."""
    by: str = "rule"
    """`rule`, or `judge` if a model decided."""


def accuracy_column(parts: Mapping[str, Float[Tensor, " b"]]) -> Float[Tensor, " b"]:
    """Return the accuracies among the parts of rewards; where one is only logged, it counts."""
    logged = parts.get(LOGGED + "accuracy")
    if logged is None:
        return parts["accuracy"]
    own = parts.get("accuracy", logged)
    return torch.where(logged.isnan(), own, logged)
