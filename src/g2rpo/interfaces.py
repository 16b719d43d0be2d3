"""The plug-in points: `_target_` in a yaml may name any class that satisfies a Protocol here.

The class may also be in a package outside this repository.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from g2rpo.records import Failed, Judgment, Prompt, PromptBatch, Rollouts, Sampling

Row = Mapping[str, Any]
Asked = Callable[[str], str]
"""Answers a grading prompt."""
Outcomes = Sequence[dict[str, float] | Failed]


@runtime_checkable
class PromptSource(Protocol):
    """A source of prompts. Equal arguments give equal prompts in every process.

    A source may also list its tasks in `tasks`; otherwise the mixture must name them.
    """

    def size(self, task: str, split: str) -> int | None:
        """Return the number of prompts of a task in `train` or `heldout`: None if unlimited."""

    def get(self, task: str, index: int, split: str) -> Prompt:
        """Return the `index`-th prompt of a task; raises `IndexError` beyond `size`."""


@runtime_checkable
class Curriculum(Protocol):
    """Decides from past accuracies whether a prompt is used in an epoch.

    It receives the same observations on every rank, and its state is part of the checkpoint.
    """

    revisits: bool
    """Whether it needs repeated prompts; if so, sources of unlimited size are refused."""

    def admits(self, task: str, index: int, epoch: int) -> bool:
        """Return False to skip the `index`-th prompt of a task in this epoch."""

    def observe(self, task: str, index: int, epoch: int, accuracy: float) -> None:
        """Receive the mean accuracy of a group, including groups that the filter dropped."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state for the checkpoint."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""


@runtime_checkable
class TaskCurriculum(Curriculum, Protocol):
    """Also decides how often each task is drawn; the groups kept by the filter have its shares."""

    def begin(self, shares: Mapping[str, float]) -> None:
        """Receive the shares of the mixture by task, which add up to 1; called once."""

    def shares(self) -> Mapping[str, float]:
        """Return the shares of the next batch by task, which add up to 1."""

    def rebalance(self) -> None:
        """Called after the observations of a rollout batch."""


@runtime_checkable
class Demonstrator(Protocol):
    """Writes the demonstrations that a cold start is trained on."""

    def demonstrate(self, prompt: Prompt) -> str:
        """Return a completion for a prompt; equal prompt ids give equal completions."""


@runtime_checkable
class Encoder(Protocol):
    """Encodes prompts for the policy and decodes token ids to text; one per model."""

    eos_token_id: int
    """The end token of demonstrations."""
    end_tokens: Mapping[int, str]
    """All tokens that end a completion, including `eos_token_id`, with their text."""
    pad_token_id: int
    forbidden_token_ids: Sequence[int]
    """Tokens that are never sampled: image and video placeholders break the next forward pass."""

    def encode(self, prompts: Sequence[Prompt]) -> PromptBatch:
        """Apply the chat template, extract image patches, and pad on the left."""

    def fit(self, image: Any) -> Any:
        """Return a PIL image at the size that `encode` uses; raises `ValueError` if impossible."""

    def tokenize(self, completion: str) -> list[int]:
        """Return the token ids of a completion, including its end token."""

    def decode(
        self, completion_ids: Int[Tensor, "b t"], completion_mask: Bool[Tensor, "b t"]
    ) -> tuple[str, ...]:
        """Return the text of each completion without end and padding tokens."""


@runtime_checkable
class RolloutEngine(Protocol):
    """Generates completions. It is built without weights and later started with a policy."""

    sampling: Sampling
    """Sampling parameters of training; the caller replaces `group_size`."""

    def start(self, policy: Any, encoder: Encoder) -> None:
        """Called once, before the first `generate`."""

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """Return `sampling.group_size` completions per prompt, contiguous and in prompt order."""

    def load_weights(self, policy: Any, step: int) -> None:
        """Called after the updates of a rollout batch, so that the next one uses new weights."""


@runtime_checkable
class OwnWeights(Protocol):
    """Additional methods of a rollout engine with its own copy of the weights."""

    def check_world_size(self, num_processes: int) -> None:
        """Raise `ValueError` if this many processes are not supported; called before `start`."""

    def generating(self) -> AbstractContextManager[None]:
        """Called by all ranks together, around all calls of `generate`; may load weights."""

    def sleep(self) -> None:
        """The engine may free GPU memory until the next `load_weights` or `generate`."""

    def metrics(self) -> dict[str, float]:
        """Return metrics of the last step over all ranks, all of which call this."""


@runtime_checkable
class Reward(Protocol):
    """Scores one completion. It may raise for an invalid prompt, but never for a completion."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """Return `total`, `accuracy` and other parts by name; `log/<name>` is only logged."""


@runtime_checkable
class PreparedReward(Reward, Protocol):
    """A reward that loads something before its first completion, outside of that one's timeout."""

    def prepare(self) -> None:
        """Called once in each worker process, in the background while the run starts."""


@runtime_checkable
class BatchReward(Reward, Protocol):
    """A reward that scores some prompts in batches in the trainer process, usually via a server."""

    def in_batch(self, prompt: Prompt) -> bool:
        """Return whether to use `score_all` instead of `score` in a worker process."""

    def score_all(self, completions: Sequence[str], prompts: Sequence[Prompt]) -> Outcomes:
        """Return outcomes in order, `Failed` where one cannot be scored; an error ends the run."""


@runtime_checkable
class GroupReward(Reward, Protocol):
    """A reward that judges all completions of a prompt in one call, if `in_groups` is true."""

    in_groups: bool

    def score_group(self, completions: Sequence[str], prompt: Prompt) -> Outcomes:
        """Return one outcome per completion, in order; an exception fails the whole group."""


@runtime_checkable
class RewardWorkers(Protocol):
    """Runs a reward in the trainer process or in worker processes."""

    def start(self, reward: Reward) -> AbstractContextManager[Reward]:
        """Return a context with the reward to use; slow preparation continues in the background."""


@runtime_checkable
class Benchmark(Protocol):
    """A benchmark: converts records to rows, rows to prompts, and completions to judgments.

    A `record` has the columns of its source. A `row` has `id`, `question`, `images` (PIL images or
    paths), `answer`, and other columns that the benchmark needs, such as `choices` or `split`.
    """

    name: str
    task: str
    """Any name; scores are averaged over the benchmarks of a task."""
    protocols: Sequence[str]
    """Supported scoring protocols, from `paper`, `official`, `robust` and `vlmevalkit`."""

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row of a record; raises `ValueError` with the column if it is unusable."""

    def prompt(self, row: Mapping[str, Any], *, protocol: str = "paper") -> Prompt:
        """Return the prompt for a row."""

    def judgment(
        self, completion: str, row: Row, *, protocol: str = "paper", judge: Asked | None = None
    ) -> Judgment:
        """Return the judgment on one completion; without `judge`, rules alone decide."""

    def score(
        self, completion: str, row: Row, *, protocol: str = "paper", judge: Asked | None = None
    ) -> float:
        """Return the score of the judgment, in [0, 1]."""

    def score_group(
        self,
        completions: Sequence[str],
        rows: Sequence[Row],
        *,
        protocol: str = "paper",
        judge: Asked | None = None,
    ) -> float:
        """Return the score of rows that only count as a group, in [0, 1]."""

    def group(self, row: Mapping[str, Any]) -> str:
        """Return the label of a row's group; rows that count alone have their own id as label."""

    def subscores(self, row: Mapping[str, Any]) -> Sequence[str]:
        """Return the sub-scores to which a row belongs: `category/algebra`, `split/testA`."""


@runtime_checkable
class GroupFilter(Protocol):
    """Selects the groups for training by their accuracy."""

    max_draws: int
    """Maximum number of prompt batches drawn for one rollout batch."""
    empty_draws: int
    """The run stops after this many consecutive batches in which no group was kept."""

    def keeps(self, accuracy: Float[Tensor, " p"]) -> Bool[Tensor, " p"]:
        """Return one decision per group, from the mean accuracy of its completions."""


@runtime_checkable
class Advantage(Protocol):
    """Computes one advantage per completion from the rewards of a whole rollout batch."""

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return one advantage per completion.

        Args:
            rewards: Shaped rewards of the completions of all ranks.
            groups: One integer label per prompt.
            tasks: Positions among the tasks of the run; rows of one group share a task.
            parts: Reward parts by name, NaN where a part is absent; `log/<name>` is no part.
            completion_tokens: Lengths in tokens.
        """


@runtime_checkable
class Loss(Protocol):
    """A policy loss over completion tokens, with its KL term; `rejection` is optional."""

    kl_coef: float
    """Weight of the KL term; 0 needs no reference model."""
    kl_placement: str
    """`loss`: the loss adds the KL term. `reward`: the trainer subtracts it from the rewards."""
    kl_estimator: str
    """`k1`, `k2` or `k3` of `g2rpo.algorithm.loss.kl`."""
    tis_clip: float | None
    """If not None, the trainer recomputes old log-probabilities and passes the sampler's too."""

    def __call__(
        self,
        logprobs: Float[Tensor, "b t"],
        old_logprobs: Float[Tensor, "b t"],
        advantages: Float[Tensor, " b"],
        mask: Shaped[Tensor, "b t"],
        *,
        ref_logprobs: Float[Tensor, "b t"] | None = None,
        sampler_logprobs: Float[Tensor, "b t"] | None = None,
        num_tokens: float | Tensor | None = None,
        num_completions: float | Tensor | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Return the scalar to minimize, and stats without gradient.

        The stats include `policy`, `kl`, `clip_frac` and `ratio_mean`. For a micro-batch,
        `num_tokens` and `num_completions` count the whole batch over all ranks. The scalars and
        stats of all micro-batches then add up to those of the batch.
        """
