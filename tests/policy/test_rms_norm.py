"""RMSNorm in fewer passes, against the formula in float64 and the classes of transformers."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from closeness import near
from torch import Tensor, nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5RMSNorm, Qwen3_5RMSNormGated
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRMSNorm

from g2rpo.policy import rms_norm
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family import qwen_vl
from g2rpo.policy.rms_norm import _RMSNorm, use_fast_norms

EPS = 1e-6


def both(width: int, kind: type[nn.Module] = Qwen3VLTextRMSNorm) -> tuple[nn.Module, nn.Module]:
    """Return a norm of transformers and its faster copy, with weights that are not 1."""
    plain = kind(width, eps=EPS)
    with torch.no_grad():
        plain.weight.copy_(torch.randn(width, generator=torch.Generator().manual_seed(1)) + 0.5)
    fast = copy.deepcopy(plain)
    use_fast_norms(fast)
    return plain, fast


def rows(*shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2)) * scale


def results(norm: Any, values: Tensor, weight: Tensor) -> list[Tensor]:
    """Return the output, and the gradients of values and weight."""
    output = norm(values)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(3))
    return [output.detach(), *torch.autograd.grad(output, [values, weight], upstream.to(output))]


@pytest.fixture
def fast_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the inputs that are not left to transformers."""
    made: list[tuple[int, ...]] = []
    inverse = rms_norm._inverse

    def counted(x: Tensor, eps: float) -> Tensor:
        made.append(tuple(x.shape))
        return inverse(x, eps)

    monkeypatch.setattr(rms_norm, "_inverse", counted)
    return made


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize(
    "shape",
    [(128,), (1, 7, 128), (3, 5, 128), (2, 4, 6, 32), (5, 2, 1, 32), (1, 0, 128), (1, 300, 1024)],
)
def test_output_and_gradients_are_those_of_the_formula(
    shape: tuple[int, ...], scale: float, fast_calls: list[tuple[int, ...]]
) -> None:
    plain, fast = both(shape[-1])
    values = rows(*shape, scale=scale).requires_grad_()
    exact = [part.detach().double().requires_grad_() for part in (values, plain.weight)]

    def formula(x: Tensor) -> Tensor:
        return exact[1] * x / (x.square().sum(-1, keepdim=True) / x.shape[-1] + EPS).sqrt()

    found = results(fast, values, fast.weight)
    for mine, right in zip(found, results(formula, *exact), strict=True):
        assert mine.dtype == torch.float32
        assert mine.shape == right.shape
        if mine.numel():
            assert (mine - right).abs().max() <= 5e-6 * right.abs().max()
    assert fast_calls == [shape]
    with torch.no_grad():
        assert torch.equal(fast(values), found[0])


def test_rows_of_all_magnitudes_and_of_zeros_are_normalized_each_by_itself() -> None:
    plain, fast = both(32)
    values = rows(4, 32) * torch.tensor([0.0, 1e-4, 1.0, 1e5])[:, None]
    values.requires_grad_()
    mine, right = results(fast, values, fast.weight), results(plain, values, plain.weight)
    for row in range(4):
        assert near(mine[0][row], right[0][row], 1e-6)
        largest = right[1][row].abs().max()  # from 1e-5 to 1e3
        assert (mine[1][row] - right[1][row]).abs().max() <= 5e-6 * largest
    assert near(mine[2], right[2], 1e-6)


def test_transposed_heads_are_those_in_order() -> None:
    plain, fast = both(32)
    values = rows(2, 6, 4, 32).transpose(1, 2).requires_grad_()
    mine, right = results(fast, values, fast.weight), results(plain, values, plain.weight)
    assert all(near(own, other, 5e-6) for own, other in zip(mine, right, strict=True))


def test_frozen_weights_and_inputs_get_no_gradient() -> None:
    plain, fast = both(32)
    values = rows(3, 32)
    right = results(plain, values.clone().requires_grad_(), plain.weight)
    alone = fast(values)  # the input is frozen
    alone.backward(torch.randn(3, 32, generator=torch.Generator().manual_seed(3)))
    assert near(fast.weight.grad, right[2], 5e-6)
    fast.requires_grad_(False).weight.grad = None
    moved = values.clone().requires_grad_()
    fast(moved).backward(torch.randn(3, 32, generator=torch.Generator().manual_seed(3)))
    assert near(moved.grad, right[1], 5e-6)
    assert fast.weight.grad is None
    assert not fast(values).requires_grad


def test_the_backward_pass_keeps_the_input_and_one_number_per_token() -> None:
    kept: list[tuple[int, ...]] = []

    def pack(value: Tensor) -> Tensor:
        kept.append(tuple(value.shape))
        return value

    _, fast = both(32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        fast(rows(2, 5, 32).requires_grad_())
    assert kept == [(2, 5, 32), (32,), (2, 5, 1)]


@pytest.mark.parametrize("kind", [Qwen3VLTextRMSNorm, Qwen2_5_VLRMSNorm])
def test_other_dtypes_autocast_and_devices_keep_the_arithmetic_of_transformers(
    kind: type[nn.Module], fast_calls: list[tuple[int, ...]]
) -> None:
    plain, fast = both(32, kind)
    values = rows(2, 3, 32).requires_grad_()
    half = values.detach().bfloat16().requires_grad_()
    cases = [(half, False), (values, True), (half, True)]
    for given, autocast in cases:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            mine, right = results(fast, given, fast.weight), results(plain, given, plain.weight)
        assert all(torch.equal(own, other) for own, other in zip(mine, right, strict=True))
    whole = [norm.bfloat16() for norm in (fast, plain)]
    mine, right = (results(norm, half, norm.weight) for norm in whole)
    assert all(torch.equal(own, other) for own, other in zip(mine, right, strict=True))
    wide = values.detach().double()
    assert torch.equal(fast.double()(wide), plain.double()(wide))
    on_meta = fast.float().to("meta")(values.to("meta"))
    assert (on_meta.device.type, on_meta.shape) == ("meta", values.shape)
    assert fast_calls == []


def test_defaults_and_modes_of_the_first_call_leave_no_trace() -> None:
    plain, fast = both(32)
    fast.variance_epsilon = plain.variance_epsilon = 1.37e-5  # no other test computes with it
    values = rows(2, 32, scale=1e-3)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.inference_mode(), torch.device("meta"):
            assert near(fast(values), plain(values), 1e-6)
    finally:
        torch.set_default_dtype(torch.float32)
    values.requires_grad_()
    mine, right = results(fast, values, fast.weight), results(plain, values, plain.weight)
    assert all(near(own, other, 5e-6) for own, other in zip(mine, right, strict=True))


def test_norms_of_another_formula_stay() -> None:
    kinds = [Gemma3RMSNorm(8), Qwen3_5RMSNorm(8), Qwen3_5RMSNormGated(8), nn.RMSNorm(8)]
    kinds.append(nn.LayerNorm(8))
    model = nn.Sequential(*kinds, Qwen3VLTextRMSNorm(8))
    use_fast_norms(model)
    before = [Gemma3RMSNorm, Qwen3_5RMSNorm, Qwen3_5RMSNormGated, nn.RMSNorm, nn.LayerNorm]
    assert [type(norm) for norm in model[:-1]] == before
    assert type(model[-1]) is not Qwen3VLTextRMSNorm
    assert isinstance(model[-1], Qwen3VLTextRMSNorm)
    fast = type(model[-1])
    use_fast_norms(model)  # nothing is left to do
    assert type(model[-1]) is fast


def tiny(monkeypatch: pytest.MonkeyPatch, *, fast: bool) -> Any:
    """Return the packaged policy."""
    with monkeypatch.context() as patch:
        if not fast:
            patch.setattr(qwen_vl, "use_fast_norms", lambda policy: None)
        return Checkpoint.packaged(name="tiny_qwen3_vl").policy()


def trained(policy: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the logits of some tokens, and the gradients of all weights of the text model."""
    ids = torch.arange(10, 74).view(2, 32)
    policy.zero_grad()
    logits = policy(input_ids=ids).logits
    logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None]).mean().backward()
    grads = {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}
    return logits.detach(), grads


def test_a_policy_computes_and_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    (mine, grads), (right, expected) = (
        trained(tiny(monkeypatch, fast=fast)) for fast in (True, False)
    )
    assert (mine - right).abs().max() < 1e-5 * right.abs().max()
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        assert (grad - expected[name]).norm() < 1e-5 * expected[name].norm(), name


def test_a_policy_keeps_its_names_and_classes_and_is_copied_pickled_and_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain, policy = (tiny(monkeypatch, fast=fast) for fast in (False, True))
    assert policy.state_dict().keys() == plain.state_dict().keys()
    assert repr(policy) == repr(plain)
    for (name, mine), (_, right) in zip(policy.named_modules(), plain.named_modules(), strict=True):
        assert isinstance(mine, type(right)), name
    ids = torch.arange(10, 74).view(2, 32)
    torch.save(policy, tmp_path / "policy.pt")
    copies = [
        copy.deepcopy(policy),
        pickle.loads(pickle.dumps(policy)),
        torch.load(tmp_path / "policy.pt", weights_only=False),
    ]
    with torch.no_grad():
        right = policy(input_ids=ids).logits
        for other in copies:
            norm = other.model.language_model.norm
            assert type(norm) is type(policy.model.language_model.norm)
            assert norm.weight is not policy.model.language_model.norm.weight
            assert torch.equal(other(input_ids=ids).logits, right)
    policy.save_pretrained(tmp_path / "saved")
    plain.save_pretrained(tmp_path / "plain")
    saved = [tmp_path / name / "model.safetensors" for name in ("saved", "plain")]
    assert saved[0].read_bytes() == saved[1].read_bytes()


def test_autocast_around_the_backward_pass_changes_nothing() -> None:
    """Lightning enters autocast around whole training steps."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 32, generator=generator, requires_grad=True)
    weight = torch.rand(32, generator=generator, requires_grad=True)
    upstream = torch.randn(3, 5, 32, generator=generator)
    plain = torch.autograd.grad(_RMSNorm.apply(x, weight, 1e-6), (x, weight), upstream)
    out = _RMSNorm.apply(x, weight, 1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        inside = torch.autograd.grad(out, (x, weight), upstream)
    assert all(torch.equal(*pair) for pair in zip(plain, inside, strict=True))
