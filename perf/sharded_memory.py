"""Memory of `trainer=fsdp` beside `trainer=ddp`, and what its checkpoints cost, on CPU processes.

    python perf/sharded_memory.py                         250 M weights on 2 and 4 ranks; 10 GB
    python perf/sharded_memory.py --shape small --ranks 2

A model with random weights in float32 is loaded by processes that are connected by gloo. Each makes
updates with AdamW, of one prompt with an image and a group of completions a rank, in the code that
training runs. Then it exports `final/` in bfloat16 and saves checkpoints. Memory is the unique set
size of a process (USS: what would be freed if it ended) beyond that before the model was loaded,
or, for exports and saves, before the stage; another process reads it all the time. Loading has a
proportional set size (PSS) too, which divides pages of the file between the processes that map
them. Seconds are medians. DDP is without the buckets that torch's DDP holds besides.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from shapes import SHAPES, random_batch, random_policy
from torch.distributed.device_mesh import init_device_mesh
from transformers.utils import logging

from g2rpo import ranks
from g2rpo.algorithm.advantage.grpo import GRPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.export import save_checkpoint
from g2rpo.policy.forward import local_tensor
from g2rpo.policy.sharding import Sharding
from g2rpo.records import Experience, Rollouts, Scores
from g2rpo.rollout.collect import KeepAll
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.checkpoint_folder import BackgroundSave, save_folder
from g2rpo.training.gradients import GradientConflict, clip_gradients
from g2rpo.training.update import Updater

MIB, GROUP, COMPLETION = 2**20, 4, 16
EXPORT_BYTES = 128 * MIB
"""Size of a file of the export; the rank that writes holds one in memory."""
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Makes glibc return freed memory at once, so that what is measured is in use."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a rank did, in seconds of the monotonic clock, and the MiB that it held at the end."""

    name: str
    begin: float
    end: float
    uss: float = 0.0
    pss: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Held:
    """Unique and proportional set size in MiB of a process at a moment."""

    at: float
    uss: float
    pss: float


@dataclass(frozen=True, kw_only=True)
class Rank:
    """What one rank did, and the MiB that it held at moments in between."""

    stages: Sequence[Stage]
    held: Sequence[Held]

    def peak(self, name: str, *, before: str | None = None, size: str = "uss") -> float:
        """Return the most MiB held in stages of a name, beyond those before the first one.

        Args:
            name: The stages.
            before: Count from the beginning of this stage instead.
            size: `uss` or `pss`.
        """
        wanted = [stage for stage in self.stages if stage.name == name]
        start = next(stage for stage in self.stages if stage.name == (before or name))
        most = max(self._held(stage, size) for stage in wanted)
        return most - self._held(start, size, at_begin=True)

    def _held(self, stage: Stage, size: str, *, at_begin: bool = False) -> float:
        """Return the MiB held just before a stage, or the most in it, if it was not too short."""
        read = [(one.at, getattr(one, size)) for one in self.held]
        read += [(one.end, getattr(one, size)) for one in self.stages]  # the watcher may be late
        first = max(one for one in read if one[0] <= stage.begin)[1]
        within = [getattr(one, size) for one in self.held if stage.begin < one.at <= stage.end]
        return first if at_begin else max([*within, getattr(stage, size)])

    def seconds(self, name: str) -> float:
        """Return the median seconds of stages of a name."""
        return statistics.median(
            stage.end - stage.begin for stage in self.stages if stage.name == name
        )


class Stages(list[Stage]):
    """Records stages, which all ranks begin together."""

    def run(self, name: str, act: Callable[[], Any]) -> Any:
        """Return `act()`."""
        dist.barrier()
        begin = time.monotonic()
        result = act()
        end, held = time.monotonic(), held_by(os.getpid())
        assert held is not None
        self.append(Stage(name=name, begin=begin, end=end, uss=held.uss, pss=held.pss))
        return result


def experience_of(policy: Any, tokens: int) -> Experience:
    """Return a prompt with an image and a group of random completions."""
    cpu = torch.device("cpu")
    batch = random_batch(policy, 1, tokens, 1, 0.5, cpu, torch.float32)
    generator = torch.Generator().manual_seed(ranks.rank())
    ids = torch.randint(10, 500, (GROUP, COMPLETION), generator=generator)
    values = torch.linspace(-1.0, 1.0, GROUP)
    return Experience(
        batch=batch,
        rollouts=Rollouts(
            completion_ids=ids,
            completion_mask=torch.ones_like(ids, dtype=torch.bool),
            old_logprobs=torch.full(ids.shape, -6.0),
            prompt=torch.zeros(GROUP, dtype=torch.long),
            finished=torch.ones(GROUP, dtype=torch.bool),
            texts=("",) * GROUP,
        ),
        task=torch.zeros(GROUP, dtype=torch.long),
        scores=Scores(total=values, parts={"accuracy": values}),
        rewards=values,
        advantages=values,
    )


def updater() -> Updater:
    """Return what computes gradients in training."""
    algorithm = Algorithm(
        tasks=("math",),
        advantage=GRPO(),
        loss=ClipLoss(),
        shaping=Shaping(length=None, entropy=None),
        batch=BatchPlan(prompts_per_step=1, group_size=GROUP),
        optimizer=partial(torch.optim.AdamW, lr=1e-6),
        group_filter=KeepAll(),
        gradient_conflict=GradientConflict(every_n_steps=None),
    )
    return Updater(algorithm, forbidden=(4, 5, 6), temperature=1.0)


def worker(options: argparse.Namespace) -> None:
    """Run in every process that `measure` starts; print the stages as JSON."""
    folder, sharded = options.worker, options.strategy == "fsdp"
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    stages, update = Stages(), updater()
    spread = None
    if sharded:
        mesh = init_device_mesh("cpu", (ranks.world_size(),))
        spread = Sharding(mesh=mesh, device=torch.device("cpu"))

    def loaded() -> Any:
        policy = Checkpoint(path=str(folder / "model")).policy(spread)
        for value in policy.parameters():
            local_tensor(value.detach()).sum()  # the loader maps the file and reads it later
        return policy

    policy = stages.run("load", loaded)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-6)
    experience = experience_of(policy, options.prompt)

    def step(saving: BackgroundSave | None = None) -> None:
        update.backward(policy, [experience], lambda loss: loss.backward())
        clip_gradients(policy, 1.0, ["math"])
        if saving is not None:
            begin = time.monotonic()
            saving.wait_until_copied()
            stages.append(Stage(name="waited", begin=begin, end=time.monotonic()))
        optimizer.step()
        optimizer.zero_grad()

    for turn in range(1 + options.repeats):
        stages.run("step" if turn else "first step", step)
    if sharded:
        encoder = Checkpoint.packaged(name="tiny_qwen3_vl").encoder()
        to = folder / "final"
        export = partial(save_checkpoint, policy, encoder, to, "float32", shard_bytes=EXPORT_BYTES)
        stages.run("export", export)
        same = bit_equal(policy, folder / "final")
        assert same or ranks.rank(), "the export differs from the weights"
        state = {"state_dict": policy.state_dict(), "optimizer_states": [optimizer.state_dict()]}
        threads = ThreadPoolExecutor(1)
        for _ in range(options.repeats):
            stages.run("save", partial(save_folder, folder / "a.ckpt", state))
            begin = partial(save_folder, folder / "b.ckpt", state, threads)
            saving = stages.run("begun", begin)
            stages.run("step beside a save", partial(step, saving))
            stages.run("completed", saving.complete)
    print(json.dumps([asdict(stage) for stage in stages]))
    dist.destroy_process_group()


def bit_equal(policy: Any, folder: Path) -> bool:
    """Return whether an export has the weights of the policy, which all ranks gather together."""
    files = [safe_open(file, "pt") for file in sorted(folder.glob("*.safetensors"))]
    where = {name: file for file in files for name in file.keys()}  # noqa: SIM118
    equal, seen = True, 0
    for name, value in policy.state_dict().items():
        whole = value.full_tensor()
        if name in where:
            seen += 1
            equal &= torch.equal(where[name].get_tensor(name), whole)
    return equal and seen == len(where) > 0


def held_by(pid: int) -> Held | None:
    """Return the memory of a process; None if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None

    def mib(*starts: str) -> float:
        return sum(int(line.split()[1]) for line in lines if line.startswith(starts)) / 1024

    return Held(at=time.monotonic(), uss=mib("Private_"), pss=mib("Pss:")) if lines else None


def measure(folder: Path, size: int, strategy: str, options: argparse.Namespace) -> list[Rank]:
    """Start the ranks and watch their memory until they end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"} | ALLOCATOR
    words = [f"--strategy={strategy}", f"--worker={folder}"]
    words += [f"--repeats={options.repeats}", f"--prompt={options.prompt}"]
    running = [
        subprocess.Popen(
            [sys.executable, __file__, *words],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | shared | {"RANK": str(rank), "WORLD_SIZE": str(size)},
        )
        for rank in range(size)
    ]
    held: list[list[Held]] = [[] for _ in running]
    try:
        while any(process.poll() is None for process in running):
            begin = time.monotonic()
            for process, own in zip(running, held, strict=True):
                if found := held_by(process.pid):
                    own.append(found)
            if any(process.returncode for process in running):
                break
            # reading stops a process that allocates, so that it must be rare
            time.sleep(max(0.02, 4 * (time.monotonic() - begin)))
        if any(process.returncode for process in running):
            sys.exit(f"a rank of {strategy} failed")
        said = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
    finally:
        for process in running:
            process.kill()
    return [
        Rank(stages=[Stage(**stage) for stage in stages], held=own)
        for stages, own in zip(said, held, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All ranks by strategy and number of ranks, and sizes in MiB."""

    ranks: dict[tuple[str, int], list[Rank]]
    weights: float
    largest: float
    """Size of the largest weight."""


def measure_all(options: argparse.Namespace) -> Measured:
    """Build a model and measure DDP on the first number of ranks, and FSDP on each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policy = random_policy(options.shape, torch.device("cpu"), torch.float32)
        sizes = [value.nbytes / MIB for value in policy.parameters()]
        encoder = Checkpoint.packaged(name="tiny_qwen3_vl").encoder()
        save_checkpoint(policy, encoder, folder / "model", "float32")
        del policy
        plans = [("ddp", options.ranks[0]), *(("fsdp", size) for size in options.ranks)]
        return Measured(
            ranks={plan: measure(folder, plan[1], plan[0], options) for plan in plans},
            weights=sum(sizes),
            largest=max(sizes),
        )


def show(measured: Measured) -> None:
    """Print the tables."""
    found, weights, largest = measured.ranks, measured.weights, measured.largest
    sharded = {size: ranks_ for (strategy, size), ranks_ in found.items() if strategy == "fsdp"}
    print("\n| | a rank's MiB in a step | of DDP | a step, s |\n|---|---|---|---|")
    whole = _most(next(iter(found.values())), "step")
    for (strategy, size), ranks_ in found.items():
        most = _most(ranks_, "step")
        print(
            f"| {strategy}, {size} ranks | {most:.0f} | {most / whole:.2f} |"
            f" {_seconds(ranks_):.1f} |"
        )
    rows: dict[str, Callable[[int, list[Rank]], str]] = {
        "a shard of the weights, MiB": lambda size, _: f"{weights / size:.0f}",
        "loading, most MiB (USS) beyond the shard": lambda size, own: (
            f"{max(rank.peak('load') for rank in own) - weights / size:.0f}"
        ),
        "the same in PSS": lambda size, own: (
            f"{max(rank.peak('load', size='pss') for rank in own) - weights / size:.0f}"
        ),
        "export, MiB of the rank that writes": lambda _, own: f"{own[0].peak('export'):.0f}",
        "export, most MiB of the others / of the largest tensor": lambda _, own: (
            f"{(most := max(rank.peak('export') for rank in own[1:])):.0f} / {most / largest:.2f}"
        ),
        "a save, s": lambda _, own: f"{_seconds(own, 'save'):.2f}",
        "a save / a step": lambda _, own: f"{_seconds(own, 'save') / _seconds(own):.2f}",
        "a save, most MiB": lambda _, own: f"{max(rank.peak('save') for rank in own):.0f}",
        "beginning a background save, s": lambda _, own: f"{_seconds(own, 'begun'):.2f}",
        "waiting for its copies, s": lambda _, own: f"{_seconds(own, 'waited'):.2f}",
        "both / a step": lambda _, own: (
            f"{sum(_seconds(own, name) for name in ('begun', 'waited')) / _seconds(own):.3f}"
        ),
        "a step beside it / a step (they share the cores)": lambda _, own: (
            f"{_seconds(own, 'step beside a save') / _seconds(own):.2f}"
        ),
        "a step beside it, MiB beyond one without": lambda _, own: (
            f"{_most(own, 'step beside a save') - _most(own, 'step'):.0f}"
        ),
    }
    print(f"\n| `trainer=fsdp` | {' | '.join(f'{size} ranks' for size in sharded)} |")
    print("|---" * (1 + len(sharded)) + "|")
    for name, cell in rows.items():
        cells = [cell(size, own) for size, own in sharded.items()]
        print(f"| {name} | {' | '.join(cells)} |")


def _seconds(own: Sequence[Rank], name: str = "step") -> float:
    """Return the median seconds of stages of a name on the rank that needs most."""
    return max(rank.seconds(name) for rank in own)


def _most(own: Sequence[Rank], name: str) -> float:
    """Return the most MiB that any rank held in stages of a name."""
    return max(rank.peak(name, before="load") for rank in own)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("--shape", choices=SHAPES, default="250m", help="weights are random")
    found.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    found.add_argument("--prompt", type=int, default=64, help="tokens of a prompt")
    found.add_argument("--repeats", type=int, default=3, help="steps and saves that count")
    found.add_argument("--strategy", choices=("ddp", "fsdp"), help=argparse.SUPPRESS)
    found.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return found


def main() -> None:
    """Measure and print."""
    options = parser().parse_args()
    logging.disable_progress_bar()
    if options.worker:
        worker(options)
        return
    measured = measure_all(options)
    print(
        f"{measured.weights * MIB / 4e6:.0f} M weights in float32, the largest tensor"
        f" {measured.largest:.0f} MiB; a rank has a prompt of {options.prompt} tokens and {GROUP}"
        f" completions of {COMPLETION};\nexports in files of {EXPORT_BYTES / MIB:.0f} MiB, equal to"
        " the weights to the bit"
    )
    show(measured)


if __name__ == "__main__":
    main()
