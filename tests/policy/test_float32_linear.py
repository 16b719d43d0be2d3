"""Linear layers with oneDNN against products in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from g2rpo.policy import float32_linear
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.float32_linear import Float32Linear, use_onednn

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this build of PyTorch has no oneDNN"
)


def gradients(
    layer: Callable[[Tensor], Tensor], values: Tensor, upstream: Tensor, *more: Tensor
) -> list[Tensor]:
    """Return the output, and the gradients of input and `more`."""
    output = layer(values)
    return [output.detach(), *torch.autograd.grad(output, [values, *more], upstream)]


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(545,), (3, 217), (2, 2, 160)])
def test_output_and_gradients_are_those_of_float32(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 56, bias=bias)
    exact = nn.Linear(40, 56, bias=bias).double()
    exact.load_state_dict(layer.state_dict())
    layer.__class__ = Float32Linear
    values, upstream = torch.randn(*shape, 40, requires_grad=True), torch.randn(*shape, 56)
    wide = values.detach().double().requires_grad_()
    mine = gradients(layer, values, upstream, *layer.parameters())
    right = gradients(exact, wide, upstream.double(), *exact.parameters())
    for own, other in zip(mine, right, strict=True):
        assert own.dtype == torch.float32
        assert (own - other).abs().max() < 1e-6 * other.abs().max()


@needs_onednn
def test_a_frozen_layer_keeps_no_input_and_a_first_layer_no_weight() -> None:
    def kept(layer: nn.Linear, values: Tensor) -> list[tuple[int, ...]]:
        shapes: list[tuple[int, ...]] = []

        def pack(value: Tensor) -> Tensor:
            shapes.append(tuple(value.shape))
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            layer(values)
        return shapes

    layer = Float32Linear(40, 56, bias=False)
    values = torch.randn(640, 40)
    assert kept(layer, values) == [(640, 40)]
    layer.requires_grad_(False)
    assert kept(layer, values.requires_grad_()) == [(56, 40)]


def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return the list to which the shape of each product of oneDNN is added."""
    found: list[tuple[int, ...]] = []
    product = float32_linear._product

    def counted(left: Tensor, *others: Any) -> Tensor:
        found.append(tuple(left.shape))
        return product(left, *others)

    monkeypatch.setattr(float32_linear, "_product", counted)
    return found


@needs_onednn
def test_few_rows_other_dtypes_and_autocast_are_left_to_pytorch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = calls(monkeypatch)
    layer = Float32Linear(40, 56)
    layer(torch.randn(511, 40))
    layer.bfloat16()(torch.randn(640, 40).bfloat16())
    layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(640, 40)).dtype == torch.bfloat16
    layer.to("meta")(torch.randn(640, 40, device="meta"))
    assert made == []
    layer.to_empty(device="cpu")(torch.randn(512, 40))
    assert made == [(512, 40)]


@needs_onednn
def test_a_policy_computes_the_same_and_saves_the_same_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(float32_linear, "is_faster", lambda: False)
    plain = Checkpoint.packaged(name="tiny_qwen3_vl").policy()
    monkeypatch.setattr(float32_linear, "is_faster", lambda: True)
    policy = Checkpoint.packaged(name="tiny_qwen3_vl").policy()
    made = calls(monkeypatch)
    ids = torch.arange(10, 522)[None]
    with torch.no_grad():
        logits, right = policy(input_ids=ids).logits, plain(input_ids=ids).logits
    assert len(made) >= 7 * policy.config.get_text_config().num_hidden_layers
    assert (logits - right).abs().max() < 1e-5 * right.abs().max()
    assert policy.state_dict().keys() == plain.state_dict().keys()


def test_another_processor_keeps_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float32_linear, "is_faster", lambda: False)
    layers = nn.Sequential(nn.Linear(3, 4))
    use_onednn(layers)
    assert type(layers[0]) is nn.Linear


@pytest.mark.parametrize(
    ("vendor", "family", "capability", "faster"),
    [
        ("AuthenticAMD", 26, "AVX512", True),
        ("AuthenticAMD", 25, "AVX512", False),
        ("GenuineIntel", 26, "AVX512", False),
        ("AuthenticAMD", 26, "AVX2", False),
    ],
)
@needs_onednn
def test_only_amd_processors_since_zen_5_are_faster(
    vendor: str, family: int, capability: str, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\n"
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: text)
    monkeypatch.setattr("pathlib.Path.exists", lambda _: True)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    assert float32_linear.is_faster() == faster
