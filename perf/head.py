"""Compare the LM head computed in chunks of the vocabulary with full logits.

    python perf/head.py

Both compute log-probabilities and entropies, forward and backward, each in a separate process.
Printed are CPU seconds (of all threads) and the peak memory beyond weights, hidden states and their
gradients. The full form is float32 logits of all tokens, `log_softmax`, and the sum of p log p.
Ratios are of medians.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch import Tensor

from g2rpo.policy.head import head_stats


def full(head: torch.nn.Linear, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compute both numbers from the logits of all tokens at once."""
    logp = head(hidden).float().log_softmax(-1)
    return logp.gather(-1, targets[:, None])[:, 0], -(logp.exp() * logp).sum(-1)


FORMS = {"pieces": head_stats, "full": full}


def measure(form: str, tokens: int, width: int, vocabulary: int, repeats: int) -> dict[str, float]:
    """Return median seconds and peak MiB of one form, measured in this process."""
    torch.manual_seed(0)
    head = torch.nn.Linear(width, vocabulary, bias=False)
    hidden = torch.randn(tokens, width, requires_grad=True)
    targets = torch.randint(0, vocabulary, (tokens,))
    with torch.no_grad():
        head(hidden[:64])  # the library's own buffers
    gradients = torch.ones_like(head.weight), torch.ones_like(hidden)  # any form needs them
    before, seconds = peak(), []
    del gradients
    for _ in range(repeats):
        head.weight.grad, hidden.grad = None, None
        start = time.process_time()
        logprobs, entropy = FORMS[form](head, hidden, targets)
        (logprobs.mean() + 0.1 * entropy.mean()).backward()
        seconds.append(time.process_time() - start)
    return {
        "s": statistics.median(seconds),
        "mib": peak() - before,
        "check": (logprobs.mean() + entropy.mean()).item(),
    }


def peak() -> float:
    """Return the largest memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(form: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure in a separate process, so that peaks do not mix."""
    command = [sys.executable, __file__, "--form", form, "--repeats", "1"]
    command += [
        f"--{name}={getattr(options, name)}"
        for name in ("tokens", "width", "vocabulary", "threads")
    ]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Run the two forms in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--width", type=int, default=1024, help="hidden size")
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--form", choices=FORMS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.form:
        print(
            json.dumps(
                measure(
                    options.form, options.tokens, options.width, options.vocabulary, options.repeats
                )
            )
        )
        return
    runs = [{form: apart(form, options) for form in FORMS} for _ in range(options.repeats)]
    found = {
        form: {
            key: statistics.median(run[form][key] for run in runs) for key in ("s", "mib", "check")
        }
        for form in FORMS
    }
    logits = 4 * options.tokens * options.vocabulary / 2**20
    print(
        f"{options.tokens} tokens, width {options.width}, vocabulary {options.vocabulary}: full"
        f" float32 logits are {logits:.0f} MiB"
    )
    for form, row in found.items():
        print(
            f"{form:7} {row['s']:7.2f} CPU s   {row['mib']:7.0f} MiB extra  "
            f" ({row['mib'] / logits:.3f} of full logits)"
        )
    ratios = sorted(run["full"]["s"] / run["pieces"]["s"] for run in runs)
    print(
        f"full / pieces: {statistics.median(ratios):.2f} x the time ({ratios[0]:.2f} to"
        f" {ratios[-1]:.2f})"
    )
    print(
        f"               {found['full']['mib'] / max(1.0, found['pieces']['mib']):.1f} x the memory"
    )


if __name__ == "__main__":
    main()
