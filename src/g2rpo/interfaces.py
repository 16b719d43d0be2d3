"""The plug-in points: what satisfies one of these Protocols can be named by `_target_` in a yaml,
also from outside the repository.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from g2rpo.records import Failed, Judgment, Prompt, PromptBatch, Rollouts, Sampling


@runtime_checkable
class PromptSource(Protocol):
    """Where prompts come from. The same arguments give the same prompt in every process."""

    def size(self, task: str, split: str) -> int | None:
        """Number of prompts of a task in `train` or `heldout`; None for an endless source, 0 where
        it has none.
        """

    def get(self, task: str, index: int, split: str) -> Prompt:
        """The `index`-th prompt of a task. Raises `IndexError` beyond `size`."""


@runtime_checkable
class Curriculum(Protocol):
    """Whether a prompt's turn is taken, from what was seen of it. Hears the same on every rank; its
    state is in the checkpoint.
    """

    revisits: bool
    """Whether it needs prompts that come again: then an endless source is refused."""

    def admits(self, task: str, index: int, epoch: int) -> bool:
        """False passes over the `index`-th prompt of a task in this epoch."""

    def observe(self, task: str, index: int, epoch: int, accuracy: float) -> None:
        """The mean accuracy of a group that answered the prompt, whether or not it was learned
        from.
        """

    def state_dict(self) -> dict[str, Any]:
        """What it remembers."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""


@runtime_checkable
class Demonstrator(Protocol):
    """Writes the completions that a cold start imitates."""

    def demonstrate(self, prompt: Prompt) -> str:
        """The completion for a prompt, the same for the same prompt id."""


@runtime_checkable
class Encoder(Protocol):
    """Turns prompts into what the policy reads, and token ids into text. One per model."""

    eos_token_id: int
    """The end token that demonstrations end with."""
    end_tokens: Mapping[int, str]
    """Every token that ends a completion, `eos_token_id` among them, with its text."""
    pad_token_id: int
    forbidden_token_ids: Sequence[int]
    """Tokens a policy may never sample: image and video placeholders would break the next forward
    pass.
    """

    def encode(self, prompts: Sequence[Prompt]) -> PromptBatch:
        """Chat template, image patches and left padding."""

    def fit(self, image: Any) -> Any:
        """A PIL image scaled to what `encode` would scale it to. Raises `ValueError` where the
        policy cannot see it.
        """

    def tokenize(self, completion: str) -> list[int]:
        """Token ids of a completion, its end token included."""

    def decode(
        self, completion_ids: Int[Tensor, "b t"], completion_mask: Bool[Tensor, "b t"]
    ) -> tuple[str, ...]:
        """Text of each completion without its end and padding tokens."""


@runtime_checkable
class RolloutEngine(Protocol):
    """Writes completions. Built from the configuration without weights, then started on a
    policy.
    """

    sampling: Sampling
    """How completions are drawn in training; its `group_size` is replaced by the caller's."""

    def start(self, policy: Any, encoder: Encoder) -> None:
        """Called once, before the first `generate`."""

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """`sampling.group_size` completions per prompt; rows of one prompt stand together, in the
        order of the prompts.
        """

    def load_weights(self, policy: Any, step: int) -> None:
        """Called after every optimizer phase, so that the next rollouts come from the policy just
        trained.
        """


@runtime_checkable
class OwnWeights(Protocol):
    """What a rollout engine has besides, if it holds weights of its own that can fall behind the
    trainer's.
    """

    def check_world_size(self, num_processes: int) -> None:
        """Called before `start` with the number of processes that train. Raises `ValueError` where
        it cannot serve so many.
        """

    def sleep(self) -> None:
        """Called when a step's completions are drawn: what holds memory may let go of it until
        `load_weights` or `generate`.
        """

    def metrics(self) -> dict[str, float]:
        """Numbers of the step that has just ended, all ranks', by their names in metrics.py. Called
        by every rank.
        """


@runtime_checkable
class Reward(Protocol):
    """Judges one completion. Raises only for a broken prompt, never for a strange completion."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """At least `accuracy`, `format`, `structure` and `total`."""


@runtime_checkable
class PreparedReward(Reward, Protocol):
    """A reward that has something to load, which must not count as the time of the first completion
    that needs it.
    """

    def prepare(self) -> None:
        """Called once in each worker process, in the background of the run's own start."""


@runtime_checkable
class BatchReward(Reward, Protocol):
    """A reward that judges some prompts many at a time and in the trainer's process, because it
    waits for a server.
    """

    def in_batch(self, prompt: Prompt) -> bool:
        """Whether completions of this prompt are judged by `score_all`; the others by `score`, in
        worker processes.
        """

    def score_all(
        self, completions: Sequence[str], prompts: Sequence[Prompt]
    ) -> Sequence[dict[str, float] | Failed]:
        """One outcome per completion, in their order. What it raises ends the run; the trouble of
        one completion is its outcome.
        """


@runtime_checkable
class RewardWorkers(Protocol):
    """Where rewards run."""

    def start(self, reward: Reward) -> AbstractContextManager[Reward]:
        """The reward to use until the context ends. Returns at once: what takes time goes on in the
        background.
        """


@runtime_checkable
class Benchmark(Protocol):
    """One of the benchmarks: records to rows, rows to prompts, completions to judgments.

    A `record` has the columns of where it comes from (the Hub, a VLMEvalKit TSV, JSON Lines). A
    `row` has ours: `id`, `question`, `images` (PIL images or paths), `answer`, and what the
    benchmark needs besides, such as `choices`, `category`, `split`.
    """

    name: str
    task: str
    """One of the six tasks."""
    protocols: Sequence[str]
    """Ways of scoring it knows, of `paper`, `official`, `robust`, `vlmevalkit`."""

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Raises `ValueError` with the column where a record cannot be used."""

    def prompt(self, row: Mapping[str, Any], *, protocol: str = "paper") -> Prompt:
        """What the policy is asked."""

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Callable[[str], str] | None = None,
    ) -> Judgment:
        """The verdict on one completion. `judge` answers a grading prompt; without one, rules alone
        decide.
        """

    def score(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Callable[[str], str] | None = None,
    ) -> float:
        """The judgment's score."""

    def score_group(
        self,
        completions: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        protocol: str = "paper",
    ) -> float:
        """The score of rows that count only together."""

    def group(self, row: Mapping[str, Any]) -> str:
        """Rows with the same group count only together; elsewhere a row's own id."""

    def subscores(self, row: Mapping[str, Any]) -> Sequence[str]:
        """Names of the sub-scores this row takes part in: `category/algebra`, `split/testA`."""


@runtime_checkable
class GroupFilter(Protocol):
    """Decides by accuracy which groups a step learns from."""

    max_draws: int
    """Batches drawn for one step at most."""
    empty_draws: int
    """Batches without one group that is kept, in a row, after which the run stops."""

    def keeps(self, accuracy: Float[Tensor, " p"]) -> Bool[Tensor, " p"]:
        """One decision per group, from the mean accuracy of its completions."""


@runtime_checkable
class Advantage(Protocol):
    """One advantage per completion from the rewards of a whole rollout batch."""

    def __call__(
        self,
        rewards: Float[Tensor, " b"],
        groups: Int[Tensor, " b"],
        tasks: Int[Tensor, " b"],
        *,
        parts: Mapping[str, Float[Tensor, " b"]] | None = None,
        completion_tokens: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """`groups` and `tasks` are integer labels; rows of one group share a task."""


@runtime_checkable
class Loss(Protocol):
    """A policy loss over completion tokens, with its KL term."""

    kl_coef: float
    """0 means that no reference model is held."""
    kl_placement: str
    """`loss`: the loss adds the KL term itself. `reward`: the trainer subtracts it from the
    rewards, and the loss adds nothing.
    """
    kl_estimator: str
    """`k1`, `k2` or `k3` of `g2rpo.algorithm.loss.kl`."""
    tis_clip: float | None
    """Not None: the trainer computes the old log-probabilities itself and hands over the sampler's
    beside them.
    """

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
        """The scalar to minimize, and at least the stats `policy`, `kl`, `clip_frac` and
        `ratio_mean`, without gradient.

        `num_tokens` and `num_completions` are those of the whole batch, all micro-batches and
        ranks, where this call sees only a part of it: scalars and stats of the parts add up to the
        batch's.
        """
