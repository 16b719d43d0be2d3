"""Time and memory of an update with `gradient=pcgrad`, `cagrad` and `aligned_mtl` beside `sum`.

`python perf/step.py --against gradient` runs it. An update is that of training: forward and
backward passes of all tasks, the weighted sum, clipping, AdamW. With each prompt of another task,
all choices make the same passes. Choices take turns; ratios are of medians. Memory is the peak
beyond the model and the state of AdamW; each choice has a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from shapes import random_batch, random_policy

from g2rpo.algorithm.advantage.grpo import GRPO
from g2rpo.algorithm.gradient.aligned_mtl import AlignedMTL
from g2rpo.algorithm.gradient.cagrad import CAGrad
from g2rpo.algorithm.gradient.pcgrad import PCGrad
from g2rpo.algorithm.gradient.sum import Sum
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.records import Experience, Rollouts, Scores
from g2rpo.rollout.collect import KeepAll
from g2rpo.stopwatch import resident
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.gradients import GradientConflict, clip_gradients
from g2rpo.training.update import Updater

CHOICES = {"sum": Sum, "pcgrad": PCGrad, "cagrad": CAGrad, "aligned_mtl": AlignedMTL}
TASKS = ("math", "chart", "general_vqa", "spatial", "document", "grounding")
MIB = 2**20


class Step:
    """A policy with AdamW, and a minibatch of one prompt per task.

    Args:
        options: Parsed options of `perf/step.py`.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.device, group = torch.device(options.device), options.group
        dtype = getattr(torch, options.dtype)
        self.policy = random_policy(options.shape, self.device, dtype)
        self.optimizer = torch.optim.AdamW(self.policy.parameters(), lr=1e-6)
        batch = random_batch(
            self.policy, len(TASKS), options.prompt, 1, options.image_frac, self.device, dtype
        )
        prompts = [replace(p, task=task) for p, task in zip(batch.prompts, TASKS, strict=True)]
        rows = len(TASKS) * group
        words = torch.Generator().manual_seed(2)
        ids = torch.randint(10, 500, (rows, options.completion), generator=words).to(self.device)
        owner = torch.arange(len(TASKS), device=self.device).repeat_interleave(group)
        values = torch.linspace(-1.0, 1.0, group, device=self.device).repeat(len(TASKS))
        self.experience = Experience(
            batch=replace(batch, prompts=tuple(prompts)),
            rollouts=Rollouts(
                completion_ids=ids,
                completion_mask=torch.ones_like(ids, dtype=torch.bool),
                old_logprobs=torch.full(ids.shape, -6.0, device=self.device),
                prompt=owner,
                finished=torch.ones_like(owner, dtype=torch.bool),
                texts=("",) * rows,
            ),
            task=owner,
            scores=Scores(total=values, parts={"accuracy": values}),
            rewards=values,
            advantages=values,
        )

    def run(self, choice: str) -> float:
        """Make one update and return its seconds: CPU time, or that of the GPU."""
        algorithm = Algorithm(
            tasks=TASKS,
            advantage=GRPO(),
            loss=ClipLoss(),
            shaping=Shaping(length=None, entropy=None),
            batch=BatchPlan(prompts_per_step=len(TASKS), group_size=2, micro_batch_prompts=1),
            optimizer=torch.optim.AdamW,
            group_filter=KeepAll(),
            gradient_conflict=GradientConflict(every_n_steps=None),
            gradient=CHOICES[choice](),
        )
        updater = Updater(algorithm, forbidden=(), temperature=1.0)
        parts = updater.micro_batches(self.experience, range(len(TASKS)))
        start = self.clock()
        updater.backward(self.policy, parts, lambda value: value.backward())
        clip_gradients(self.policy, 1.0, [])
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.clock() - start

    def clock(self) -> float:
        """Return CPU seconds of the process, or the GPU's own time in seconds."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def peak(self, choice: str) -> float:
        """Return the peak MiB of an update beyond what is there before it."""
        self.run("sum")  # makes the state of AdamW
        CHOICES[choice]()(torch.eye(2, dtype=torch.float64), 0)  # loads the libraries
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.run(choice)
            return (torch.cuda.max_memory_allocated() - before) / MIB
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        before = resident("VmRSS")
        self.run(choice)
        return (resident("VmHWM") - before) / MIB


def compare(options: argparse.Namespace) -> None:
    """Print a table with a row for each choice."""
    if options.form:
        print(json.dumps(Step(options).peak(options.form)))
        return
    step = Step(options)
    weights = sum(p.numel() * p.element_size() for p in step.policy.parameters()) / MIB
    seconds: dict[str, list[float]] = {choice: [] for choice in CHOICES}
    for turn in range(options.repeats + 1):
        for choice, found in seconds.items():
            spent = step.run(choice)
            if turn:  # the first is for warming up
                found.append(spent)
    del step
    held = {choice: _peak(choice) for choice in CHOICES}
    print(
        f"shape {options.shape}, {options.dtype}, {options.device}: {len(TASKS)} tasks, one prompt"
        f" of {options.prompt} tokens and {options.group} completions of {options.completion} each;"
        f" weights {weights:.0f} MiB; {options.repeats} turns"
    )
    print("| gradient | s | time ratio | MiB | memory ratio |\n|---|---|---|---|---|")
    base = statistics.median(seconds["sum"])
    for choice, found in seconds.items():
        median = statistics.median(found)
        print(
            f"| {choice} | {median:.3f} | {median / base:.2f} | {held[choice]:.0f} |"
            f" {held[choice] / held['sum']:.2f} |"
        )


def _peak(choice: str) -> float:
    """Return the peak of a choice, from a process with the same options."""
    command = [sys.executable, *sys.argv, "--form", choice]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))
