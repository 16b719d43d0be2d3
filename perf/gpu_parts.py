"""Parts of gpu.py that need no policy: the head by the size of its pieces, and the `data` stage."""

import statistics
import time
from typing import Any

import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.patches import Patches
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.head import head_stats, piece_bytes
from g2rpo.records import Prompt, PromptBatch

Rows = list[dict[str, Any]]
MERGE = 2
"""Patches of a merged patch, by side, in Qwen-VL."""


def now(device: torch.device) -> float:
    """Return seconds, after everything queued has been computed; CPU seconds on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def head(device: torch.device, small: bool) -> Rows:
    """Measure the head by the size of its pieces, forward and backward; the last row is whole.

    Marked are the size that the program takes now, and the fastest one as a line of policy/head.py.
    """
    tokens, width, words = (64, 32, 512) if small else (6400, 4096, 151_936)
    dtype = torch.float32 if small else torch.bfloat16
    layer = torch.nn.Linear(width, words, bias=False, device=device, dtype=dtype)
    hidden = torch.randn(tokens, width, device=device, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, words, (tokens,), device=device)
    found: Rows = []
    powers = [15, 16] if small else list(range(25, 31))
    for power in (*powers, None):
        columns = words if power is None else min(words, max(256, 2**power // (4 * tokens)))
        seconds = []
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for _ in range(3):
            layer.weight.grad, hidden.grad = None, None
            start = now(device)
            logprobs, entropy = head_stats(layer, hidden, targets, columns=columns)
            (logprobs.mean() + 0.1 * entropy.mean()).backward()
            seconds.append(now(device) - start)
        held = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
        found.append(
            {
                "bytes of a piece": "whole" if power is None else f"2**{power}",
                "columns": columns,
                "s": round(min(seconds), 4),
                "peak GiB": round(held, 2),
                "now": "taken" if power and 2**power == piece_bytes(device.type) else "",
            }
        )
    pieces = found[:-1]
    best = min(pieces, key=lambda row: row["s"])
    best["fastest"] = f'PIECE_BYTES["{device.type}"] = {best["bytes of a piece"]}'
    return found


def qwen_encoder(patch: int, device: torch.device) -> QwenEncoder:
    """Return an encoder with the packaged tokenizer, and patches of this many pixels a side."""
    encoder = Checkpoint.packaged(name="tiny_qwen3_vl").encoder()
    assert isinstance(encoder, QwenEncoder)
    encoder.size = {"shortest_edge": patch**2, "longest_edge": 2**26}
    halves = [0.5] * 3
    encoder.image_processor = Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=MERGE, size=encoder.size, image_mean=halves, image_std=halves
    )
    encoder.patches = Patches.like(encoder.image_processor)
    encoder.process_on(device)
    return encoder


def data_seconds(encoder: QwenEncoder, batch: PromptBatch, repeats: int = 3) -> float:
    """Return seconds of the `data` stage for prompts of the sizes of a batch, copies included.

    Pictures are in memory and have their final size: threads read and scale them ahead of a step.
    """
    device, pictures = batch.input_ids.device, []
    patch = encoder.image_processor.patch_size
    for image in batch.images:
        _, rows, columns = image["image_grid_thw"][0].tolist()
        pictures.append(Image.effect_noise((columns * patch, rows * patch), 60).convert("RGB"))
    images, prompts = iter(pictures), []
    for number, count in enumerate(batch.num_images.tolist()):
        own = tuple(next(images) for _ in range(count))
        tokens = int(batch.attention_mask[number].sum())
        shown = sum(image.width * image.height // (MERGE * patch) ** 2 for image in own)
        prompts.append(
            Prompt(
                id=f"noise/{number}",
                task="math",
                text="what? " * ((tokens - shown) // 6),
                images=own,
                answer="",
                answer_type="text",
            )
        )
    seconds = []
    for _ in range(1 + repeats):
        start = now(device)
        encoder.encode(prompts).to(device)
        seconds.append(now(device) - start)
    return statistics.median(seconds[1:])


def images(device: torch.device, small: bool) -> Rows:
    """Measure the `data` stage of one prompt by transformers' processor, and on the device."""
    found: Rows = []
    for rows, columns in ((4, 4), (8, 6)) if small else ((16, 16), (24, 32), (40, 52)):
        grid = torch.tensor([[1, rows * MERGE, columns * MERGE]])
        length = rows * columns + 24
        batch = PromptBatch(
            prompts=(),
            input_ids=torch.zeros(1, length, dtype=torch.long),
            attention_mask=torch.ones(1, length, dtype=torch.long),
            num_images=torch.tensor([1]),
            position=torch.arange(1),
            images=({"image_grid_thw": grid},),
        ).to(device)
        encoder = qwen_encoder(16, device)
        patched = data_seconds(encoder, batch)
        encoder.patches = None
        processed = data_seconds(encoder, batch)
        found.append(
            {
                "image tokens": rows * columns,
                "pixels": f"{32 * columns} x {32 * rows}",
                "by the processor, ms": round(1e3 * processed, 2),
                f"on {device.type}, ms": round(1e3 * patched, 2),
                "ratio": round(processed / patched, 1),
            }
        )
    return found
