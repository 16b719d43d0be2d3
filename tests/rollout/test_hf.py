import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from closeness import near
from tiny_families import BUILDERS
from torch import Tensor

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.prefix_attention import knows_prefixes
from g2rpo.policy.stats import token_stats
from g2rpo.records import Prompt, PromptBatch, Rollouts, Sampling
from g2rpo.rollout.draw import uniforms
from g2rpo.rollout.groups import select_prompts
from g2rpo.rollout.hf import HFEngine, _nucleus
from g2rpo.rollout.tail import SharedTail

TOKENS = 14


class Sampler:
    """An engine on the policy with the settings of a test."""

    def __init__(self, policy: Any, encoder: Any, batch: PromptBatch) -> None:
        self.policy, self.encoder, self.batch = policy, encoder, batch

    def __call__(
        self,
        *,
        seed: int = 1,
        leave_frac: float = 0.25,
        group_size: int = 3,
        encoder: Any = None,
        **drawing: Any,
    ) -> Rollouts:
        engine = HFEngine(max_new_tokens=99, leave_frac=leave_frac)
        engine.start(self.policy, encoder or self.encoder)
        return engine.generate(
            self.batch,
            Sampling(**{"group_size": group_size, "max_new_tokens": TOKENS} | drawing),
            seed,
        )


@pytest.fixture(scope="module")
def sample(policy: Any, encoder: QwenEncoder, batch: PromptBatch) -> Sampler:
    return Sampler(policy, encoder, batch)


def _unmasked(encoder: QwenEncoder) -> QwenEncoder:
    """The same encoder, but every token may be sampled."""
    other = copy.copy(encoder)
    other.forbidden_token_ids = ()
    return other


@torch.no_grad()
def _plain_logits(sample: Sampler, row: int, tokens: Tensor, forbidden: Sequence[int]) -> Tensor:
    """Logits that predict `tokens` behind prompt `row`: transformers' own forward pass of one
    unpadded row, without a cache.
    """
    one = sample.encoder.encode([sample.batch.prompts[row]])
    ids = torch.cat([one.input_ids, tokens[None]], 1)
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == sample.encoder.image_token_id).int(),
    }
    logits = sample.policy(**inputs, **one.image_inputs()).logits[
        0, one.input_ids.shape[1] - 1 : -1
    ]
    logits[:, list(forbidden)] = float("-inf")
    return logits


@pytest.mark.parametrize(
    "drawing",
    [{"temperature": 1.0}, {"temperature": 0.7}, {"temperature": 1.0, "top_p": 0.6}],
    ids=str,
)
def test_log_probabilities_are_those_that_training_computes(
    drawing: dict[str, float], sample: Sampler
) -> None:
    rollouts = sample(**drawing)
    with torch.no_grad():
        stats = token_stats(
            sample.policy,
            sample.batch,
            rollouts.completion_ids,
            rollouts.completion_mask,
            forbidden=sample.encoder.forbidden_token_ids,
            temperature=drawing["temperature"],
        )
    assert near(rollouts.old_logprobs, stats.logprobs)
    assert rollouts.old_logprobs[rollouts.completion_mask].max() < 0
    assert 0 < rollouts.finished.sum() < len(rollouts.finished)  # both kinds were compared


def test_greedy_is_the_most_probable_token_after_what_was_written(sample: Sampler) -> None:
    rollouts = sample(temperature=0.0, group_size=2)
    for row, owner in enumerate(rollouts.prompt.tolist()):
        tokens = rollouts.completion_ids[row][rollouts.completion_mask[row]]
        logits = _plain_logits(sample, owner, tokens, sample.encoder.forbidden_token_ids)
        assert logits.argmax(-1).tolist() == tokens.tolist()
        logprobs = logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
        assert near(rollouts.old_logprobs[row, : len(tokens)], logprobs)
    assert torch.equal(rollouts.completion_ids[::2], rollouts.completion_ids[1::2])
    assert len({tuple(row) for row in rollouts.completion_ids.tolist()}) > 1


def test_forbidden_tokens_never_come_although_the_policy_wants_them(sample: Sampler) -> None:
    forbidden = torch.tensor(sample.encoder.forbidden_token_ids)
    wanted = sample(encoder=_unmasked(sample.encoder), group_size=8)
    assert torch.isin(wanted.completion_ids, forbidden)[wanted.completion_mask].any()
    for drawing in ({}, {"temperature": 3.0}, {"temperature": 0.0}, {"top_p": 0.9}):
        assert not torch.isin(sample(group_size=8, **drawing).completion_ids, forbidden).any()


def test_the_seed_decides_what_is_drawn(sample: Sampler) -> None:
    torch.manual_seed(0)
    first = sample(seed=7)
    torch.manual_seed(1)  # the global generator has no say
    again, other = sample(seed=7), sample(seed=8)
    assert torch.equal(first.completion_ids, again.completion_ids)
    assert torch.equal(first.old_logprobs, again.old_logprobs)
    assert first.texts == again.texts != other.texts
    group = first.completion_ids[:3].tolist()
    assert len({tuple(row) for row in group}) == 3  # a group is three draws, not one


def test_completions_depend_on_positions_and_not_on_what_is_asked_beside(sample: Sampler) -> None:
    whole, rows = sample(seed=7), torch.tensor([5, 1])
    part = Sampler(sample.policy, sample.encoder, select_prompts(sample.batch, rows))(
        seed=7, leave_frac=1.0
    )
    assert part.texts == whole.texts[15:18] + whole.texts[3:6]
    moved = replace(sample.batch, position=sample.batch.position + 1)
    assert Sampler(sample.policy, sample.encoder, moved)(seed=7).texts != whole.texts


def test_drawing_does_not_touch_the_global_generator(sample: Sampler) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    sample()
    assert torch.equal(torch.rand(2), expected)


def test_when_ended_rows_leave_changes_nothing_of_what_is_written(sample: Sampler) -> None:
    widths: dict[float, list[int]] = {0.01: [], 0.5: [], 1.0: []}
    written = {}
    for leave_frac, seen in widths.items():
        note = sample.policy.lm_head.register_forward_pre_hook(
            lambda module, args, seen=seen: seen.append(len(args[0]))
        )
        written[leave_frac] = sample(temperature=0.0, leave_frac=leave_frac)
        note.remove()
    for rollouts in written.values():
        assert torch.equal(rollouts.completion_ids, written[0.01].completion_ids)
        assert torch.equal(rollouts.completion_mask, written[0.01].completion_mask)
        assert near(rollouts.old_logprobs, written[0.01].old_logprobs)
    assert widths[0.01] == written[0.01].completion_mask.sum(0).tolist()  # ended rows left at once
    assert set(widths[1.0]) == {18}
    assert sum(widths[0.01]) < sum(widths[0.5]) < sum(widths[1.0])


def test_a_policy_of_unknown_attention_is_sampled_from_with_repeated_prompts(
    sample: Sampler,
) -> None:
    other = copy.deepcopy(sample.policy)
    other.set_attn_implementation("eager")
    assert not knows_prefixes(other)
    # such a model may keep tensors from one call to the next
    other.lm_head.register_forward_hook(
        lambda *_: pytest.fail("inference mode") if torch.is_inference_mode_enabled() else None
    )
    repeated, shared = Sampler(other, sample.encoder, sample.batch), sample
    for drawing in ({"temperature": 0.0}, {"seed": 4}):
        one, two = repeated(leave_frac=0.01, **drawing), shared(leave_frac=0.01, **drawing)
        assert torch.equal(one.completion_ids, two.completion_ids)
        assert near(one.old_logprobs, two.old_logprobs)
    assert other.config.get_text_config()._attn_implementation == "eager"


def test_what_decoding_leaves_behind_can_be_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding runs in torch's inference mode, whose tensors autograd refuses. Dynamic RoPE changes
    its frequencies while a completion gets longer than anything before.
    """
    BUILDERS["internvl"](tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"]["rope_parameters"] = {
        "rope_type": "dynamic",
        "rope_theta": 10000.0,
        "factor": 2.0,
    }
    config["text_config"]["max_position_embeddings"] = 24
    (tmp_path / "config.json").write_text(json.dumps(config))
    checkpoint = Checkpoint(path=str(tmp_path), dtype="float32")
    policy, encoder = checkpoint.policy(), checkpoint.encoder()
    rotary = policy.get_decoder().rotary_emb
    prompt = Prompt(
        id="1", task="math", text="2 + 2?", images=(), answer="4", answer_type="numerical"
    )
    batch = encoder.encode([prompt])
    modes = []
    step = SharedTail.step
    monkeypatch.setattr(
        SharedTail,
        "step",
        lambda *args: modes.append(torch.is_inference_mode_enabled()) or step(*args),
    )
    before = rotary.inv_freq.clone()
    rollouts = Sampler(policy, encoder, batch)(encoder=_unmasked(encoder), max_new_tokens=40)
    assert modes == [True] * (rollouts.completion_ids.shape[1] - 1)
    assert not torch.equal(rotary.inv_freq, before)
    stats = token_stats(policy, batch, rollouts.completion_ids, rollouts.completion_mask)
    loss = stats.logprobs.sum() - rollouts.old_logprobs.sum() + stats.entropy.sum()
    loss.backward()
    assert all(p.grad is not None for p in policy.get_decoder().parameters())


def test_a_token_is_where_the_uniform_number_of_its_completion_falls(sample: Sampler) -> None:
    drawn = sample(seed=9, temperature=0.8, max_new_tokens=1)
    rows = [
        _plain_logits(sample, row, torch.tensor([5]), sample.encoder.forbidden_token_ids)[0]
        for row in range(6)
    ]
    probs = (torch.stack(rows).repeat_interleave(3, 0) / 0.8).double().softmax(-1)
    uniform = uniforms(9, range(6), 3, 1)
    expected = (probs.cumsum(1) <= uniform).sum(1)
    assert drawn.completion_ids[:, 0].tolist() == expected.tolist()
    assert near(drawn.old_logprobs[:, 0], probs.gather(1, expected[:, None])[:, 0].log().float())


def test_a_completion_ends_with_its_end_token_or_at_the_limit(sample: Sampler) -> None:
    rollouts = sample(seed=5)
    eos, pad = sample.encoder.eos_token_id, sample.encoder.pad_token_id
    for row in range(18):
        mask, ids = rollouts.completion_mask[row], rollouts.completion_ids[row].tolist()
        length = int(mask.sum())
        assert mask.tolist() == [True] * length + [False] * (len(ids) - length)
        assert set(ids[length:]) <= {pad}
        assert eos not in ids[: length - 1]
        assert bool(rollouts.finished[row]) == (ids[length - 1] == eos)
        assert rollouts.finished[row] or length == TOKENS
        assert (rollouts.old_logprobs[row, length:] == 0).all()
        words = ids[: length - int(rollouts.finished[row])]
        assert rollouts.texts[row] == sample.encoder.tokenizer.decode(
            words, skip_special_tokens=True
        )
    assert rollouts.prompt.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]
    assert 0 < rollouts.finished.sum() < 18


def test_it_stops_as_soon_as_all_have_ended(sample: Sampler) -> None:
    rollouts = sample(seed=2, temperature=0.5, max_new_tokens=80)
    assert rollouts.finished.all()
    assert rollouts.completion_ids.shape[1] == rollouts.completion_mask.sum(1).max() < 80


def test_a_limit_of_one_token_gives_one_token(sample: Sampler) -> None:
    rollouts = sample(max_new_tokens=1)
    assert rollouts.completion_mask.tolist() == [[True]] * 18
    assert torch.equal(
        rollouts.finished, rollouts.completion_ids[:, 0] == sample.encoder.eos_token_id
    )


def test_a_prompt_is_answered_alike_alone_and_beside_longer_ones(sample: Sampler) -> None:
    together = sample(temperature=0.0, group_size=1)
    for row in (1, 2, 5):
        alone = Sampler(
            sample.policy, sample.encoder, sample.encoder.encode([sample.batch.prompts[row]])
        )(temperature=0.0, group_size=1)
        assert alone.texts == together.texts[row : row + 1]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_first_tokens_come_as_often_as_their_probability_says(
    temperature: float, sample: Sampler
) -> None:
    drawn = sample(group_size=100, max_new_tokens=1, temperature=temperature)
    for row in range(6):
        logits = _plain_logits(sample, row, torch.tensor([5]), sample.encoder.forbidden_token_ids)
        probs = (logits[0] / temperature).softmax(-1)
        counts = torch.bincount(drawn.completion_ids[drawn.prompt == row, 0], minlength=len(probs))
        likely = probs.topk(40).indices
        share = float(probs[likely].sum())
        # the 40 likeliest tokens together, in standard deviations of a binomial count
        assert (
            abs(int(counts[likely].sum()) - 100 * share)
            < 4.5 * (100 * share * (1 - share)) ** 0.5 + 0.5
        )


def test_only_the_smallest_set_of_tokens_that_holds_top_p_is_drawn_from(sample: Sampler) -> None:
    rollouts = sample(top_p=0.3, group_size=2)
    ranks = []
    for row, owner in enumerate(rollouts.prompt.tolist()):
        tokens = rollouts.completion_ids[row][rollouts.completion_mask[row]]
        probs = _plain_logits(sample, owner, tokens, sample.encoder.forbidden_token_ids).softmax(-1)
        taken = probs.gather(-1, tokens[:, None])
        assert (probs.where(probs > taken, 0.0).sum(-1) < 0.3 + 1e-5).all()
        ranks += (probs > taken).sum(-1).tolist()
    assert max(ranks) > 2  # drawn, not the best one each time
    assert torch.equal(sample(top_p=1e-6).completion_ids, sample(temperature=0.0).completion_ids)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (1.0, [0.5, 0.05, 0.25, 0.2]),
        (0.76, [0.5, 0, 0.25, 0.2]),
        (0.74, [0.5, 0, 0.25, 0]),
        (0.5, [0.5, 0, 0, 0]),
        (0.1, [0.5, 0, 0, 0]),
    ],
)
def test_the_nucleus_of_four_tokens(top_p: float, kept: list[float]) -> None:
    probs = torch.tensor([[0.5, 0.05, 0.25, 0.2], [0.125, 0.125, 0.25, 0.5]])
    out = _nucleus(probs, top_p)
    assert torch.equal(out[0], torch.tensor(kept))
    assert out[1].sum() >= top_p


def test_what_no_engine_can_do_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"rollout\.leave_frac: expected a share in \(0, 1\], got 0"
    ):
        HFEngine(max_new_tokens=4, leave_frac=0.0)
    with pytest.raises(
        ValueError, match=r"rollout\.temperature: expected 0 \(greedy\) or more, got -1"
    ):
        HFEngine(max_new_tokens=4, temperature=-1.0)
    assert HFEngine(max_new_tokens=4, temperature=0.5, top_p=0.9).sampling == Sampling(
        group_size=1, max_new_tokens=4, temperature=0.5, top_p=0.9
    )


def test_logits_that_are_no_numbers_are_named_instead_of_sampled_from(
    policy: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    broken = copy.deepcopy(policy)
    broken.model.language_model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(
        FloatingPointError, match=r"^the policy's logits became nan while sampling$"
    ):
        Sampler(broken, encoder, batch)()


def test_any_of_the_end_tokens_ends_a_completion(sample: Sampler, encoder: QwenEncoder) -> None:
    # the token that is written most often becomes a second end token
    plain = sample().completion_ids
    written = plain[(plain != encoder.eos_token_id) & (plain != encoder.pad_token_id)]
    second = int(written.mode().values)
    other = copy.copy(encoder)
    other.end_tokens = encoder.end_tokens | {second: "<other end>"}
    rollouts = sample(encoder=other)
    ended_by = {second: 0, encoder.eos_token_id: 0}
    for ids, mask, finished in zip(
        rollouts.completion_ids, rollouts.completion_mask, rollouts.finished, strict=True
    ):
        *before, last = ids[mask].tolist()
        assert not {second, encoder.eos_token_id} & set(before)
        assert bool(finished) == (last in ended_by)
        if finished:
            ended_by[last] += 1
    assert min(ended_by.values()) > 0
