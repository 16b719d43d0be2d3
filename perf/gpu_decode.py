"""Tokens per second of `rollout=hf` with and without CUDA graphs; a part of `perf/gpu.py`."""

import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from shapes import END, IMAGE, PAD, START, random_batch, random_policy

from g2rpo.interfaces import Encoder
from g2rpo.records import PromptBatch, Sampling
from g2rpo.rollout import hf
from g2rpo.rollout.step_graph import Recorder, recorder_for

LIMIT_S = 60
"""Shapes that come after so many seconds are left out."""


class Endless(Encoder):
    """An encoder without a tokenizer, for random prompts; no token ends a completion."""

    def __init__(self) -> None:
        self.eos_token_id = self.pad_token_id = PAD
        self.end_tokens = {10**6: "never"}
        self.forbidden_token_ids = (IMAGE, START, END)

    def decode(self, ids: Any, mask: Any) -> tuple[str, ...]:
        """Return no text."""
        return ("",) * len(ids)


class Watched:
    """Counts the captures of another recorder and takes their time."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder, self.captures, self.seconds = recorder, 0, 0.0
        self.warm_up, self.release = recorder.warm_up, recorder.release

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """Capture, and note it."""
        start = time.perf_counter()
        replay = self.recorder.capture(step)
        self.seconds += time.perf_counter() - start
        self.captures += 1
        return replay


def watched(policy: Any) -> Watched:
    """Return the recorder of the device; a stand-in on a CPU."""
    recorder = recorder_for(policy)
    if recorder is None:
        from graph_stand_in import TapeRecorder

        recorder = TapeRecorder()
    return Watched(recorder)


def seconds(policy: Any, batch: PromptBatch, group: int, tokens: int, graphs: bool) -> float:
    """Return the seconds of a rollout of `tokens` tokens per completion."""
    engine = hf.HFEngine(max_new_tokens=tokens, enforce_eager=not graphs)
    engine.start(policy, Endless())
    start = time.perf_counter()
    rollouts = engine.generate(batch, Sampling(group_size=group, max_new_tokens=tokens), 1)
    assert bool(rollouts.completion_mask.all())  # waits for the device too
    return time.perf_counter() - start


def decode(device: torch.device, small: bool) -> list[dict[str, Any]]:
    """Measure decoding of the 2B shape with 8 and 64 rows; prefills are subtracted."""
    dtype = torch.float32 if small else torch.bfloat16
    policy = random_policy("tiny" if small else "2b", device, dtype)
    length, group, tokens = (40, 2, 24) if small else (512, 8, 256)
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + (10 if small else 1) * LIMIT_S
    for prompts in (1, 2) if small else (1, 8):
        batch = random_batch(policy, prompts, length, 1, 0.5, device, dtype)
        plain = 0.0
        for form in ("without graphs", "with graphs"):
            if time.monotonic() > deadline:
                found.append({"rows": prompts * group, "form": "no time"})
                continue
            graphs = form == "with graphs"
            with patch.object(hf, "recorder_for", watched):
                seconds(policy, batch, group, 24, graphs)  # loads kernels
                prefill = seconds(policy, batch, group, 1, graphs)
            recorder = watched(policy)
            with patch.object(hf, "recorder_for", lambda _, held=recorder: held):
                whole = seconds(policy, batch, group, tokens, graphs)
            rate = prompts * group * (tokens - 1) / (whole - prefill)
            found.append(
                {
                    "shape": "tiny" if small else "2b",
                    "P": length,
                    "tokens": tokens,
                    "rows": prompts * group,
                    "form": form,
                    "prefill s": round(prefill, 4),
                    "ms per step": round(1000 * (whole - prefill) / (tokens - 1), 2),
                    "tokens/s": round(rate),
                    "captures": recorder.captures,
                    "captures s": round(recorder.seconds, 3),
                }
            )
            if graphs and plain:
                found[-1]["tokens/s, ratio"] = round(rate / plain, 2)
            plain = rate
    return found
