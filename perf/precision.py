"""How far 20 updates at a small learning rate move weights, by the dtypes of weights and compute.

    python perf/precision.py                     the model that ships, lr 2e-6
    python perf/precision.py --lr 1e-5 --updates 50

The prompts, completions and advantages of all updates are drawn once with float32 weights, and
every row of the table learns from the same ones. Printed are the share of weights that moved, the
norm of the summed update divided by that of float32, and the cosine between the two. A weight with
a Kahan compensation counts with it: the compensation is part of the sum that the optimizer keeps.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra import compose, initialize_config_dir
from optimi import AdamW as KahanAdamW
from torch import Tensor

from g2rpo.policy.forward import compute_in
from g2rpo.training.build import build_data, build_module
from g2rpo.training.gradients import clip_gradients
from g2rpo.training.module import G2RPOModule
from g2rpo.training.parts import build_parts

CONF = Path(__file__).parents[1] / "conf"
BETAS = (0.9, 0.99)


class Moved(NamedTuple):
    """What a sequence of updates did, beside float32."""

    share: float
    """Share of weights in [0, 1] that are not what they were."""
    norm_ratio: float
    cosine: float


def plain(lr: float) -> Callable[[Iterable[Tensor]], torch.optim.Optimizer]:
    """Return a factory of torch's AdamW."""
    return lambda weights: torch.optim.AdamW(weights, lr=lr, betas=BETAS, weight_decay=0.0)


def choices(lr: float) -> dict[str, tuple[torch.dtype, str, Any]]:
    """Return (dtype of the weights, precision, optimizer) of each row of the table."""
    found = {
        "float32": (torch.float32, "32-true", plain(lr)),
        "bf16-mixed": (torch.float32, "bf16-mixed", plain(lr)),
        "bfloat16": (torch.bfloat16, "32-true", plain(lr)),
        "bfloat16, adamw_kahan": (
            torch.bfloat16,
            "32-true",
            lambda weights: KahanAdamW(
                weights, lr=lr, betas=BETAS, weight_decay=0.0, eps=1e-8, kahan_sum=True
            ),
        ),
    }
    if find_spec("torchao"):
        from g2rpo.training.adamw_8bit import adamw_8bit

        found["bf16-mixed, adamw_8bit"] = (
            torch.float32,
            "bf16-mixed",
            partial(adamw_8bit, lr=lr, betas=BETAS),
        )
    return found


def build(prompts: int) -> tuple[G2RPOModule, Any]:
    """Return the demo's module and its stream of prompts."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            "config",
            [
                f"batch.prompts_per_step={prompts}",
                "filter=none",
                "run_dir=.",
                "reward_workers=inline",
            ],
        )
    parts = build_parts(cfg)
    return build_module(cfg, parts), build_data(cfg, parts)


def learned(
    module: G2RPOModule, policy: Any, experiences: list[Any], make: Any
) -> tuple[Tensor, Tensor]:
    """Return the weights before and after an update on each experience, with compensations."""
    trained = list(policy.parameters())
    before = torch.cat([p.detach().double().flatten() for p in trained])
    optimizer = make(trained)
    for experience in experiences:
        parts = module.updater.micro_batches(experience, range(len(experience.batch.prompts)))
        module.updater.backward(policy, parts, lambda loss: loss.backward())
        clip_gradients(policy, module.algorithm.max_grad_norm, parts)
        optimizer.step()
        optimizer.zero_grad()
    kept = [optimizer.state[p].get("kahan_comp") for p in trained]
    after = [
        p.detach().double() + (0.0 if comp is None else comp.double())
        for p, comp in zip(trained, kept, strict=True)
    ]
    return before, torch.cat([p.flatten() for p in after])


def measure(lr: float, updates: int, prompts: int) -> dict[str, Moved]:
    """Return what each choice did in `updates` updates of `prompts` prompts each."""
    torch.manual_seed(0)
    module, data = build(prompts)
    experiences = []
    for step in range(updates):
        module.rollout_batch = step
        experiences.append(module.experience(module.collect(data.draw()))[0])
    found, exact = {}, None
    for name, (dtype, precision, make) in choices(lr).items():
        policy = copy.deepcopy(module.policy).to(dtype)
        compute_in(policy, precision)
        before, after = learned(module, policy, experiences, make)
        change = after - before
        exact = change if exact is None else exact
        found[name] = Moved(
            share=(change != 0).double().mean().item(),
            norm_ratio=(change.norm() / exact.norm()).item(),
            cosine=torch.cosine_similarity(change, exact, dim=0).item(),
        )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lr", type=float, default=2e-6)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=24)
    options = parser.parse_args(sys.argv[1:])
    print("| weights and compute | moved | norm / float32 | cosine |\n|---|---|---|---|")
    for name, moved in measure(options.lr, options.updates, options.prompts).items():
        print(f"| {name} | {moved.share:.1%} | {moved.norm_ratio:.2f} | {moved.cosine:.3f} |")


if __name__ == "__main__":
    main()
