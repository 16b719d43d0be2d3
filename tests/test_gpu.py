"""What runs on a GPU alone: kernels, head, images, the optimizer, a step, decoding from CUDA
graphs, and the demo.

`perf/gpu.sh --cpu` rehearses them on a CPU, with G2RPO_GPU_TESTS=cpu, where stand-ins make the
calls of the flash kernels and hold the graphs.
"""

import csv
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from flash_stand_in import STAND_IN
from graph_stand_in import TapeRecorder
from packed_rows import groups_of, plain, states, visible
from PIL import Image
from shapes import random_batch, random_policy
from torch.nn.functional import log_softmax

from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.host_copy import copied
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.head import head_stats
from g2rpo.policy.padded_calls import PaddedCalls
from g2rpo.policy.shared_softmax import PrefixAttention
from g2rpo.policy.stats import token_stats
from g2rpo.policy.varlen_calls import VarlenCalls, flash_fits
from g2rpo.records import Prompt, Sampling
from g2rpo.rollout import hf, step_graph
from g2rpo.rollout.step_graph import CudaRecorder, Recorder, recorder_for
from g2rpo.training.fused_adamw import fuse

pytestmark = pytest.mark.gpu
SCALE = 0.3
CASES = (((130, 7, 64), (5, 0, 1, 129, 64, 2)), ((40,), (1, 2, 5)), ((2, 70, 1), (0, 3, 0)))


@pytest.fixture
def device() -> torch.device:
    name = os.environ.get("G2RPO_GPU_TESTS", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(name)


@pytest.mark.parametrize(("prompts", "completions"), CASES)
@pytest.mark.parametrize("heads", [(4, 2), (28, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_row_is_attended_to_as_its_mask_says(
    prompts: tuple[int, ...],
    completions: tuple[int, ...],
    heads: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    groups = groups_of(prompts, completions, device)
    rows = [
        state.detach().to(device).requires_grad_()
        for state in states(sum(prompts) + sum(completions), heads, dtype, size=1.0)
    ]
    calls = PaddedCalls
    if dtype == torch.bfloat16:
        assert device.type == "cpu" or flash_fits(rows[0])
        calls = VarlenCalls if device.type == "cuda" else partial(VarlenCalls, kernels=STAND_IN)
    out = PrefixAttention.apply(*rows, groups, SCALE, calls)
    expected = plain(*rows, visible(prompts, completions).to(device), SCALE)
    bound = 1e-5 if dtype == torch.float32 else 2e-2
    assert (out - expected).norm() <= bound * expected.norm()
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(device)
    ours, theirs = (
        torch.autograd.grad((weights * result).sum(), rows) for result in (out, expected)
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).norm() <= bound * other.norm()


def test_the_head_in_pieces_is_the_whole_head(device: torch.device) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(32, 700, bias=False, device=device)
    hidden = torch.randn(50, 32, device=device, requires_grad=True)
    targets = torch.randint(0, 700, (50,), device=device)
    logp = log_softmax(head(hidden), -1)
    whole = logp.gather(-1, targets[:, None])[:, 0], -(logp.exp() * logp).sum(-1)
    pieces = head_stats(head, hidden, targets, columns=256)
    for found, expected in zip(pieces, whole, strict=True):
        assert torch.allclose(found, expected, atol=1e-4)
    grads = [
        torch.autograd.grad(a.sum() + b.square().sum(), (hidden, head.weight))
        for a, b in (pieces, whole)
    ]
    for found, expected in zip(*grads, strict=True):
        assert torch.allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("prefix", ["shared", "flex"])
def test_a_pass_gives_the_numbers_of_the_repeated_form(
    prefix: str, dtype: torch.dtype, device: torch.device
) -> None:
    if prefix == "flex" and device.type == "cpu":
        pytest.skip("FlexAttention has no backward pass on a CPU")
    policy = random_policy("tiny", device, dtype)
    batch = random_batch(policy, 2, 40, 1, 0.5, device, dtype)
    lengths = torch.tensor([3, 9, 1, 17], device=device)
    ids = torch.randint(10, 500, (4, 17), device=device)
    mask = torch.arange(17, device=device) < lengths[:, None]
    found = {}
    for form in (prefix, "repeated"):
        policy.zero_grad(set_to_none=True)
        logprobs = token_stats(policy, batch, ids, mask, prefix=form).logprobs
        logprobs.sum().backward()
        grads = [p.grad.flatten() for p in policy.parameters() if p.grad is not None]
        found[form] = logprobs.detach().float(), torch.cat(grads).float()
    bound = 1e-4 if dtype == torch.float32 else 5e-2
    for ours, theirs in zip(*found.values(), strict=True):
        assert (ours - theirs).norm() <= bound * theirs.norm()


@pytest.mark.parametrize("size", [(64, 64), (131, 77)])
def test_patches_are_those_of_the_image_processor_to_the_bit(
    size: tuple[int, int], device: torch.device
) -> None:
    encoder = Checkpoint.packaged(name="tiny_qwen3_vl").encoder()
    picture = Image.effect_noise(size, 90).convert("RGB")
    prompt = Prompt(
        id="a", task="math", text="?", images=(picture,), answer="1", answer_type="text"
    )
    on_cpu = encoder.encode([prompt])
    encoder.process_on(device)
    encoded = encoder.encode([prompt])
    assert encoded.images[0]["pixel_values"].device.type == device.type
    moved = encoded.to(device)
    assert {value.device.type for value in (moved.input_ids, *moved.images[0].values())} == {
        device.type
    }
    back = moved.to("cpu")
    assert torch.equal(back.input_ids, on_cpu.input_ids)
    for name, value in on_cpu.images[0].items():
        assert torch.equal(back.images[0][name], value)
    (shown,) = encoder.pictures(moved)[0]
    assert shown.tobytes() == encoder.fit(picture).tobytes()


def test_copies_that_are_not_waited_for_arrive(device: torch.device) -> None:
    values = [torch.full((2**20,), float(number)) for number in range(20)]
    moved = []
    for value in values:
        moved.append(copied(value, device))
        value.fill_(-1.0)  # the copy is made of pinned memory, not of this
    assert [value.double().mean().item() for value in moved] == (
        list(range(20)) if device.type == "cuda" else [-1.0] * 20
    )


def test_adamw_is_fused_and_gives_the_numbers_of_the_default(
    device: torch.device,
) -> None:
    found = {}
    for fused in (False, True):
        weight = torch.linspace(-1, 1, 1000, device=device).requires_grad_()
        optimizer = torch.optim.AdamW([weight], lr=0.1, betas=(0.9, 0.99))
        if fused:
            fuse(optimizer)
            assert optimizer.param_groups[0]["fused"] is True
        for _ in range(3):
            weight.square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        found[fused] = weight.detach()
    assert torch.allclose(found[True], found[False], atol=1e-5)


class Watched:
    """Counts what another recorder captures; with `plain`, it captures nothing."""

    def __init__(self, recorder: Recorder, plain: bool) -> None:
        self.recorder, self.plain, self.captures = recorder, plain, 0
        self.warm_up, self.release = recorder.warm_up, recorder.release

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        self.captures += 1
        return step if self.plain else self.recorder.capture(step)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "mixed"])
def test_decoding_from_cuda_graphs_is_decoding_without(
    precision: str,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rooms of 20, 40 and 47 tokens; the last one is too small for a capture."""
    dtype = "bfloat16" if precision == "bfloat16" else "float32"
    checkpoint = Checkpoint.packaged(name="tiny_qwen3_vl", dtype=dtype)
    policy, encoder = checkpoint.policy().to(device), checkpoint.encoder()
    if precision == "mixed":
        policy.compute_dtype = torch.bfloat16
    batch = encoder.encode(
        [GymSource().get(TASKS[i % len(TASKS)], i, "train") for i in range(6)]
    ).to(device)
    encoder.end_tokens = {encoder.eos_token_id: "", 10**6: "never"}
    monkeypatch.setattr("g2rpo.policy.static_cache.CAPACITY", 20)
    found, captures = {}, {}
    for form in ("graphs", "static", "dynamic"):
        recorder = Watched(recorder_for(policy) or TapeRecorder(), plain=form == "static")
        monkeypatch.setattr(hf, "recorder_for", lambda _, held=recorder: held)
        engine = hf.HFEngine(max_new_tokens=48, enforce_eager=form == "dynamic")
        engine.start(policy, encoder)
        with caplog.at_level(logging.WARNING, logger=step_graph.__name__):
            found[form] = engine.generate(
                batch, Sampling(group_size=4, max_new_tokens=48, temperature=1.5), 3
            )
        captures[form] = recorder.captures
    assert caplog.records == []
    assert captures["graphs"] == captures["static"] >= 1
    assert captures["dynamic"] == 0
    graphs, static = found["graphs"], found["static"]
    assert torch.equal(graphs.completion_ids, static.completion_ids)
    assert torch.allclose(graphs.old_logprobs, static.old_logprobs, atol=1e-5)
    with torch.no_grad():  # other kernels may round otherwise, and then a token differs
        stats = token_stats(
            policy,
            batch,
            graphs.completion_ids,
            graphs.completion_mask,
            forbidden=tuple(encoder.forbidden_token_ids),
            temperature=1.5,
        )
    gap = (stats.logprobs - graphs.old_logprobs).abs()[graphs.completion_mask]
    assert gap.mean() < (1e-4 if precision == "float32" else 0.1)
    if precision == "float32":
        same = (graphs.texts[row] == text for row, text in enumerate(found["dynamic"].texts))
        assert sum(same) >= 23


def test_an_aborted_capture_leaves_the_gpu_usable(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("the stand-in of tests/rollout/test_cuda_recorder.py aborts on a CPU")
    device = torch.device("cuda", torch.cuda.current_device())
    state, recorder = torch.zeros(3, device=device), CudaRecorder(device)

    def reads() -> None:
        state.add_(state.sum().item())

    def adds() -> None:
        state.add_(1)

    reason = recorder.warm_up(reads)
    assert reason is not None
    assert __file__ in reason
    stream = torch.cuda.current_stream()
    with pytest.raises(RuntimeError):
        recorder.capture(reads)
    assert torch.cuda.current_stream() == stream
    assert torch.randn(3, device=device).isfinite().all()
    assert recorder.warm_up(adds) is None
    replay = recorder.capture(adds)
    for _ in range(4):
        replay()
    assert state.tolist() == [5.0] * 3  # with the warm-up
    recorder.release()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_demo_trains(precision: str, device: torch.device, root: Path, tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable, "train.py", "trainer.max_steps=2", f"trainer.precision={precision}",
            f"trainer.accelerator={device.type}", "batch.prompts_per_step=4", "filter=none",
            "heldout=none", "gradient_conflict=none", f"hydra.run.dir={tmp_path}",
        ],
        cwd=root,
        check=True,
        capture_output=True,
    )  # fmt: skip
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert all(0 < float(row["optim/grad_norm"]) < 100 for row in rows)
    # what was sampled and what is trained agree on the first step
    assert float(rows[0]["policy/old_logprob_gap"]) < (1e-3 if precision == "32-true" else 0.3)
