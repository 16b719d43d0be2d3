"""Where the groups of a step come from: written now, or ahead by an engine of its own.

With `rollout.ahead` above 0 a step takes completions that were asked for one or two rollout batches
earlier, and asks for later ones before it learns.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

import torch

from g2rpo import ranks
from g2rpo.interfaces import Reward, RolloutEngine
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.ahead import AheadEngine, During, LookAhead
from g2rpo.rollout.collect import Answer, collect, nothing_kept
from g2rpo.rollout.groups import Scored, generate_groups, score_rollouts
from g2rpo.rollout.kept_groups import Collected
from g2rpo.stopwatch import timed
from g2rpo.tasks import listed
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.lightning_hooks import LightningHooks
from g2rpo.training.task_gradients import check_memory

log = logging.getLogger("g2rpo")


@dataclass(frozen=True, kw_only=True)
class AnswerNow:
    """Generates and scores when it is called.

    Args:
        engine: Engine that generates completions.
        reward: Reward that scores them.
        sampling: Sampling settings, with the default group size.
        failure_budget: Maximum share of completions that the reward may fail to judge, in [0, 1].
        seed: Seed of the step; with a prompt's position it determines its completions.
        group_size_of: Group sizes of tasks that differ from the default.
    """

    engine: RolloutEngine
    reward: Reward
    sampling: Sampling
    failure_budget: float
    seed: int
    group_size_of: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, batch: PromptBatch) -> tuple[Rollouts, Scored]:
        """Generate and score the completions of a batch."""
        with timed("decode"), naming_tasks(batch):
            rollouts = generate_groups(
                self.engine, batch, self.sampling, self.group_size_of, self.seed
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


class Collecting(LightningHooks):
    """Collects the groups of each step, and keeps the curriculum informed."""

    sampling: Sampling
    """Sampling settings, with the default group size."""

    def collect(self, batch: PromptBatch) -> Collected:
        """Answer and score a batch of prompts.

        If a filter is set, groups without a learning signal are replaced by new ones.

        Raises:
            RuntimeError: if the policy produces values that are not finite.
        """
        algorithm = self.algorithm
        answer: Answer = AnswerNow(
            engine=self.engine,
            reward=self.reward,
            sampling=self.sampling,
            failure_budget=algorithm.failure_budget,
            seed=self._seed("sampling", self.rollout_batch),
            group_size_of=algorithm.batch.group_sizes(algorithm.tasks),
        )
        if self.look_ahead is not None:
            answer = self._taken
        # without a trainer there is one draw, which has all shares
        data = None if self._trainer is None else self.trainer.datamodule
        keep_shares = data is not None and data.stream.by_task is not None
        # what is written ahead is a whole draw, and all ranks work on it together
        at_once = not keep_shares and self.look_ahead is None and ranks.world_size() == 1
        try:
            with self.generating():
                if self.look_ahead is not None:
                    self._ask_ahead(batch)
                collected = collect(
                    batch,
                    self._more,
                    answer,
                    group_filter=algorithm.group_filter,
                    keep_shares=keep_shares,
                    kept_share=self.kept_share if at_once else None,
                    put_back=lambda: self.trainer.datamodule.put_back(),
                )
                if self.look_ahead is None:
                    return collected
                self.draws = collected.draws
                self._ask_ahead()
                return collected
        except FloatingPointError as error:
            raise RuntimeError(
                f"step {self.global_step + 1}: {error}. The weights are broken: lower optimizer.lr"
                " or max_grad_norm, and resume from a checkpoint before this step."
            ) from error

    def on_train_start(self) -> None:
        """Say what the gradients of the tasks need, and send the weights to the engine."""
        super().on_train_start()
        check_memory(self.policy, self.algorithm.gradient, self.algorithm.tasks)

    @contextmanager
    def looking_ahead(self) -> Iterator[None]:
        """Give up rollouts in flight at the end of this block, also after an error."""
        try:
            yield
        finally:
            if self.look_ahead is not None:
                self.look_ahead.close()

    def on_train_end(self) -> None:
        """Give up rollouts that are still in flight, on all ranks before any goes on."""
        if self.look_ahead is not None:
            self.look_ahead.close()
            ranks.all_gather_list([])

    def watch(self, collected: Collected) -> None:
        """Report group accuracies to the curriculum; stop a run in which nothing is learned.

        Raises:
            RuntimeError: if no group was kept in `filter.empty_draws` draws in a row.
        """
        self.trainer.datamodule.observe(collected.accuracies)
        self.empty_draws = self.empty_draws + collected.draws if collected.empty else 0
        if not collected.empty:
            return
        step = self.global_step + 1
        if self.empty_draws >= self.algorithm.group_filter.empty_draws:
            raise RuntimeError(f"step {step}: {nothing_kept(collected.drawn, self.empty_draws)}")
        log.warning(
            "step %d: no group with mixed accuracy in %d draws, nothing to learn from",
            step,
            collected.draws,
        )

    def ahead_metrics(self) -> dict[str, float]:
        """Return the number of groups over all ranks that this step asked again; all ranks call it.

        Empty without `rollout.ahead`.
        """
        if self.look_ahead is None:
            return {}
        asked, self.look_ahead.num_asked_again = self.look_ahead.num_asked_again, 0
        return {"staleness/num_asked_again": float(ranks.all_reduce_sum(torch.tensor(asked)))}

    def _seed(self, purpose: str, count: int) -> int:
        return Random(f"{self.algorithm.seed}/{purpose}/{count}").getrandbits(48)  # noqa: S311

    def _more(self, missing: Mapping[str, int]) -> PromptBatch:
        batch = self.trainer.datamodule.draw(missing).to(self.device)
        if self.look_ahead is not None:
            self._ask_ahead(batch)
        return batch

    def _taken(self, batch: PromptBatch) -> tuple[Rollouts, Scored]:
        assert self.look_ahead is not None
        self.look_ahead.step = self.global_step
        with timed("wait"), naming_tasks(batch):
            return self.look_ahead.take(batch)

    def _ask_ahead(self, batch: PromptBatch | None = None) -> None:
        """Ask for what will be needed: `batch`, if it is not in flight yet, and later draws.

        A later rollout batch is expected to take as many draws as the last one. The order of draws
        is the same on all ranks.
        """
        assert self.look_ahead is not None
        data = self.trainer.datamodule
        later = min(self.engine.ahead, data.num_steps - self.rollout_batch - 1)
        while len(data.reserved) < later * self.draws:
            data.reserve()
        pending = [] if batch is None else [batch]
        pending += [draw.batch for draw in data.reserved]
        for asked in pending[len(self.look_ahead) :]:
            self.look_ahead.submit(asked.to(self.device))


def look_ahead_of(
    engine: RolloutEngine,
    reward: Reward,
    sampling: Sampling,
    algorithm: Algorithm,
    during: During,
) -> LookAhead | None:
    """Return the object that keeps rollouts in flight; None with `rollout.ahead=0`.

    Raises:
        ValueError: The settings exclude each other; the message names the key.
    """
    ahead = getattr(engine, "ahead", 0)
    if not ahead:
        return None
    if not isinstance(engine, AheadEngine):
        raise ValueError(
            f"rollout.ahead: expected 0 with {type(engine).__name__}, which cannot write while the"
            f" trainer learns (it has no generate_ahead), got {ahead}; use rollout=vllm_server"
        )
    if not algorithm.corrects_sampler:
        raise ValueError(
            f"loss.tis_clip: expected a number with rollout.ahead={ahead}, because completions are"
            " older than the weights that learn from them and have to be weighted, got null; leave"
            " it out for the default of rollout=vllm_server"
        )
    updates = ahead * algorithm.batch.num_minibatches
    most = engine.max_staleness
    if most is not None and most < updates:
        raise ValueError(
            f"rollout.max_staleness: expected at least {updates} updates with rollout.ahead={ahead}"
            f" and batch.num_minibatches={algorithm.batch.num_minibatches}, because every"
            f" completion is that old, got {most}; raise it or lower rollout.ahead"
        )
    return LookAhead(
        engine,
        reward,
        sampling,
        failure_budget=algorithm.failure_budget,
        seed=algorithm.seed,
        group_size_of=algorithm.batch.group_sizes(algorithm.tasks),
        max_staleness=updates + algorithm.batch.num_minibatches if most is None else most,
        during=during,
    )
