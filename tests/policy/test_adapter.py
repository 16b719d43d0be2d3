"""An adapter beside frozen weights: what it trains, what it adds, and that merged, unmerged and
switched off are three exact things.
"""

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from closeness import near
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from g2rpo.policy import adapter as adapter_module
from g2rpo.policy.adapter import (
    LoRA,
    adapter_off,
    adapter_settings,
    existing_adapter,
    has_adapter,
    is_adapter,
)
from g2rpo.policy.checkpoint import Checkpoint, parameter_counts
from g2rpo.policy.export import save_adapter, save_checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.stats import token_stats
from g2rpo.policy.weight_stream import full_tensors
from g2rpo.records import Prompt

LAYERS = 4
"""Of the small language model; its width is 128, two key-value heads are 64 together, and its MLP
is 320 wide.
"""


@pytest.fixture
def adapted(policy: Any) -> Callable[..., Any]:
    """`adapted(rank=2)`: the lively model with an adapter that has moved away from zero."""

    def build(*, moved: bool = True, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
        own = copy.deepcopy(policy).to(dtype)
        LoRA(**{"rank": 4, "alpha": 6} | options).attach(own)
        generator = torch.Generator().manual_seed(5)
        for name, value in own.named_parameters():
            if moved and ".lora_B." in name:
                value.data.copy_(torch.randn(value.shape, generator=generator) * 0.2)
        return own

    return build


def _logprobs(
    policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt], prefix: str = "shared"
) -> torch.Tensor:
    ids = torch.arange(40, 40 + 6 * len(prompts)).view(-1, 3)
    return token_stats(
        policy, encoder.encode(prompts), ids, torch.ones_like(ids, dtype=torch.bool), prefix=prefix
    ).logprobs


def _trained(policy: Any) -> dict[str, torch.Tensor]:
    return {name: value for name, value in policy.named_parameters() if value.requires_grad}


def _merged_by_peft(policy: Any) -> Any:
    """The same by peft itself, on a copy."""
    from peft.tuners.lora import LoraLayer

    own = copy.deepcopy(policy)
    for name, layer in list(own.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            parent, _, last = name.rpartition(".")
            setattr(own.get_submodule(parent), last, layer.base_layer)
    return own


def test_a_new_adapter_changes_no_number_and_leaves_the_model_its_class(
    policy: Any, adapted: Callable[..., Any], encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    new = adapted(moved=False)
    assert type(new) is type(policy)
    assert not any(module.training for module in new.modules())
    with torch.no_grad():
        assert torch.equal(_logprobs(new, encoder, prompts), _logprobs(policy, encoder, prompts))


def test_only_the_adapter_is_trained_and_is_as_large_as_its_rank_says(
    policy: Any, adapted: Callable[..., Any]
) -> None:
    own = adapted(rank=3)
    assert {is_adapter(name) for name in _trained(own)} == {True}
    # both matrices of q, k and v, o, gate and up, down
    per_rank = (128 + 128) + 2 * (128 + 64) + (128 + 128) + 2 * (128 + 320) + (320 + 128)
    assert sum(value.numel() for value in _trained(own).values()) == LAYERS * 3 * per_rank
    everything = sum(value.numel() for value in policy.parameters())
    assert (
        parameter_counts(policy)
        == f"{everything / 1e6:.2f} M of {everything / 1e6:.2f} M parameters"
    )
    assert (
        parameter_counts(own)
        == f"0.03 M of {(everything + LAYERS * 3 * per_rank) / 1e6:.2f} M parameters"
    )
    assert adapter_settings(own) == {"rank": 3, "alpha": 6.0, "layers": LAYERS * 7}
    assert (has_adapter(policy), adapter_settings(policy)) == (False, {})


def test_targets_and_the_vision_tower_are_chosen(adapted: Callable[..., Any]) -> None:
    few = _trained(adapted(targets=["q_proj", "down_proj"]))
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in few} == {"q_proj", "down_proj"}
    assert len(few) == LAYERS * 2 * 2
    tower = _trained(adapted(targets=[], vision=True))
    assert all(name.startswith("model.visual.") for name in tower)
    assert {"attn.qkv", "attn.proj", "mlp.linear_fc1", "merger.linear_fc2"} <= {
        ".".join(name.split(".lora_")[0].split(".")[-2:]) for name in tower
    }
    assert len(_trained(adapted(targets=["q_proj"], vision=True))) == LAYERS * 2 + len(tower)


def test_every_projection_of_a_target_is_called_in_both_forms_of_the_forward_pass(
    adapted: Callable[..., Any], encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    gradients = []
    for prefix in ("shared", "repeated"):
        own = adapted(vision=True)
        _logprobs(own, encoder, prompts, prefix).sum().backward()
        assert [
            name
            for name, value in _trained(own).items()
            if value.grad is None or not value.grad.any()
        ] == []
        assert all(
            value.grad is None for name, value in own.named_parameters() if not is_adapter(name)
        )
        gradients.append({name: value.grad for name, value in _trained(own).items()})
    for name, value in gradients[0].items():
        torch.testing.assert_close(
            value, gradients[1][name], atol=2e-4 * float(value.abs().max()), rtol=1e-3
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_weights_are_those_that_peft_merges_and_the_policy_stays(
    dtype: torch.dtype, policy: Any, adapted: Callable[..., Any]
) -> None:
    own = adapted(dtype=dtype, vision=True)
    before = {name: value.clone() for name, value in own.state_dict().items()}
    merged = dict(full_tensors(own))
    theirs = _merged_by_peft(own).state_dict()
    assert list(merged) == list(policy.state_dict()) == list(theirs)
    assert all(
        torch.equal(value, theirs[name]) and value.dtype == dtype for name, value in merged.items()
    )
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    name = "model.language_model.layers.2.self_attn.k_proj"
    layer = own.get_submodule(name)
    by_hand = (
        layer.base_layer.weight.double()
        + 6 / 4 * layer.lora_B["default"].weight.double() @ layer.lora_A["default"].weight.double()
    )
    torch.testing.assert_close(
        merged[f"{name}.weight"].double(),
        by_hand,
        atol=2e-6,
        rtol=2e-6 if dtype == torch.float32 else 2**-7,
    )
    assert (
        float((merged[f"{name}.weight"] - policy.state_dict()[f"{name}.weight"]).abs().max()) > 0.1
    )


def test_merging_goes_tensor_by_tensor_and_copies_what_it_must_and_no_more(
    policy: Any, adapted: Callable[..., Any]
) -> None:
    own = adapted(targets=["v_proj"])
    merging = full_tensors(own)
    assert iter(merging) is merging
    held = {value.data_ptr() for value in own.state_dict().values()}
    new = [name for name, value in merging if value.data_ptr() not in held]
    assert new == [
        f"model.language_model.layers.{i}.self_attn.v_proj.weight" for i in range(LAYERS)
    ]
    assert not any(value.requires_grad for _, value in full_tensors(own))
    plain = dict(full_tensors(policy))
    assert {name: value.data_ptr() for name, value in plain.items()} == {
        n: v.data_ptr() for n, v in policy.state_dict().items()
    }


def test_a_model_with_the_merged_weights_computes_what_the_adapter_computes(
    policy: Any, adapted: Callable[..., Any], encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    own, plain = adapted(vision=True), copy.deepcopy(policy)
    plain.load_state_dict(dict(full_tensors(own)))
    with torch.no_grad():
        unmerged, merged, base = (
            _logprobs(model, encoder, prompts) for model in (own, plain, policy)
        )
    assert near(merged, unmerged, 2e-4)
    assert float((base - unmerged).abs().max()) > 0.5


@torch.no_grad()
def test_switched_off_it_is_the_frozen_copy_to_the_bit(
    policy: Any, adapted: Callable[..., Any], encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    own = adapted(vision=True)
    on, trained = _logprobs(own, encoder, prompts), set(_trained(own))
    with adapter_off(own):
        assert torch.equal(_logprobs(own, encoder, prompts), _logprobs(policy, encoder, prompts))
    with pytest.raises(KeyError), adapter_off(own):
        own.state_dict()["nothing"]
    assert torch.equal(_logprobs(own, encoder, prompts), on)
    assert set(_trained(own)) == trained
    with adapter_off(policy):
        assert not _logprobs(policy, encoder, prompts).isnan().any()


def test_a_saved_policy_is_an_ordinary_merged_folder(
    policy: Any,
    adapted: Callable[..., Any],
    encoder: QwenEncoder,
    prompts: Sequence[Prompt],
    tmp_path: Path,
) -> None:
    own = adapted(vision=True)
    for name, model in (("with", own), ("without", policy)):
        save_checkpoint(model, encoder, tmp_path / name, dtype="float32")
    assert (
        load_file(tmp_path / "with" / "model.safetensors").keys()
        == load_file(tmp_path / "without" / "model.safetensors").keys()
    )
    assert json.loads((tmp_path / "with" / "config.json").read_text()) == json.loads(
        (tmp_path / "without" / "config.json").read_text()
    )
    assert {file.name for file in (tmp_path / "with").iterdir()} == {
        file.name for file in (tmp_path / "without").iterdir()
    }
    theirs = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "with", dtype=torch.float32
    ).eval()
    assert all(
        torch.equal(value, dict(full_tensors(own))[name])
        for name, value in theirs.state_dict().items()
    )
    with torch.no_grad():
        assert near(_logprobs(theirs, encoder, prompts), _logprobs(own, encoder, prompts), 2e-4)


def test_a_saved_adapter_loads_in_peft(
    policy: Any,
    adapted: Callable[..., Any],
    encoder: QwenEncoder,
    prompts: Sequence[Prompt],
    tmp_path: Path,
) -> None:
    from peft import PeftModel

    own = adapted(vision=True)
    save_adapter(own, tmp_path, base="models/base")
    theirs = PeftModel.from_pretrained(copy.deepcopy(policy), tmp_path).eval().get_base_model()
    with torch.no_grad():
        assert torch.equal(_logprobs(theirs, encoder, prompts), _logprobs(own, encoder, prompts))
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (written["r"], written["lora_alpha"], written["base_model_name_or_path"]) == (
        4,
        6,
        "models/base",
    )
    assert own.peft_config["default"].base_model_name_or_path is None


def test_the_seed_decides_the_random_half_and_the_other_is_zero(
    adapted: Callable[..., Any],
) -> None:
    first, again, other = (_trained(adapted(moved=False, seed=seed)) for seed in (3, 3, 4))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    halves = {half: [name for name in first if f".lora_{half}." in name] for half in "AB"}
    assert all(not first[name].any() for name in halves["B"])
    assert not any(torch.equal(first[name], other[name]) for name in halves["A"])


def test_adapter_weights_stay_float32_in_a_model_of_lower_precision(
    adapted: Callable[..., Any], encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    own = adapted(dtype=torch.bfloat16)
    assert {value.dtype for value in _trained(own).values()} == {torch.float32}
    assert own.dtype == torch.bfloat16
    value = own.get_submodule("model.language_model.layers.0.mlp.up_proj").lora_B["default"].weight
    optimizer = torch.optim.AdamW([value], lr=1e-6, weight_decay=0.0)
    _logprobs(own, encoder, prompts).sum().backward()
    before = value.detach().clone()
    optimizer.step()
    assert bool((value != before).all())


def test_gradient_checkpointing_changes_no_gradient(
    tiny_folder: Path, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    found = []
    for trade in (False, True):
        own = Checkpoint(
            path=str(tiny_folder), gradient_checkpointing=trade, adapter=LoRA(rank=2)
        ).policy()
        _logprobs(own, encoder, prompts).sum().backward()
        found.append({name: value.grad for name, value in _trained(own).items()})
    assert all(torch.allclose(value, found[1][name], atol=1e-6) for name, value in found[0].items())
    assert any(value.any() for value in found[1].values())


def test_the_policy_is_its_own_reference_and_a_plain_one_needs_a_copy(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(path=str(tiny_folder), adapter=LoRA(rank=2))
    policy = checkpoint.policy()
    assert checkpoint.reference(policy) is policy
    assert Checkpoint(path=str(tiny_folder)).reference(policy) is not policy


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rank": 0}, r"model\.adapter\.rank: expected 1 or more, got 0"),
        ({"alpha": 0.0}, r"model\.adapter\.alpha: expected a number above 0, got 0"),
        ({"alpha": float("nan")}, r"model\.adapter\.alpha: expected a number above 0, got nan"),
        (
            {"dropout": 0.05},
            r"model\.adapter\.dropout: expected 0, got 0\.05; .*sampled the completions",
        ),
        (
            {"targets": ["q_proj", "qproj"]},
            r"model\.adapter\.targets: expected some of q_proj, .*down_proj, got 'qproj'",
        ),
        (
            {"targets": []},
            r"model\.adapter\.targets: expected a projection, or model\.adapter\.vision=true",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LoRA(**wrong)


def test_a_frozen_vision_tower_cannot_have_an_adapter(tiny_folder: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"model\.freeze_vision: expected false with model\.adapter\.vision=true, got true",
    ):
        Checkpoint(path=str(tiny_folder), freeze_vision=True, adapter=LoRA(vision=True))
    assert Checkpoint(path=str(tiny_folder), freeze_vision=True, adapter=LoRA()).adapter is not None


def test_without_peft_the_choice_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter_module, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError,
        match=(
            r"model/adapter=lora: peft is not installed; pip install -c constraints/ci\.txt -e"
            r" \.\[lora\]"
        ),
    ):
        LoRA()


def test_a_model_without_such_a_layer_is_named_with_it(policy: Any) -> None:
    own = copy.deepcopy(policy)
    for layer in own.model.language_model.layers:
        layer.mlp.up_proj = torch.nn.Identity()  # as where experts share one tensor
    with pytest.raises(
        ValueError,
        match=(
            r"model\.adapter\.targets: Qwen3VLForConditionalGeneration has no linear layer up_proj;"
            r" leave it out"
        ),
    ):
        LoRA().attach(own)


@pytest.fixture
def saved(tiny_folder: Path, tmp_path: Path) -> tuple[Any, Path]:
    """A policy with an adapter whose B is not zero, and the folder that it was saved to."""
    checkpoint = Checkpoint(
        path=str(tiny_folder), adapter=LoRA(rank=3, alpha=5.0, targets=("q_proj", "up_proj"))
    )
    policy = checkpoint.policy()
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(2))
    save_adapter(policy, tmp_path / "adapter", str(tiny_folder))
    return policy, tmp_path / "adapter"


def test_training_goes_on_with_a_saved_adapter(saved: tuple[Any, Path], tiny_folder: Path) -> None:
    policy, folder = saved
    again = Checkpoint(path=str(tiny_folder), adapter=existing_adapter(str(folder))).policy()
    assert adapter_settings(again) == adapter_settings(policy)
    ours, theirs = dict(again.named_parameters()), dict(policy.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, parameter in ours.items():
        assert torch.equal(parameter, theirs[name]), name
        assert parameter.requires_grad == is_adapter(name)
    assert existing_adapter() is None


def test_an_adapter_of_peft_itself_is_read(tiny_folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = Checkpoint(path=str(tiny_folder)).policy()
    config = LoraConfig(
        r=2, lora_alpha=8, lora_dropout=0.1, target_modules=["v_proj"], init_lora_weights=False
    )
    wrapped = get_peft_model(base, config).eval()
    wrapped.save_pretrained(tmp_path / "theirs")
    again = Checkpoint(
        path=str(tiny_folder), adapter=existing_adapter(str(tmp_path / "theirs"))
    ).policy()
    ids = torch.tensor([[11, 12, 13]])
    with torch.no_grad():
        assert near(again(input_ids=ids).logits, wrapped(input_ids=ids).logits)


def test_an_adapter_that_does_not_fit_names_its_folder_and_its_model(
    saved: tuple[Any, Path], tiny_folder: Path, tmp_path: Path
) -> None:
    _, folder = saved
    weights = load_file(folder / "adapter_model.safetensors")
    name = min(weights)
    for changed in ({}, {name: weights[name][:1]}):
        save_file(
            {n: v for n, v in weights.items() if n != name} | changed,
            folder / "adapter_model.safetensors",
        )
        with pytest.raises(
            ValueError, match=r"model\.adapter\.path=.*does not fit Qwen3VL.*set model\.path to the"
        ):
            Checkpoint(path=str(tiny_folder), adapter=existing_adapter(str(folder))).policy()
    settings = json.loads((folder / "adapter_config.json").read_text())
    for name, value, found in (("use_dora", True, "use_dora"), ("bias", "all", "bias=all")):
        (folder / "adapter_config.json").write_text(json.dumps(settings | {name: value}))
        with pytest.raises(ValueError, match=f"expected a plain LoRA, got .*{found}"):
            Checkpoint(path=str(tiny_folder), adapter=existing_adapter(str(folder))).policy()
    with pytest.raises(ValueError, match=r"model\.adapter\.path: expected a folder with adapter_"):
        existing_adapter(str(tmp_path))


def test_an_adapter_is_no_model(saved: tuple[Any, Path]) -> None:
    _, folder = saved
    with pytest.raises(
        ValueError,
        match=r"expected a whole model, got an adapter; .*checkpoints/final.*model\.adapter\.path=",
    ):
        Checkpoint(path=str(folder))
