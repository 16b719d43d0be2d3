"""Seconds, tokens per second and peak memory of one policy update, with and without shared prompts.

    python perf/step.py                              8 completions of 32 tokens, a prompt of 512
    python perf/step.py --shape 2b --dtype bfloat16  the shape of Qwen3-VL-2B, random weights
    python perf/step.py --table                      over prompt, group and completion size
    python perf/step.py --against trl                whole steps against TRL: see against_trl.py
    python perf/step.py --against gradient           choices of gradient: see gradient_choices.py

Three forms compute the same numbers: `shared` and `repeated` (see policy.prefix), and `apart`, in
which every completion is a sequence with its own prompt and images, as trainers commonly do. Forms
take turns; ratios are of medians. On a CPU, seconds are CPU seconds of all threads, which depend
less on other load. Memory is the peak resident size; each form runs in a separate process.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import against_trl
import gradient_choices
import torch
from shapes import SHAPES, random_batch, random_policy

from g2rpo.policy.flops import cost_of, text_flops, vision_flops
from g2rpo.policy.forward import encode_images, recompute_layers
from g2rpo.policy.stats import token_stats
from g2rpo.records import PromptBatch
from g2rpo.rollout.groups import select_prompts

FORMS = ("shared", "repeated", "apart")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Update:
    """One setting, ready to run in any form."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device, dtype = torch.device(options.device), DTYPES[options.dtype]
        self.group = options.group
        self.policy = random_policy(options.shape, self.device, dtype)
        if options.checkpointing:
            recompute_layers(self.policy)
        self.batch = random_batch(
            self.policy,
            options.prompts,
            options.prompt,
            options.images,
            options.image_frac,
            self.device,
            dtype,
        )
        each = torch.arange(options.prompts, device=self.device).repeat_interleave(options.group)
        self.single = select_prompts(self.batch, each)
        rows = options.prompts * options.group
        words = torch.Generator().manual_seed(2)
        self.ids = torch.randint(10, 500, (rows, options.completion), generator=words).to(
            self.device
        )
        self.mask = torch.ones_like(self.ids, dtype=torch.bool)
        self.optimizer = torch.optim.SGD(self.policy.parameters(), lr=0.0)

    def run(self, form: str) -> dict[str, float]:
        """Return the seconds of each stage.

        The vision tower is part of `forward`, and is also measured alone.
        """
        batch: PromptBatch = self.single if form == "apart" else self.batch
        seconds = {}
        start = self.clock()
        with torch.no_grad():
            encode_images(self.policy, batch)
        seconds["vision"] = self.clock() - start
        start = self.clock()
        stats = token_stats(
            self.policy,
            batch,
            self.ids,
            self.mask,
            prefix="shared" if form == "shared" else "repeated",
        )
        loss = -stats.logprobs.mean() + 0.01 * stats.entropy.mean()
        middle = self.clock()
        loss.backward()
        end = self.clock()
        self.optimizer.step()
        seconds |= {
            "forward": middle - start,
            "backward": end - middle,
            "optimizer": self.clock() - end,
            "update": end - start,
        }
        self.optimizer.zero_grad(set_to_none=True)
        return seconds

    def clock(self) -> float:
        """Return CPU seconds of the process, or the GPU's own time in seconds."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def flops(self, form: str) -> float:
        """Return the FLOPs of the forward pass; the backward pass needs twice as many."""
        cost, tokens = cost_of(self.policy), self.mask.sum(1)
        batch = self.single if form == "apart" else self.batch
        prompt = self.batch.attention_mask.sum(1)
        owner = torch.arange(len(prompt)).repeat_interleave(len(tokens) // len(prompt))
        return vision_flops(self.policy, cost, batch) + text_flops(
            cost, prompt, tokens, owner.to(prompt.device), shared=form == "shared"
        )

    def peak(self) -> float:
        """Return the peak memory so far, in MiB."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        return resident("VmHWM")


def resident(field: str) -> float:
    """Return `VmRSS` (memory now) or `VmHWM` (peak since reset) of Linux, in MiB."""
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(field)
    )
    return int(line.split()[1]) / 1024


def medians(update: Update, forms: tuple[str, ...], repeats: int) -> dict[str, dict[str, float]]:
    """Return median seconds of each stage by form; the forms take turns."""
    found: dict[str, dict[str, list[float]]] = {form: defaultdict(list) for form in forms}
    for turn in range(repeats + 1):
        for form in forms:
            for stage, seconds in update.run(form).items():
                if turn:  # the first is for warming up
                    found[form][stage].append(seconds)
    return {
        form: {stage: statistics.median(values) for stage, values in stages.items()}
        for form, stages in found.items()
    }


def memory(options: argparse.Namespace, form: str) -> dict[str, float]:
    """Return peak MiB of one form from a separate process: total, and beyond the model."""
    command = [sys.executable, __file__, "--form", form]
    for name, value in vars(options).items():
        if name not in ("form", "table", "against", "model", "trl_cache"):
            command += (
                [f"--{name.replace('_', '-')}"]
                if value is True
                else []
                if value is False
                else [f"--{name.replace('_', '-')}={value}"]
            )
    return json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )


def one_form(options: argparse.Namespace) -> None:
    """Run in the process that `memory` starts.

    There is no warm-up, since memory the allocator keeps would be counted as the model's.
    """
    update = Update(options)
    if update.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
    else:
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        before = resident("VmRSS")
    for _ in range(2):
        update.run(options.form)
    print(json.dumps({"peak": update.peak(), "extra": update.peak() - before}))


def report(options: argparse.Namespace) -> None:
    """Print stages, speed and memory of one setting."""
    update = Update(options)
    times, held = (
        medians(update, FORMS, options.repeats),
        {form: memory(options, form) for form in FORMS},
    )
    tokens = options.prompts * (options.prompt + options.group * options.completion)
    print(
        f"shape {options.shape}, {options.dtype}, {device_name(update.device)}: {options.prompts}"
        f" prompt(s) of {options.prompt} tokens,",
        end=" ",
    )
    print(
        f"{options.images} image(s) each, {options.group} completions of {options.completion};"
        f" {options.repeats} turns"
    )
    print(
        "| form | vision s | forward s | backward s | update s | tokens/s | peak MiB | beyond model"
        " | time ratio | memory ratio | FLOPs |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for form in FORMS:
        row = times[form]
        ratios = (
            row["update"] / times["shared"]["update"],
            held[form]["extra"] / held["shared"]["extra"],
            update.flops(form) / update.flops("shared"),
        )
        cells = [f"{row[stage]:.3f}" for stage in ("vision", "forward", "backward", "update")]
        cells += [
            f"{value:.0f}"
            for value in (tokens / row["update"], held[form]["peak"], held[form]["extra"])
        ]
        print(f"| {form} | " + " | ".join([*cells, *(f"{ratio:.2f}" for ratio in ratios)]) + " |")


def table(options: argparse.Namespace) -> None:
    """Print ratios over prompt length P, group size G and completion length C."""
    print(
        "| P | G | C | apart / shared | ideal | repeated / shared | ideal"
        " |\n|---|---|---|---|---|---|---|"
    )
    for prompt, group, completion in product((128, 512, 1024), (4, 8), (32, 128)):
        setting = argparse.Namespace(
            **vars(options) | {"prompt": prompt, "group": group, "completion": completion}
        )
        update = Update(setting)
        times = medians(update, FORMS, options.repeats)
        cells = []
        for form in ("apart", "repeated"):
            cells += [
                times[form]["update"] / times["shared"]["update"],
                update.flops(form) / update.flops("shared"),
            ]
        print(
            f"| {prompt} | {group} | {completion} | "
            + " | ".join(f"{cell:.2f}" for cell in cells)
            + " |",
            flush=True,
        )


def device_name(device: torch.device) -> str:
    """Return the name of the device for the headline."""
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} thread(s)"
    )


def parsed() -> Any:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shape", choices=SHAPES, default="tiny", help="of the model; weights are random"
    )
    parser.add_argument(
        "--prompts",
        type=int,
        help="default 1; with --against 32, and 8 of more than 256 tokens, for memory",
    )
    parser.add_argument(
        "--prompt",
        type=int,
        help="tokens of a prompt, images included; default 512, with --against 100 and 512",
    )
    parser.add_argument("--images", type=int, default=1, help="of a prompt")
    parser.add_argument("--image-frac", type=float, default=0.9, help="share of image tokens")
    parser.add_argument("--group", type=int, default=8, help="completions of a prompt")
    parser.add_argument("--completion", type=int, default=32, help="tokens of a completion")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="on a CPU")
    parser.add_argument(
        "--checkpointing",
        action="store_true",
        help="layers are computed again in the backward pass",
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--table", action="store_true")
    parser.add_argument(
        "--against",
        choices=("trl", "gradient"),
        help="trl: whole steps, rollouts included, with those of another trainer; gradient: updates"
        " with other choices of gradient",
    )
    parser.add_argument(
        "--model", help="--against: a Qwen3-VL folder; the model that ships by default"
    )
    parser.add_argument(
        "--trl-cache",
        choices=("static", "dynamic"),
        help="--against: cache_implementation of TRL's generation",
    )
    parser.add_argument(
        "--form", choices=(*FORMS, *gradient_choices.CHOICES), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    options.prompts = options.prompts or (None if options.against else 1)
    options.prompt = options.prompt or (None if options.against == "trl" else 512)
    return options


if __name__ == "__main__":
    chosen = parsed()
    torch.set_num_threads(chosen.threads)
    if chosen.against == "trl":
        against_trl.compare(chosen)
    elif chosen.against:
        gradient_choices.compare(chosen)
    elif chosen.form:
        one_form(chosen)
    elif chosen.table:
        table(chosen)
    else:
        report(chosen)
