"""The gradient of a minibatch does not depend on the cut into micro-batches, and that of a step is
one of its own groups only.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.gradient.sum import Sum
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.algorithm.shaping.entropy import EntropyBand
from g2rpo.data.gym.source import TASKS
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.stats import token_stats
from g2rpo.records import Experience, Prompt, PromptBatch, Sampling, Scores
from g2rpo.rollout.collect import KeepAll
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan, Row, select_rows
from g2rpo.training.gradients import GradientConflict
from g2rpo.training.update import Updater, UpdateStats

TASKS_OF_PROMPTS = ("chart", "math", "chart", "grounding", "math")
LENGTHS = [3, 5, 2, 7, 4, 1, 6, 2, 3, 5]
ADVANTAGES = [0.7, -0.7, 1.2, 0.0, -1.9, 0.4, -0.3, 0.9, 1.6, -1.1]
RATIOS = [1.0, 1.2, 0.7, 1.5, 4.0, 1.0, 0.9, 1.4, 1.1, 0.5]
CUTS = ([[0, 1, 2, 3, 4]], [[0], [1, 2], [3, 4]], [[4, 0, 3], [2, 1]], [[2], [4], [1], [0], [3]])


@pytest.fixture
def experience(
    policy: Any, encoder: QwenEncoder, scripted: Any, prompts_of: Callable[..., list[Prompt]]
) -> Experience:
    """Five groups of two completions of three tasks, off-policy, with a reference that is a little
    apart.
    """
    engine = scripted(lengths=LENGTHS, ratios=RATIOS)
    engine.start(policy, encoder)
    return experience_of(engine, encoder.encode(prompts_of(*TASKS_OF_PROMPTS)), 2)


def experience_of(engine: Any, batch: PromptBatch, group_size: int) -> Experience:
    rollouts = engine.generate(batch, Sampling(group_size=group_size, max_new_tokens=7), 0)
    advantages = torch.tensor(ADVANTAGES)
    noise = torch.randn(rollouts.old_logprobs.shape, generator=torch.Generator().manual_seed(3))
    return Experience(
        batch=batch,
        rollouts=rollouts,
        task=batch.task_positions(TASKS)[rollouts.prompt],
        scores=Scores(total=advantages + 1, parts={"accuracy": advantages * 2}),
        rewards=advantages + 3,
        advantages=advantages,
        ref_logprobs=rollouts.old_logprobs + 0.3 * noise,
    )


def groups(prompts: list[int], group_size: int = 2) -> list[Row]:
    """Whole groups of some prompts."""
    return [Row(p, list(range(p * group_size, (p + 1) * group_size))) for p in prompts]


class Ones:
    """Adds gradients that each task has for itself."""

    by_task = True

    def __call__(self, gramian: Tensor, seed: int) -> Tensor:
        return torch.ones_like(gramian[0])


def updater(
    encoder: QwenEncoder, band: EntropyBand | None = None, weighting: Any = None, **loss: Any
) -> Updater:
    forbidden = tuple(encoder.forbidden_token_ids)
    algorithm = Algorithm(
        tasks=TASKS,
        advantage=G2RPO(scope="group"),
        loss=ClipLoss(kl_coef=0.1, **loss),
        shaping=Shaping(length=None, entropy=band),
        batch=BatchPlan(prompts_per_step=5, group_size=2),
        optimizer=torch.optim.SGD,
        group_filter=KeepAll(),
        gradient_conflict=GradientConflict(every_n_steps=None),
        gradient=weighting or Sum(),
    )
    return Updater(algorithm, forbidden=forbidden, temperature=1.0)


def gradient(
    policy: Any, updater: Updater, experience: Experience, cut: list[list[int]]
) -> tuple[Tensor, UpdateStats, float]:
    """The whole gradient as one vector, the stats, and the sum of what was given to `backward`."""
    parts = [select_rows(experience, groups(rows)) for rows in cut]
    return gradient_of(policy, updater, parts)


def gradient_of(
    policy: Any, updater: Updater, parts: list[Experience]
) -> tuple[Tensor, UpdateStats, float]:
    policy.zero_grad()
    values: list[Tensor] = []
    stats = updater.backward(
        policy, parts, lambda value: (values.append(value.detach()), value.backward())
    )
    return (
        torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]),
        stats,
        sum(v.item() for v in values),
    )


def band_near(policy: Any, encoder: QwenEncoder, experience: Experience) -> EntropyBand:
    """A band that the minibatch leaves by a hair (math above, chart and grounding below): single
    groups lie on the other side.
    """
    rollouts = experience.rollouts
    entropy = token_stats(
        policy,
        experience.batch,
        rollouts.completion_ids,
        rollouts.completion_mask,
        forbidden=tuple(encoder.forbidden_token_ids),
    ).entropy
    tokens = rollouts.completion_mask.sum(1)
    rows = {name: experience.task == TASKS.index(name) for name in TASKS_OF_PROMPTS}
    mean = {name: (entropy[own].sum() / tokens[own].sum()).item() for name, own in rows.items()}
    by_group = {
        name: (entropy.sum(1) / tokens)[rows[name]].view(-1, 2).mean(1).tolist()
        for name in ("math", "chart")
    }
    assert min(by_group["math"]) < mean["math"] < max(by_group["math"])
    assert min(by_group["chart"]) < mean["chart"] < max(by_group["chart"])
    low = {"math": 0.0, "chart": mean["chart"] + 1e-3, "grounding": mean["grounding"] + 0.2}
    high = {"math": mean["math"] - 1e-3, "chart": 99.0, "grounding": 99.0}
    return EntropyBand(low=low, high=high | {"default": None}, weight=0.5)


@pytest.mark.parametrize("aggregation", ["token_mean", "seq_mean", "constant"])
def test_any_cut_into_micro_batches_gives_the_same_gradient(
    policy: Any, encoder: QwenEncoder, experience: Experience, aggregation: str
) -> None:
    update = updater(
        encoder, band_near(policy, encoder, experience), aggregation=aggregation, max_tokens=7
    )
    whole, stats, loss = gradient(policy, update, experience, CUTS[0])
    assert whole.norm() > 1e-2
    for cut in CUTS[1:]:
        pieces, cut_stats, cut_loss = gradient(policy, update, experience, cut)
        assert (pieces - whole).norm() < 1e-6 * whole.norm()
        assert cut_loss == pytest.approx(loss, abs=1e-6)
        assert cut_stats.loss == pytest.approx(stats.loss, abs=1e-5)
        torch.testing.assert_close(cut_stats.entropy_sum, stats.entropy_sum, rtol=1e-6, atol=0)
        assert cut_stats.tokens.tolist() == stats.tokens.tolist()


@pytest.mark.parametrize("size", [None, 1])
def test_gradients_of_the_tasks_add_up_to_that_of_the_loss(
    policy: Any, encoder: QwenEncoder, experience: Experience, size: int | None
) -> None:
    band = band_near(policy, encoder, experience)
    whole, stats, loss = gradient(policy, updater(encoder, band), experience, CUTS[0])
    update = updater(encoder, band, Ones())
    update.batch = replace(update.batch, micro_batch_prompts=size)
    parts = update.micro_batches(experience, range(5))
    order = [sorted({prompt.task for prompt in part.batch.prompts}) for part in parts]
    single = [["chart"], ["chart"], ["grounding"], ["math"], ["math"]]
    assert order == (single if size else [["chart"], ["grounding"], ["math"]])
    pieces, cut_stats, cut_loss = gradient_of(policy, update, parts)
    assert (pieces - whole).norm() < 1e-6 * whole.norm()
    assert cut_loss == pytest.approx(loss, abs=1e-6)
    assert cut_stats.loss == pytest.approx(stats.loss, abs=1e-5)
    assert cut_stats.task_weights == {TASKS.index(task): 1.0 for [task] in single}
    assert stats.task_weights == {}


SPLITS = (
    {"completions_per_row": 2},
    {"completions_per_row": 3, "micro_batch_prompts": 1},
    {"completions_per_row": 1, "micro_batch_prompts": 4},
)


@pytest.mark.parametrize("prefix", ["shared", "repeated"])
def test_a_group_that_is_split_over_rows_gives_the_same_gradient(
    policy: Any,
    encoder: QwenEncoder,
    scripted: Any,
    prompts_of: Callable[..., list[Prompt]],
    prefix: str,
) -> None:
    engine = scripted(lengths=LENGTHS, ratios=RATIOS)
    engine.start(policy, encoder)
    experience = experience_of(engine, encoder.encode(prompts_of("chart", "math")), 5)
    update = updater(encoder, EntropyBand(low=99.0, high=100.0, weight=0.5))  # all below the band
    update.prefix = prefix
    whole, stats, loss = gradient_of(policy, update, update.micro_batches(experience, [0, 1]))
    logprobs = update.logprobs(policy, experience)
    assert whole.norm() > 1e-2
    rows = []
    for split in SPLITS:
        update.batch = BatchPlan(prompts_per_step=2, group_size=5, **split)
        parts = update.micro_batches(experience, [0, 1])
        rows.append([len(part.batch.prompts) for part in parts])
        pieces, split_stats, split_loss = gradient_of(policy, update, parts)
        assert (pieces - whole).norm() < 1e-6 * whole.norm()
        assert split_loss == pytest.approx(loss, abs=1e-6)
        assert split_stats.loss == pytest.approx(stats.loss, abs=1e-5)
        torch.testing.assert_close(split_stats.entropy_sum, stats.entropy_sum, rtol=1e-6, atol=0)
        assert split_stats.tokens.tolist() == stats.tokens.tolist()
        assert split_stats.logprob_gap == pytest.approx(stats.logprob_gap, abs=1e-5)
        torch.testing.assert_close(update.logprobs(policy, experience), logprobs, rtol=0, atol=1e-5)
    # five completions become 1 + 2 + 2, 2 + 3, and five rows; rows of one pass are equally long
    assert rows == [[2, 4], [1, 1, 1, 1], [4, 4, 2]]


def test_only_groups_beyond_the_token_limit_are_split(
    policy: Any, encoder: QwenEncoder, experience: Experience
) -> None:
    lengths = experience.batch.attention_mask.sum(1) + torch.tensor([8, 9, 5, 8, 8])
    update = updater(encoder)
    most = int(lengths.sort().values[-2])  # all groups but the longest fit
    update.batch = BatchPlan(
        prompts_per_step=5, group_size=2, completions_per_row=1, micro_batch_tokens=most
    )
    parts = update.micro_batches(experience, [0, 1, 2, 3, 4])
    split = [part for part in parts if len(part.task) == len(part.batch.prompts)]
    longest = experience.batch.prompts[int(lengths.argmax())]
    assert {prompt.id for part in split for prompt in part.batch.prompts} == {longest.id}
    assert sum(len(part.task) for part in parts) == 10


def test_the_entropy_band_is_part_of_that_gradient_and_of_the_stats(
    policy: Any, encoder: QwenEncoder, experience: Experience
) -> None:
    band = band_near(policy, encoder, experience)
    without, plain, _ = gradient(policy, updater(encoder), experience, CUTS[1])
    with_band, stats, _ = gradient(policy, updater(encoder, band), experience, CUTS[1])
    assert (with_band - without).norm() > 1e-3
    assert plain.loss["entropy_band"] == 0.0
    # 0.001 nats above in math, 0.001 below in chart, 0.2 below in grounding, times the weight of
    # 0.5
    assert stats.loss["entropy_band"] == pytest.approx(0.5 * 0.202, abs=1e-4)


def test_stats_count_tokens_by_task_and_the_largest_gap_to_the_sampler(
    policy: Any, encoder: QwenEncoder, experience: Experience
) -> None:
    _, stats, _ = gradient(policy, updater(encoder), experience, CUTS[2])
    tokens = {"chart": 3 + 5 + 4 + 1, "math": 2 + 7 + 3 + 5, "grounding": 6 + 2}
    assert {name: stats.tokens[TASKS.index(name)].item() for name in tokens} == tokens
    assert stats.tokens.sum() == sum(LENGTHS)
    # the largest ratio is 4, the smallest 1 / 2: the gap is ln 4
    assert stats.logprob_gap == pytest.approx(1.386294, abs=1e-4)
    assert stats.loss["ratio_mean"] == pytest.approx(
        sum(r * n for r, n in zip(RATIOS, LENGTHS, strict=True)) / sum(LENGTHS), abs=1e-5
    )


def test_a_minibatch_has_the_gradient_of_a_batch_of_its_groups_alone(
    policy: Any, encoder: QwenEncoder, experience: Experience
) -> None:
    # denominators are those of the minibatch, not of the rollout batch
    alone = select_rows(experience, groups([4, 1]))
    expected, _, _ = gradient(policy, updater(encoder), alone, [[0, 1]])
    found, stats, _ = gradient(policy, updater(encoder), experience, [[4], [1]])
    assert (found - expected).norm() < 1e-6 * expected.norm()
    assert stats.tokens.sum() == 3 + 5 + 2 + 7


def test_selected_groups_keep_what_belongs_to_them(experience: Experience) -> None:
    picked = select_rows(experience, groups([3, 0]))
    assert [prompt.task for prompt in picked.batch.prompts] == ["grounding", "chart"]
    assert picked.rollouts.completion_mask.sum(1).tolist() == [6, 2, 3, 5]
    assert picked.rollouts.prompt.tolist() == [0, 0, 1, 1]
    assert picked.rollouts.texts == ("completion 6", "completion 7", "completion 0", "completion 1")
    assert picked.task.tolist() == [TASKS.index("grounding")] * 2 + [TASKS.index("chart")] * 2
    rows = [6, 7, 0, 1]
    for found, whole in [
        (picked.advantages, experience.advantages),
        (picked.rewards, experience.rewards),
        (picked.scores.total, experience.scores.total),
        (picked.scores.parts["accuracy"], experience.scores.parts["accuracy"]),
        (picked.ref_logprobs, experience.ref_logprobs),
        (picked.rollouts.old_logprobs, experience.rollouts.old_logprobs),
        (picked.rollouts.completion_ids, experience.rollouts.completion_ids),
    ]:
        assert torch.equal(found, whole[rows])
    assert patches(picked.batch) == [patches(experience.batch)[3], patches(experience.batch)[0]]


def patches(batch: PromptBatch) -> list[list[float]]:
    return [image["pixel_values"].flatten().tolist() for image in batch.images]


def test_a_loss_that_is_not_finite_names_its_tasks_and_adds_no_gradient(
    policy: Any, encoder: QwenEncoder, experience: Experience
) -> None:
    experience.advantages[5] = float("inf")  # a row of the chart prompt 2
    with pytest.raises(
        FloatingPointError, match=r"loss became -?(nan|inf) \(prompts chart '.+', math '.+'\)"
    ):
        gradient(policy, updater(encoder), experience, [[1, 2], [0]])
    assert all(p.grad is None for p in policy.parameters())
