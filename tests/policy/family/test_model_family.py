"""What must hold of every family: sampling, training, adapters and exports see one model."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import BUILDERS, Case
from torch import Tensor
from transformers import AutoModelForImageTextToText

from g2rpo.policy.adapter import LoRA, adapter_off, is_adapter
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.export import save_checkpoint
from g2rpo.policy.family.choose_family import families, family_of
from g2rpo.policy.flops import cost_of, vision_flops
from g2rpo.policy.packing import supervised_batch, target_logprobs
from g2rpo.policy.prefix_attention import knows_prefixes
from g2rpo.policy.stats import token_stats
from g2rpo.policy.weight_stream import published_tensors
from g2rpo.records import Prompt
from g2rpo.training.estimate.shape import blank_policy

CLOSE = 1e-4
QUICK = "smolvlm"
"""The family whose tests are never marked slow."""
KINDS = sorted(BUILDERS)
SLOW_BUT_ONE = [
    kind if kind == QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS
]
every = pytest.mark.parametrize("kind", KINDS)
every_slowly = pytest.mark.parametrize("kind", SLOW_BUT_ONE)
Of = Callable[[str], Case]


def _logprobs(
    case: Case, policy: Any = None, prefix: str = "repeated", *, forbid: bool = True
) -> Tensor:
    rollouts = case.rollouts
    return token_stats(
        case.policy if policy is None else policy,
        case.batch,
        rollouts.completion_ids,
        rollouts.completion_mask,
        forbidden=case.encoder.forbidden_token_ids if forbid else (),
        prefix=prefix,
    ).logprobs


def test_every_family_has_a_tiny_checkpoint() -> None:
    built = {family_of_kind(kind) for kind in KINDS}
    assert built == set(families().values())


def family_of_kind(kind: str) -> Any:
    return families()[kind]


@every
@torch.no_grad()
def test_sampling_and_training_give_a_token_one_probability(kind: str, case: Of) -> None:
    found = case(kind)
    rollouts = found.rollouts
    prefixes = ["repeated", "shared"] if knows_prefixes(found.policy) else ["repeated"]
    for prefix in prefixes:
        gap = (_logprobs(found, prefix=prefix) - rollouts.old_logprobs).abs().max()
        assert gap < CLOSE, prefix


@every
@torch.no_grad()
def test_the_model_of_transformers_agrees_one_sequence_at_a_time(
    kind: str, case: Of, family_prompts: Sequence[Prompt]
) -> None:
    found = case(kind)
    ours = _logprobs(found)
    for row in (0, 3, 6, 9):  # the first completion of each prompt
        completion = found.rollouts.completion_ids[row][found.rollouts.completion_mask[row]]
        one = found.encoder.encode([family_prompts[row // 3]])
        ids = torch.cat([one.input_ids, completion[None]], 1)
        inputs = _own_inputs(found, family_prompts[row // 3])
        logits = found.policy(
            input_ids=ids, attention_mask=torch.ones_like(ids), **_types(found, ids), **inputs
        ).logits[0, -len(completion) - 1 : -1]
        logits[:, list(found.encoder.forbidden_token_ids)] = float("-inf")
        plain = logits.log_softmax(-1).gather(-1, completion[:, None])[:, 0]
        assert (ours[row, : len(completion)] - plain).abs().max() < CLOSE


def _own_inputs(case: Case, prompt: Prompt) -> dict[str, Tensor]:
    """The image tensors as transformers' own image processor gives them to its model."""
    if not prompt.images:
        return {}
    options = {"size": case.encoder.size} if case.kind.startswith("qwen") else case.encoder.options
    out = case.encoder.image_processor([list(prompt.images)], return_tensors="pt", **options)
    unused = {"rows", "cols", "num_crops", "num_patches"}
    return {name: value for name, value in out.items() if name not in unused}


def _types(case: Case, ids: Tensor) -> dict[str, Tensor]:
    if case.kind.startswith("qwen"):
        return {"mm_token_type_ids": (ids == case.encoder.image_token_id).int()}
    if case.kind == "gemma3":
        return {"token_type_ids": (ids == case.policy.config.image_token_id).long()}
    return {}


@every_slowly
@torch.no_grad()
def test_supervised_rows_give_the_same_probabilities(kind: str, case: Of) -> None:
    found = case(kind)
    first = range(0, len(found.rollouts.texts), 3)
    completions = [
        found.rollouts.completion_ids[i][found.rollouts.completion_mask[i]].tolist() for i in first
    ]
    for row_tokens in (1, 1000) if families()[kind].shares_prefix else (1,):
        rows = supervised_batch(
            found.policy, found.batch, completions, found.encoder.pad_token_id, row_tokens
        )
        ours = target_logprobs(found.policy, rows).split([len(ids) for ids in completions])
        theirs = _logprobs(found, forbid=False)
        for i, own in zip(first, ours, strict=True):
            assert (own - theirs[i, : len(own)]).abs().max() < CLOSE


@every_slowly
@torch.no_grad()
def test_probabilities_depend_on_the_image(kind: str, case: Of) -> None:
    found = case(kind)
    other, *rest = (
        {name: -value if name == "pixel_values" else value for name, value in image.items()}
        for image in found.batch.images
    )
    changed = replace(found, batch=replace(found.batch, images=(other, *found.batch.images[1:])))
    gaps = (_logprobs(changed) - _logprobs(found)).abs().amax(1)
    assert gaps[:3].min() > 1e-3
    assert gaps[3:].max() < CLOSE
    assert rest


@every_slowly
def test_a_step_changes_the_weights_and_lowers_the_loss(kind: str, case: Of) -> None:
    found = case(kind)
    policy = copy.deepcopy(found.policy)
    vision = family_of(policy).vision_parameters(policy)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    optimizer = torch.optim.SGD(policy.parameters(), lr=1e-4)
    first = -_logprobs(found, policy).mean()
    first.backward()
    optimizer.step()
    changed = {
        name for name, value in policy.state_dict().items() if not torch.equal(value, before[name])
    }
    assert vision.keys() & changed
    assert changed - vision.keys()
    with torch.no_grad():
        assert -_logprobs(found, policy).mean() < first.detach()


@every_slowly
def test_an_adapter_starts_as_the_model_and_learns_alone(kind: str, case: Of) -> None:
    found = case(kind)
    adapter = LoRA(rank=2, targets=("q_proj", "v_proj"), vision=True)
    policy = Checkpoint(path=str(found.folder), adapter=adapter).policy()
    names = {name for name, p in policy.named_parameters() if p.requires_grad}
    assert names
    assert all(is_adapter(name) for name in names)
    vision = family_of(policy).vision_parameters(policy).keys()
    assert names & vision
    assert names - vision
    first = -_logprobs(found, policy).mean()
    assert abs(first.item() + _logprobs(found).mean().item()) < CLOSE
    for _ in range(2):  # B starts at zero, so the first step changes B alone
        (-_logprobs(found, policy).mean()).backward()
        torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], lr=1e-2).step()
    with torch.no_grad():
        assert _logprobs(found, policy).mean() > -first
        with adapter_off(policy):
            assert (_logprobs(found, policy) - _logprobs(found)).abs().max() < CLOSE


@every_slowly
def test_freezing_vision_leaves_the_language_model_alone(kind: str, case: Of) -> None:
    policy = Checkpoint(path=str(case(kind).folder), freeze_vision=True).policy()
    trained = {name for name, p in policy.named_parameters() if p.requires_grad}
    assert family_of(policy).vision_parameters(policy).keys() & trained == set()
    assert {id(p) for p in family_of(policy).decoder(policy).parameters()} <= {
        id(p) for p in policy.parameters() if p.requires_grad
    }


@every_slowly
@torch.no_grad()
def test_what_is_saved_is_read_by_transformers_and_by_us(
    kind: str, case: Of, tmp_path: Path
) -> None:
    found = case(kind)
    save_checkpoint(found.policy, found.encoder, tmp_path / "final", "float32")
    policy = AutoModelForImageTextToText.from_pretrained(tmp_path / "final").eval()
    assert type(policy) is type(found.policy)
    for name, value in found.policy.state_dict().items():
        assert torch.equal(value, policy.state_dict()[name]), name
    again = Checkpoint(path=str(tmp_path / "final"))
    batch = again.encoder().encode(found.batch.prompts)
    assert torch.equal(batch.input_ids, found.batch.input_ids)
    for ours, theirs in zip(batch.images, found.batch.images, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@every_slowly
def test_the_work_of_the_vision_tower_is_counted(kind: str, case: Of) -> None:
    found = case(kind)
    cost = cost_of(found.policy)
    assert cost.token > 0
    assert vision_flops(found.policy, cost, found.batch) > 0


@every
def test_an_estimate_works_or_says_why_not(kind: str, family_folder: Callable[[str], Path]) -> None:
    checkpoint = Checkpoint(path=str(family_folder(kind)))
    if families()[kind].estimated:
        assert blank_policy(checkpoint).device.type == "meta"
    else:
        with pytest.raises(ValueError, match=rf"model_type '{kind}' cannot be estimated.*qwen3_vl"):
            blank_policy(checkpoint)


def test_weights_have_the_names_and_layouts_of_published_checkpoints(case: Of) -> None:
    """As engines load them: they differ from transformers' modules, experts even from its files."""
    found = dict(published_tensors(case("qwen3_vl_moe").policy))
    experts = "model.language_model.layers.0.mlp.experts"
    assert found[f"{experts}.gate_up_proj"].shape == (4, 64, 2 * 16)  # input first, then output
    assert found[f"{experts}.down_proj"].shape == (4, 16, 64)
    names = dict(published_tensors(case("llava_onevision").policy)).keys()
    assert "vision_tower.vision_model.embeddings.patch_embedding.weight" in names
    assert {"language_model.lm_head.weight", "image_newline"} < names
    tied = {name for name, _ in published_tensors(case("gemma3").policy)}
    untied = {name for name, _ in published_tensors(case("gemma3").policy, tied=False)}
    assert [name for name in tied - untied if not name.endswith("lm_head.weight")] == []
    assert len(tied - untied) == 1


def test_an_engine_gets_each_image_once_and_as_the_policy_sees_it(case: Of) -> None:
    found = case("smolvlm")
    small = copy.copy(found.encoder)
    small.max_pixels = 40 * 40
    images = small.pictures(found.batch)
    assert [len(own) for own in images] == found.batch.num_images.tolist()
    assert images[0][0].size == (40, 40)
    for prompt, own in zip(found.batch.prompts, images, strict=True):
        ids = found.encoder.unexpanded(prompt)
        assert ids.count(found.encoder.image_token_id) == len(own)
