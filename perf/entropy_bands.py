"""Compare what the two entropy estimators do to a policy; draws docs/entropy_bands.svg.

    python perf/entropy_bands.py

A softmax policy (4 states, 8 actions) is trained on-policy with only the entropy band 0.2-0.6 nats,
once from below and once from above the band. `exact` moves the entropy into the band and keeps it
there. `sampled_nll`, the estimator of the release, has an expected gradient of zero (the mean of
grad log pi under pi), so it only adds noise.
"""

import argparse
from pathlib import Path

import torch
from figures import Curve, figure, panel
from torch import Tensor

from g2rpo.algorithm.shaping.entropy import EntropyBand
from g2rpo.data.gym.source import TASKS
from g2rpo.per_task import task_sums

MATH = TASKS.index("math")
STATES, ACTIONS, SAMPLES, STEPS = 4, 8, 64, 300
LOW, HIGH = 0.2, 0.6
STARTS = {"from below": 6.0, "from above": 0.5}
"""Logit margin of the favorite action: 6 is nearly deterministic, 0.5 nearly uniform."""
COLORS = {"exact": "#0072b2", "sampled_nll": "#d55e00"}


def start(sharpness: float) -> Tensor:
    """Return the logits of a policy whose favorite action leads by `sharpness`."""
    logits = 0.3 * torch.randn(
        STATES, ACTIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    logits[:, 2] += sharpness
    return logits.requires_grad_()


def token_stats(logits: Tensor, generator: torch.Generator, samples: int) -> tuple[Tensor, Tensor]:
    """Return the entropy of each state and the log-probability of sampled actions.

    Both have shape [states, samples].
    """
    logprobs = logits.log_softmax(1)
    actions = torch.multinomial(
        logprobs.detach().exp(), samples, replacement=True, generator=generator
    )
    entropy = -(logprobs.exp() * logprobs).sum(1, keepdim=True)
    return entropy.expand(STATES, samples), logprobs.gather(1, actions)


def band_term(
    band: EntropyBand, logits: Tensor, generator: torch.Generator, samples: int
) -> Tensor:
    """Return the entropy term for a batch of `samples` actions in each state."""
    measured = band.token_entropy(*token_stats(logits, generator, samples))
    mask, tasks = torch.ones_like(measured, dtype=torch.bool), torch.full((STATES,), MATH)
    sums, tokens = task_sums(measured.detach(), mask, tasks, len(TASKS))
    weights, _ = band.weights(sums, tokens)
    return band.loss(measured, mask, tasks, weights, tokens)


def entropies(estimator: str, sharpness: float) -> list[float]:
    """Return the mean entropy before every step of gradient descent and after the last."""
    band = EntropyBand(low=LOW, high=HIGH, weight=1.0, estimator=estimator)
    logits, generator, found = start(sharpness), torch.Generator().manual_seed(1), []
    for _ in range(STEPS):
        found.append(token_stats(logits, torch.Generator(), 1)[0].mean().item())
        (gradient,) = torch.autograd.grad(band_term(band, logits, generator, SAMPLES), logits)
        logits = (logits - gradient).detach().requires_grad_()
    return [*found, token_stats(logits, torch.Generator(), 1)[0].mean().item()]


def main() -> None:
    """Train all four policies, print their final entropies and draw them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/entropy_bands.svg"))
    out = parser.parse_args().out
    runs = {
        (name, way): entropies(name, sharpness)
        for name in COLORS
        for way, sharpness in STARTS.items()
    }
    for (name, way), values in runs.items():
        print(f"{name:12} {way}: {values[0]:.3f} -> {values[-1]:.3f} nats")
    curves = [
        Curve(
            name=f"{name}, {way}", color=COLORS[name], steps=list(range(len(values))), values=values
        )
        for (name, way), values in runs.items()
    ]
    title = "Entropy of a policy trained on the band alone"
    drawn = figure(
        [lambda axes: panel(axes, title, "nats", curves, low=0.0, band=("band", LOW, HIGH))],
        size=(7.2, 3.6),
    )
    out.write_text(drawn, encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
