"""Where the completions of a draw come from, with their scores: written when they are needed.

Completions that are written ahead: `ahead.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from g2rpo.interfaces import Reward, RolloutEngine
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.groups import Scored, generate_groups, score_rollouts
from g2rpo.stopwatch import timed
from g2rpo.tasks import listed

Answer = Callable[[PromptBatch, int], tuple[Rollouts, Scored]]
"""Returns completions of a batch and their scores, given how many batches the step drew before."""


@dataclass(frozen=True, kw_only=True)
class AnswerNow:
    """Generates and scores when it is called.

    Args:
        engine: Engine that generates completions.
        reward: Reward that scores them.
        sampling: Sampling settings, with the default group size.
        failure_budget: Maximum share of completions that the reward may fail to judge, in [0, 1].
        seed: Seed of the first draw; each further draw adds 1.
        group_size_of: Group sizes of tasks that differ from the default.
    """

    engine: RolloutEngine
    reward: Reward
    sampling: Sampling
    failure_budget: float
    seed: int
    group_size_of: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, batch: PromptBatch, draw: int) -> tuple[Rollouts, Scored]:
        """Generate and score the completions of a batch."""
        with timed("decode"), naming_tasks(batch):
            rollouts = generate_groups(
                self.engine, batch, self.sampling, self.group_size_of, self.seed + draw
            )
        return rollouts, score_rollouts(self.reward, batch.prompts, rollouts, self.failure_budget)


@contextmanager
def naming_tasks(batch: PromptBatch) -> Iterator[None]:
    """Add tasks and ids of a batch to the message of an error."""
    try:
        yield
    except (RuntimeError, ValueError, FloatingPointError) as error:
        names = listed([f"{prompt.task} {prompt.id!r}" for prompt in batch.prompts])
        kind = FloatingPointError if isinstance(error, FloatingPointError) else RuntimeError
        raise kind(f"{error} (sampling for {names})") from error
