"""Decoding from graphs, on a CPU: a tape repeats each operation with the tensors and numbers of the
capture, as a CUDA graph does.
"""

import copy
import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from closeness import near
from graph_stand_in import Guard, TapeRecorder, to_meta
from PIL import Image
from tiny_families import BUILDERS
from torch import Tensor
from transformers.utils import import_utils

from g2rpo.policy import static_cache
from g2rpo.policy.adapter import LoRA
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.stats import token_stats
from g2rpo.records import Prompt, PromptBatch, Rollouts, Sampling
from g2rpo.rollout import hf, step_graph
from g2rpo.rollout.hf import HFEngine
from g2rpo.rollout.step_graph import LEAST_STEPS, StepGraph, recorder_for

TOKENS = 24


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> TapeRecorder:
    """Engines decode from tapes; rooms are small, so that they grow, and captures come early."""
    recorder = TapeRecorder()
    monkeypatch.setattr(hf, "recorder_for", lambda policy: recorder)
    monkeypatch.setattr(static_cache, "CAPACITY", 5)
    for module in (hf, step_graph):
        monkeypatch.setattr(module, "LEAST_STEPS", 3)
    return recorder


def written(
    policy: Any,
    encoder: Any,
    batch: PromptBatch,
    *,
    enforce_eager: bool = False,
    leave_frac: float = 0.25,
    group_size: int = 3,
    **drawing: Any,
) -> Rollouts:
    engine = HFEngine(max_new_tokens=99, leave_frac=leave_frac, enforce_eager=enforce_eager)
    engine.start(policy, encoder)
    sampling = Sampling(**{"group_size": group_size, "max_new_tokens": TOKENS} | drawing)
    return engine.generate(batch, sampling, 1)


def endless(encoder: QwenEncoder) -> QwenEncoder:
    """The same encoder, but no token ends a completion."""
    other = copy.copy(encoder)
    other.end_tokens = {10**6: "never"}
    return other


def agree(ours: Rollouts, theirs: Rollouts, tolerance: float = 1e-5) -> None:
    assert torch.equal(ours.completion_ids, theirs.completion_ids)
    assert torch.equal(ours.completion_mask, theirs.completion_mask)
    assert near(ours.old_logprobs, theirs.old_logprobs, tolerance)


@pytest.mark.parametrize(("leave_frac", "least"), [(0.01, 0.01), (0.01, 0.5), (1.0, 0.5)], ids=str)
@pytest.mark.parametrize(
    "drawing", [{}, {"temperature": 0.7, "top_p": 0.6}, {"group_size": 1}], ids=str
)
def test_graphs_write_what_plain_steps_write(
    drawing: dict[str, Any],
    leave_frac: float,
    least: float,
    tape: TapeRecorder,
    policy: Any,
    encoder: QwenEncoder,
    batch: PromptBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hf, "LEAVE_FRAC", least)
    plain = written(policy, encoder, batch, enforce_eager=True, leave_frac=leave_frac, **drawing)
    assert tape.warm_ups == 0
    agree(written(policy, encoder, batch, leave_frac=leave_frac, **drawing), plain)
    assert max(tape.replays) >= 2
    assert tape.released == 1
    lengths = plain.completion_mask.sum(1)
    assert plain.completion_ids.shape[1] > 10 >= lengths.min()  # rooms grew, and rows ended


def test_greedy_graphs_write_what_plain_steps_write(
    tape: TapeRecorder, policy: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    settings: dict[str, Any] = {"temperature": 0.0, "group_size": 2}
    plain = written(policy, endless(encoder), batch, enforce_eager=True, **settings)
    agree(written(policy, endless(encoder), batch, **settings), plain)
    assert sum(tape.replays) == 17


def test_graphs_end_when_the_last_completion_ends(
    tape: TapeRecorder, policy: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    settings: dict[str, Any] = {"temperature": 0.5, "max_new_tokens": 80, "leave_frac": 1.0}
    plain = written(policy, encoder, batch, enforce_eager=True, **settings)
    assert plain.finished.all()
    agree(written(policy, encoder, batch, **settings), plain)
    assert sum(tape.replays) > 10


def test_graphs_know_adapters(
    tape: TapeRecorder, policy: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    adapted = copy.deepcopy(policy)
    LoRA(rank=2).attach(adapted)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(1), std=0.5)
    plain = written(adapted, encoder, batch, enforce_eager=True)
    agree(written(adapted, encoder, batch), plain)
    assert sum(tape.replays) > 10
    assert plain.texts != written(policy, encoder, batch, enforce_eager=True).texts


def test_the_cache_is_freed_at_once(
    tape: TapeRecorder,
    policy: Any,
    encoder: QwenEncoder,
    batch: PromptBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caches = []

    def noted(**settings: Any) -> static_cache.StaticCache:
        cache = static_cache.StaticCache(**settings)
        caches.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr(hf, "StaticCache", noted)
    gc.disable()  # it would hide a cycle
    try:
        written(policy, encoder, batch)
        assert [cache() for cache in caches] == [None]
    finally:
        gc.enable()


class Plain(TapeRecorder):
    """Runs each step itself."""

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        return step


@pytest.mark.parametrize("mixed", [False, True])
def test_half_precision_writes_the_same(
    mixed: bool,
    tape: TapeRecorder,
    policy: Any,
    encoder: QwenEncoder,
    batch: PromptBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A graph equals its step; that and the ordinary path may differ by roundings, and so may what
    is drawn.
    """
    half = copy.deepcopy(policy)
    if mixed:
        half.compute_dtype = torch.bfloat16
    else:
        half.to(torch.bfloat16)
    ours = written(half, encoder, batch)
    assert sum(tape.replays) > 10
    monkeypatch.setattr(hf, "recorder_for", lambda policy: Plain())
    agree(ours, written(half, encoder, batch))
    with torch.no_grad():
        stats = token_stats(
            half,
            batch,
            ours.completion_ids,
            ours.completion_mask,
            forbidden=tuple(encoder.forbidden_token_ids),
        )
    gaps = (stats.logprobs - ours.old_logprobs).abs()[ours.completion_mask]
    assert gaps.mean() < 0.1


def test_a_graph_lasts_until_rows_leave_or_rooms_are_full(
    tape: TapeRecorder, policy: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    """Rooms of 5, 10, 20 and 23 tokens; the first step of each shape warms up, and the last room is
    too small for a capture.
    """
    assert not written(policy, endless(encoder), batch).finished.any()
    assert tape.replays == [4, 4, 9]
    assert tape.warm_ups == 4


@pytest.mark.parametrize("tokens", [LEAST_STEPS, LEAST_STEPS + 1])
def test_short_completions_are_not_worth_a_graph(
    tokens: int,
    policy: Any,
    encoder: QwenEncoder,
    batch: PromptBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tape = TapeRecorder()
    monkeypatch.setattr(hf, "recorder_for", lambda policy: tape)
    written(policy, encoder, batch, max_new_tokens=tokens)
    assert tape.warm_ups == (tokens > LEAST_STEPS)


def test_other_attention_decodes_without_graphs(
    tape: TapeRecorder, policy: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    other = copy.deepcopy(policy)
    other.set_attn_implementation("eager")
    agree(written(other, encoder, batch), written(policy, encoder, batch, enforce_eager=True))
    assert tape.warm_ups == 0


def test_logits_that_are_no_numbers_are_seen_in_a_graph_too(
    tape: TapeRecorder, policy: Any, encoder: QwenEncoder, batch: PromptBatch
) -> None:
    broken, calls = copy.deepcopy(policy), []

    def later(module: Any, args: Any, logits: Tensor) -> Tensor:
        calls.append(1)
        return logits * torch.nan if len(calls) == 3 else logits  # call 3 is the capture

    broken.lm_head.register_forward_hook(later)
    with pytest.raises(FloatingPointError, match=r"^the policy's logits became nan"):
        written(broken, encoder, batch)
    assert tape.replays == [1]
    assert tape.released == 1


def test_a_capture_that_fails_is_told_once_and_changes_nothing(
    tape: TapeRecorder,
    policy: Any,
    encoder: QwenEncoder,
    batch: PromptBatch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(step: Callable[[], None]) -> Callable[[], None]:
        try:
            raise RuntimeError("CUDA error: operation not permitted\nCompile with more")
        finally:
            raise RuntimeError("CUDA error: a previous error during capture")

    monkeypatch.setattr(tape, "capture", fails)
    engine = HFEngine(max_new_tokens=TOKENS)
    engine.start(policy, encoder)
    with caplog.at_level(logging.WARNING, logger=step_graph.__name__):
        for _ in range(2):
            ours = engine.generate(batch, Sampling(group_size=3, max_new_tokens=TOKENS), 1)
            agree(ours, written(policy, encoder, batch, enforce_eager=True))
    assert tape.warm_ups == 1
    assert [record.getMessage() for record in caplog.records] == [
        "rollout=hf: expected a decoding step that a CUDA graph can hold, got RuntimeError: CUDA"
        " error: operation not permitted; decoding goes on without graphs"
        " (rollout.enforce_eager=true does so without trying)"
    ]


def test_a_step_that_reads_values_is_not_captured(
    tape: TapeRecorder,
    policy: Any,
    encoder: QwenEncoder,
    batch: PromptBatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reads = copy.deepcopy(policy)
    reads.lm_head.register_forward_hook(
        lambda module, args, logits: logits * logits.abs().max().item() ** 0
    )
    with caplog.at_level(logging.WARNING, logger=step_graph.__name__):
        ours = written(reads, encoder, batch)
    agree(ours, written(policy, encoder, batch, enforce_eager=True))
    assert (tape.warm_ups, tape.replays) == (1, [])
    [record] = caplog.records
    assert (
        "got aten._local_scalar_dense.default reads values; decoding goes on" in record.getMessage()
    )


def test_cpus_and_sharded_policies_have_no_graphs(
    policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recorder_for(policy) is None
    made: list[torch.device] = []
    tape = TapeRecorder()
    monkeypatch.setattr(step_graph, "CudaRecorder", lambda device: made.append(device) or tape)
    on_gpu = type("Policy", (), {"device": torch.device("cuda:1")})()
    assert recorder_for(on_gpu) is tape
    assert made == [torch.device("cuda:1")]
    monkeypatch.setattr(step_graph, "is_sharded", lambda policy: True)
    assert recorder_for(on_gpu) is None


@pytest.mark.parametrize("top_p", [1.0, 0.9])
@pytest.mark.parametrize(
    "family",
    [
        "qwen3_vl",
        "qwen2_5_vl",
        "smolvlm",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("qwen2_vl", "qwen3_vl_moe", "idefics3", "internvl", "llava_onevision")
        ),
    ],
)
def test_a_step_of_a_family_has_nothing_that_would_end_a_capture(
    family: str, top_p: float, tape: TapeRecorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prefill on the CPU, and a step on the meta device, where transformers takes the branches of
    a capture.
    """
    BUILDERS[family](tmp_path)
    checkpoint = Checkpoint(path=str(tmp_path), dtype="bfloat16")
    policy, encoder = checkpoint.policy(), checkpoint.encoder()
    picture = Image.new("RGB", (32, 32))
    batch = encoder.encode(
        [
            Prompt(
                id=text,
                task="math",
                text=text,
                images=pictures,
                answer="1",
                answer_type="numerical",
            )
            for text, pictures in (("how many?", (picture,)), ("two and two?", ()))
        ]
    )
    sampling = Sampling(group_size=2, max_new_tokens=TOKENS, top_p=top_p)
    decoder = hf._Decoder(policy, encoder, batch, sampling, 1)
    decoder.recorder = tape
    with torch.no_grad():
        decoder._write(decoder._prefill())
        to_meta(policy, decoder, decoder.static)
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
        monkeypatch.setattr(import_utils, "is_cuda_stream_capturing", lambda: True)
        with Guard() as guard:
            decoder._step()
    assert guard.found == []
    assert guard.count > 200


class Counter:
    """A step that adds a number to a sum; the number is a tensor, or Python's own."""

    def __init__(self) -> None:
        self.total, self.count, self.baked = torch.zeros(1), torch.ones(1), 1

    def on_device(self) -> None:
        self.total.add_(self.count * 2)
        self.count.add_(1)

    def leaking(self) -> None:
        self.total.add_(self.baked * 2)
        self.baked += 1


def test_the_tape_repeats_the_numbers_of_the_capture() -> None:
    sums = {}
    for name in ("on_device", "leaking"):
        counter, tape = Counter(), TapeRecorder()
        graph = StepGraph(getattr(counter, name), tape)
        for _ in range(6):
            graph.run(left=LEAST_STEPS)
        assert (graph.captures, tape.warm_ups, tape.replays) == (1, 1, [5])
        sums[name] = counter.total.item()
    assert sums == {
        "on_device": 2 * (1 + 2 + 3 + 4 + 5 + 6),
        "leaking": 2 * (1 + 2 + 2 + 2 + 2 + 2),
    }


def test_the_tape_repeats_views_reductions_and_changes_in_place() -> None:
    state, out = torch.arange(6.0).view(2, 3), torch.zeros(2)

    def step() -> None:
        part = state[:, 1:]
        part.mul_(2).add_(1)
        out.copy_(part.sum(1) + state.max())

    tape, expected = TapeRecorder(), state.clone()
    replay = tape.capture(step)
    assert torch.equal(state, expected)
    for _ in range(3):
        replay()
        expected[:, 1:] = expected[:, 1:] * 2 + 1
        assert torch.equal(state, expected)
        assert torch.equal(out, expected[:, 1:].sum(1) + expected.max())
    tape.release()
    with pytest.raises(AssertionError, match="released"):
        replay()


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: x[x > 0], "index.Tensor|nonzero"),
        (lambda x: x.to("cpu"), "mixes"),
        (lambda x: torch.isin(x, x), "isin"),
        (lambda x: x + torch.ones(2), "mixes"),
        (lambda x: x[:, torch.tensor(0, device="meta")], "_local_scalar_dense"),
        (lambda x: x[0].repeat_interleave(x[0].long()), "repeat_interleave"),
        (lambda x: x.cumsum(-1)[:, x[0].long()], None),
    ],
)
def test_the_guard_sees_what_would_end_a_capture(
    step: Callable[[Tensor], Any], found: str | None
) -> None:
    with Guard() as guard:
        try:
            step(torch.ones(2, 2, device="meta"))
        except (RuntimeError, NotImplementedError):
            assert found is not None
    assert bool(guard.found) == (found is not None)
    if found is not None:
        assert any(any(part in name for part in found.split("|")) for name in guard.found)
