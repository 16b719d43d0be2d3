from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.export import save_checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.stats import token_stats
from g2rpo.policy.tiny import save_tiny
from g2rpo.records import Prompt


def _weights(policy: Any) -> dict[str, torch.Tensor]:
    return dict(policy.named_parameters())


def _logprobs(policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]) -> torch.Tensor:
    ids = torch.arange(40, 40 + 3 * len(prompts)).view(-1, 3)
    return token_stats(
        policy, encoder.encode(prompts), ids, torch.ones_like(ids, dtype=torch.bool)
    ).logprobs


def test_the_folder_is_an_ordinary_one(tiny_folder: Path) -> None:
    theirs, ours = (
        AutoModelForImageTextToText.from_pretrained(tiny_folder),
        Checkpoint(path=str(tiny_folder)).policy(),
    )
    assert type(theirs).__name__ == "Qwen3VLForConditionalGeneration"
    assert all(torch.equal(value, _weights(theirs)[name]) for name, value in _weights(ours).items())
    assert (
        theirs.generation_config.eos_token_id
        == AutoTokenizer.from_pretrained(tiny_folder).eos_token_id
    )
    assert not ours.training
    assert 1.4e6 < sum(value.numel() for value in _weights(ours).values()) < 1.8e6


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        save_tiny(tmp_path / name, ["a b c"], seed=seed)
    a, b, c = (_weights(Checkpoint(path=str(tmp_path / name)).policy()) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(
        a["model.language_model.embed_tokens.weight"], c["model.language_model.embed_tokens.weight"]
    )


@pytest.mark.parametrize(
    ("dtype", "kept"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_saved_policy_loads_with_its_weights_and_its_tokenizer(
    dtype: str,
    kept: torch.dtype,
    policy: Any,
    encoder: QwenEncoder,
    prompts: Sequence[Prompt],
    tmp_path: Path,
) -> None:
    save_checkpoint(policy, encoder, tmp_path / "saved", dtype=dtype)
    again = Checkpoint(path=str(tmp_path / "saved"))
    weights = _weights(again.policy())
    assert weights.keys() == _weights(policy).keys()
    assert all(
        torch.equal(value.to(kept).float(), weights[name])
        for name, value in _weights(policy).items()
    )
    batches = [e.encode(prompts) for e in (encoder, again.encoder())]
    assert torch.equal(batches[0].input_ids, batches[1].input_ids)
    assert torch.equal(*(batch.image_inputs()["pixel_values"] for batch in batches))
    theirs = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "saved", dtype=torch.float32
    ).eval()
    right = _logprobs(theirs, again.encoder(), prompts)
    # the sums of products may have another order (policy/float32_linear.py)
    assert (
        _logprobs(again.policy(), encoder, prompts) - right
    ).abs().max() < 1e-6 * right.abs().max()


def test_saving_leaves_the_policy_as_it_is(
    tiny_folder: Path, encoder: QwenEncoder, tmp_path: Path
) -> None:
    policy = Checkpoint(path=str(tiny_folder)).policy()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    save_checkpoint(policy, encoder, tmp_path / "saved")
    assert all(
        torch.equal(value, before[name]) and value.dtype == torch.float32
        for name, value in policy.state_dict().items()
    )


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_a_folder_without_a_model_is_refused_before_anything_is_loaded(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "models" / "mine"
    path.parent.mkdir()
    {"missing": lambda: None, "empty": path.mkdir, "file": path.touch}[kind]()
    message = (
        r"model\.path: expected a folder with config\.json or a Hub id like .*, got"
        r" '.*models/mine'; download the model or correct the path"
    )
    with pytest.raises(ValueError, match=message):
        Checkpoint(path=str(path))


def test_a_hub_id_is_not_looked_up_before_it_is_needed() -> None:
    assert (
        Checkpoint(path="Qwen/Qwen3-VL-8B-Instruct", dtype="bfloat16").path
        == "Qwen/Qwen3-VL-8B-Instruct"
    )


def test_an_unknown_dtype_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"model\.dtype: expected one of float32, bfloat16, float16, got 'fp8'"
    ):
        Checkpoint(path=str(tiny_folder), dtype="fp8")


def test_the_packaged_policy_is_found_and_an_unknown_one_is_not() -> None:
    assert Checkpoint.packaged(name="tiny_qwen3_vl").encoder().image_processor.patch_size == 8
    with pytest.raises(ValueError, match=r"model\.path: .*got '.*tiny_llava'"):
        Checkpoint.packaged(name="tiny_llava")


def test_a_frozen_vision_tower_gets_no_gradient_and_the_language_model_does(
    tiny_folder: Path,
) -> None:
    trained = {
        name.split(".")[1]
        for name, p in _weights(
            Checkpoint(path=str(tiny_folder), freeze_vision=True).policy()
        ).items()
        if p.requires_grad
    }
    assert trained == {"language_model"}
    everything = {
        name.split(".")[1]
        for name, p in _weights(Checkpoint(path=str(tiny_folder)).policy()).items()
        if p.requires_grad
    }
    assert everything == {"language_model", "visual"}


def test_the_reference_is_frozen_and_a_copy_of_its_own(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(path=str(tiny_folder))
    policy, reference = _weights(checkpoint.policy()), _weights(checkpoint.reference(None))
    assert not any(value.requires_grad for value in reference.values())
    with torch.no_grad():
        for value in policy.values():
            value.add_(1.0)
    fresh = _weights(checkpoint.policy())
    assert all(torch.equal(value, fresh[name]) for name, value in reference.items())


def _saved_bytes(run: Callable[[], torch.Tensor]) -> tuple[int, torch.Tensor]:
    """What a forward pass keeps for the backward pass, and its result."""
    kept: dict[int, int] = {}

    def note(value: torch.Tensor) -> torch.Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        result = run()
    return sum(kept.values()), result


def test_gradient_checkpointing_keeps_less_and_changes_no_number(
    tiny_folder: Path, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    results = []
    for trade in (False, True):
        policy = Checkpoint(path=str(tiny_folder), gradient_checkpointing=trade).policy()
        kept, logprobs = _saved_bytes(lambda: _logprobs(policy, encoder, prompts))  # noqa: B023  called at once
        logprobs.sum().backward()
        results.append(
            (
                kept,
                logprobs.detach(),
                {name: value.grad for name, value in _weights(policy).items()},
            )
        )
    (plenty, plain, plain_grads), (little, again, again_grads) = results
    assert little < 0.5 * plenty
    assert torch.equal(plain, again)
    assert all(
        torch.allclose(plain_grads[name], again_grads[name], atol=1e-6) for name in plain_grads
    )


def test_a_missing_folder_inside_a_folder_that_exists_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    with pytest.raises(ValueError, match=r"model\.path: expected a folder with config.json"):
        Checkpoint(path="outputs/step50")
