"""Compare tokens per second of `rollout=hf` and `rollout=vllm` on the same prompts.

    OMP_NUM_THREADS=1 python perf/rollout.py [--prompts 24]

Needs the environment of `make test-vllm`, or g2rpo[vllm] on a GPU. The engines take turns.
"""

import argparse
import os
import platform
import statistics
import time
from importlib.metadata import version

import torch

from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.interfaces import RolloutEngine
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.records import PromptBatch, Sampling
from g2rpo.rollout.hf import HFEngine
from g2rpo.rollout.vllm import VLLMEngine


def tokens_per_s(engine: RolloutEngine, batch: PromptBatch, sampling: Sampling, seed: int) -> float:
    """Return the number of completion tokens per second."""
    start = time.perf_counter()
    rollouts = engine.generate(batch, sampling, seed)
    return rollouts.completion_mask.sum().item() / (time.perf_counter() - start)


def main() -> None:
    """Print the machine and a row per group size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", help="checkpoint folder or Hub id; the tiny model that ships by default"
    )
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--group-sizes", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--tokens", type=int, default=56)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    named = (
        Checkpoint(path=args.model, dtype=args.dtype)
        if args.model
        else Checkpoint.packaged(name="tiny_qwen3_vl", dtype=args.dtype)
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    policy, encoder = named.policy().to(device), named.encoder()
    batch = encoder.encode(
        [GymSource().get(TASKS[i % len(TASKS)], i, "train") for i in range(args.prompts)]
    ).to(device)
    engines: dict[str, RolloutEngine] = {
        "hf": HFEngine(max_new_tokens=args.tokens),
        "vllm": VLLMEngine(max_new_tokens=args.tokens),
    }
    for engine in engines.values():
        engine.start(policy, encoder)
    weights = sum(parameter.numel() for parameter in policy.parameters()) / 1e6
    print(
        f"{weights:.1f} M parameters, {args.dtype}, {device}, {os.cpu_count()} cores,"
        f" {torch.get_num_threads()} thread(s), load {os.getloadavg()[0]:.1f}, Python"
        f" {platform.python_version()}, torch {torch.__version__}, transformers"
        f" {version('transformers')}"
    )
    print(
        f"{args.prompts} prompts with an image each, at most {args.tokens} tokens, median of"
        f" {args.rounds} rounds\n"
    )
    print(
        "| completions per prompt | hf, tokens/s | vllm, tokens/s | vllm / hf |\n|---|---|---|---|"
    )
    for group_size in args.group_sizes:
        sampling = Sampling(group_size=group_size, max_new_tokens=args.tokens)
        found: dict[str, list[float]] = {name: [] for name in engines}
        for seed in range(args.rounds + 1):  # in turns, so that other load affects both alike
            for name, engine in engines.items():
                found[name].append(tokens_per_s(engine, batch, sampling, seed))
        # The first round is a warm-up.
        hf, vllm = (statistics.median(values[1:]) for values in found.values())
        print(f"| {group_size} | {hf:.0f} | {vllm:.0f} | {vllm / hf:.2f} |", flush=True)


if __name__ == "__main__":
    main()
