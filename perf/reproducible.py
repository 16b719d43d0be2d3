"""How much slower bitwise reproducible numbers are on a CPU.

    python perf/reproducible.py

Times the forward and backward pass of one rollout batch (24 gym prompts x 8 completions, the small
model that ships) with and without `g2rpo.reproducible`. Each side is a new process, because MKL
reads its settings once; the sides take turns. Printed are the fastest seconds of each side, their
ratio, and how many different gradients a side computed from the same batch. The settings prevent
more than one; without them several occur on some machines and under load.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext


def side(*, settings: bool, passes: int) -> dict[str, list[float]]:
    """Return the seconds of each pass, and a number that is equal for equal gradients."""
    import torch

    from g2rpo.data.gym.source import TASKS, GymSource
    from g2rpo.policy.checkpoint import Checkpoint
    from g2rpo.policy.stats import token_stats
    from g2rpo.reproducible import reproducible
    from g2rpo.rollout.hf import HFEngine

    with reproducible() if settings else nullcontext():
        model = Checkpoint.packaged(name="tiny_qwen3_vl")
        policy, encoder, engine = model.policy(), model.encoder(), HFEngine(max_new_tokens=56)
        engine.start(policy, encoder)
        batch = encoder.encode(
            [GymSource().get(task, index, "train") for index in range(4) for task in TASKS]
        )
        rollouts = engine.generate(batch, engine.sampling.with_group_size(8), seed=0)
        seconds, sums = [], []
        for _ in range(passes + 1):
            policy.zero_grad()
            start = time.perf_counter()
            stats = token_stats(policy, batch, rollouts.completion_ids, rollouts.completion_mask)
            (stats.logprobs.sum() + stats.entropy.sum()).backward()
            seconds.append(time.perf_counter() - start)
            sums.append(
                float(
                    hash(
                        b"".join(
                            p.grad.numpy().tobytes()
                            for p in policy.parameters()
                            if p.grad is not None
                        )
                    )
                )
            )
    return {"seconds": seconds[1:], "sums": sums, "threads": [float(torch.get_num_threads())]}


def main() -> None:
    """Run both sides in turns and print the fastest times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--side", choices=["with", "without"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(side(settings=args.side == "with", passes=args.passes)))
        return
    found: dict[str, dict[str, list[float]]] = {
        name: {"seconds": [], "sums": []} for name in ("without", "with")
    }
    threads = 0.0
    for _ in range(args.rounds):
        for name, own in found.items():
            command = [sys.executable, __file__, "--side", name, "--passes", str(args.passes)]
            env = {key: value for key, value in os.environ.items() if key != "MKL_CBWR"} | {
                "PYTHONHASHSEED": "0"
            }
            row = json.loads(
                subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
            )
            own["seconds"] += row["seconds"]
            own["sums"] += row["sums"]
            threads = row["threads"][0]
    print(f"{threads:.0f} threads, {args.rounds} processes a side, {args.passes + 1} passes each")
    for name, own in found.items():
        print(
            f"{name:8} {min(own['seconds']):.3f} s a pass, {len(set(own['sums']))} different"
            " gradients"
        )
    print(f"ratio    {min(found['with']['seconds']) / min(found['without']['seconds']):.3f}")


if __name__ == "__main__":
    main()
