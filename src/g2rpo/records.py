"""What flows through a step, from the prompt to the experience the loss sees.

    Prompt -> PromptBatch -> Rollouts -> Scores -> advantages -> Experience
    data      model          rollout     reward    advantage     rollout/collect.py

Every batch is group-structured: `p` prompts, each answered by `group_size` completions, `b = p *
group_size` rows in all,
and row `i` answers prompt `i // group_size`. The prompt and its images exist once per group. A
field never changes meaning: the raw reward, the shaped reward and the advantage are three fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from g2rpo.prompt import TASKS as TASKS
from g2rpo.prompt import Failed as Failed
from g2rpo.prompt import Prompt as Prompt
from g2rpo.prompt import task_index as task_index


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptBatch:
    """`p` prompts as the policy reads them: token ids padded on the left to `l`, image patches
    flattened over all images.

    Example, two prompts with one image of two visual tokens each (IMG):
        input_ids      = [[PAD, BOS, IMG, IMG, 17], [BOS, IMG, IMG, 23, 42]]
        attention_mask = [[0,   1,   1,   1,   1 ], [1,   1,   1,   1,  1 ]]
    """

    prompts: tuple[Prompt, ...]
    task: Int[Tensor, " p"]
    input_ids: Int[Tensor, "p l"]
    attention_mask: Int[Tensor, "p l"]
    pixel_values: Float[Tensor, "patches d"] | None
    """Patches of every image, in the order of the prompts."""
    image_grid_thw: Int[Tensor, "images 3"] | None
    """Patches per image in time, height and width (before merging)."""
    num_images: Int[Tensor, " p"]

    def to(self, device: torch.device | str) -> Self:
        """The same batch with every tensor on `device`."""
        moved: dict[str, Any] = {
            f.name: v.to(device)
            for f in fields(self)
            if isinstance(v := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How completions are drawn. `temperature=0` means greedy."""

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
        """The same drawing with another number of completions per prompt."""
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
    """Row of the prompt each completion answers; equal rows form a group."""
    finished: Bool[Tensor, " b"]
    """False where the completion was cut at `max_new_tokens` before its end token."""
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What the reward says of `b` completions, dimensionless: `parts` (accuracy, format, structure,
    ...) and their weighed `total`.
    """

    total: Float[Tensor, " b"]
    parts: Mapping[str, Float[Tensor, " b"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Experience:
    """One rollout batch, scored and ready for optimization. Rows of one group stand together."""

    batch: PromptBatch
    rollouts: Rollouts
    task: Int[Tensor, " b"]
    scores: Scores
    """As the reward gave them, before shaping."""
    rewards: Float[Tensor, " b"]
    """What the advantage was computed from: the total, plus the length part, less the KL in the
    reward, if any.
    """
    advantages: Float[Tensor, " b"]
    ref_logprobs: Float[Tensor, "b t"] | None = None
    """Log-probabilities under the frozen reference, in nats; None where no KL term asks for them.
    """
    trainer_logprobs: Float[Tensor, "b t"] | None = None
    """Log-probabilities under the policy before the step, computed by the trainer, in nats; None
    where the sampler's own serve.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgment:
    """What a benchmark says of one completion."""

    score: float
    """In [0, 1], the benchmark's headline measure for this row."""
    parsed: bool
    """False where no answer could be read from the completion."""
    answer: str = ""
    """The answer as it was read."""
    by: str = "rule"
    """`rule`, or `judge` where a model's verdict decided."""
