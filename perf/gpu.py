"""Everything that is to be measured on a GPU, in one JSON file and one markdown table.

    bash perf/gpu.sh             # on a machine with a GPU; at most 8 minutes on an H100
    bash perf/gpu.sh --cpu       # rehearses the same with small shapes

Each part is a process of its own with a time limit. A part that fails leaves its error in the table
and does not keep the others from running. MFU is model FLOPs of the tokens that a form really
passes, by time and the peak of the device; what gradient checkpointing computes again, and the
padding of a batch, do not count. Frozen weights need no gradient, so with LoRA a backward pass
costs as much as a forward pass, and nothing for the vision tower.
"""

import argparse
import csv
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_decode import decode
from gpu_parts import Rows, data_seconds, head, images, now, qwen_encoder
from shapes import random_batch, random_policy
from step import Update, device_name
from torch import Tensor

from g2rpo.policy.adapter import LoRA
from g2rpo.policy.flops import cost_of, text_flops, vision_flops
from g2rpo.policy.stats import token_stats

ROOT = Path(__file__).parents[1]
PEAKS = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 FLOP/s by a part of the device's name (NVIDIA's data sheets)."""
FORMS = ("shared", "apart", "repeated", "flex")


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the peak of a known GPU, or the speed of a matrix product."""
    name = device_name(device)
    for part, peak in PEAKS.items():
        if part in name and dtype == torch.bfloat16:
            return peak
    size = 4096 if device.type == "cuda" else 256
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    a @ b
    start = now(device)
    for _ in range(10):
        a @ b
    return 20 * size**3 / (now(device) - start)


def kernels(device: torch.device, small: bool) -> Rows:
    """Log-probabilities and gradients of each form against `repeated` in float32."""
    lengths = torch.tensor([3, 9, 1, 40, 17, 2, 8, 5] if small else [30, 200, 1, 129, 64, 2, 77, 5])
    prompt = 40 if small else 300
    ids = torch.randint(
        10, 500, (8, int(lengths.max())), generator=torch.Generator().manual_seed(3)
    ).to(device)
    mask = torch.arange(ids.shape[1], device=device) < lengths.to(device)[:, None]
    found: Rows = []
    exact: tuple[Tensor, Tensor] | None = None
    for dtype in (torch.float32, torch.bfloat16):
        policy = random_policy("tiny", device, dtype)
        batch = random_batch(policy, 2, prompt, 1, 0.5, device, dtype)
        forms = ["repeated", "shared", *(["flex"] if device.type == "cuda" else [])]
        for form in forms:
            policy.zero_grad(set_to_none=True)
            stats = token_stats(policy, batch, ids, mask, prefix=form)
            (stats.logprobs.mean() + 0.1 * stats.entropy.mean()).backward()
            grads = torch.cat(
                [p.grad.flatten().float() for p in policy.parameters() if p.grad is not None]
            )
            if exact is None:
                exact = stats.logprobs.detach(), grads
            error = (stats.logprobs.detach() - exact[0]).abs().max().item()
            relative = ((grads - exact[1]).norm() / exact[1].norm()).item()
            found.append(
                {
                    "form": form,
                    "dtype": str(dtype).removeprefix("torch."),
                    "largest error of a log-probability, nats": f"{error:.1e}",
                    "relative error of the gradient": f"{relative:.1e}",
                }
            )
    return found


def update_row(
    update: Update, form: str, lora: bool, repeats: int, peak: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure one form of an update; `peak` is in FLOP/s."""
    device = update.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    runs = [update.run(form) for _ in range(1 + repeats)][1:]
    seconds = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    cost, tokens = cost_of(update.policy), update.mask.sum(1)
    prompt = update.batch.attention_mask.sum(1)
    shared = form in ("shared", "flex")
    owner = torch.arange(len(prompt), device=device).repeat_interleave(update.group)
    text = text_flops(cost, prompt, tokens, owner, shared=shared)
    vision = vision_flops(update.policy, cost, update.single if form == "apart" else update.batch)
    flops = 2 * text + vision if lora else 3 * (text + vision)
    passed = prompt.sum() if shared else (prompt * update.group).sum()
    return {
        "shape": options.shape + (", LoRA" if lora else ""),
        "P": options.prompt,
        "C": options.completion,
        "form": form,
        "vision s": round(seconds["vision"], 4),
        "forward s": round(seconds["forward"], 4),
        "backward s": round(seconds["backward"], 4),
        "update s": round(seconds["update"], 4),
        "tokens/s": round(float(passed + tokens.sum()) / seconds["update"]),
        "peak GiB": round(update.peak() / 1024, 2),
        "MFU": f"{flops / seconds['update'] / peak:.1%}",
    }


def step(device: torch.device, small: bool) -> Rows:
    """Measure updates over model, prompt length and completion length, the most telling first."""
    deadline = time.monotonic() + (3000 if small else 215)
    dtype = torch.float32 if small else torch.bfloat16
    peak, found = peak_flops(device, dtype), []
    shapes = (("tiny", False), ("tiny", True)) if small else (("8b", True), ("2b", False))
    lengths = (40,) if small else (1500, 512, 4096)
    completions = (8,) if small else (800, 256)
    for completion in completions:
        for prompt in lengths:
            for shape, lora in shapes:
                options = argparse.Namespace(
                    device=str(device),
                    dtype=str(dtype).removeprefix("torch."),
                    group=2 if small else 8,
                    shape=shape,
                    checkpointing=shape == "8b",
                    prompts=1,
                    prompt=prompt,
                    images=1,
                    image_frac=0.5,
                    completion=completion,
                )
                if time.monotonic() > deadline:
                    found.append({"shape": shape, "P": prompt, "C": completion, "form": "no time"})
                    continue
                update = Update(options)
                if lora:
                    LoRA(rank=16).attach(update.policy)
                patch = update.policy.config.vision_config.patch_size
                data, first = data_seconds(qwen_encoder(patch, device), update.batch), None
                for form in FORMS:
                    if (form == "flex" and device.type != "cuda") or time.monotonic() > deadline:
                        continue
                    try:
                        row = update_row(update, form, lora, 1 if small else 2, peak, options)
                    except RuntimeError as error:  # such as out of memory
                        row = {"shape": shape, "P": prompt, "C": completion, "form": form}
                        row["vision s"] = str(error).splitlines()[0][:80]
                    if form == "shared":
                        first = row.get("update s")
                    if first and "update s" in row:
                        row["time / shared"] = round(row["update s"] / first, 2)
                        row["data s"] = round(data, 4)
                        row["data / (data + update)"] = f"{data / (data + row['update s']):.1%}"
                    found.append(row)
                del update
                gc.collect()
    return found


def trained(folder: Path, device: torch.device, steps: int, *overrides: str) -> Rows:
    """Train the model that ships; return the rows of metrics.csv."""
    command = [
        sys.executable, "train.py", f"trainer.max_steps={steps}", "gradient_conflict=none",
        f"trainer.accelerator={device.type}", f"hydra.run.dir={folder}", *overrides,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-1500:])
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def accuracy(rows: Rows) -> float:
    """Return the mean accuracy over tasks and steps."""
    return statistics.fmean(
        float(value)
        for row in rows
        for name, value in row.items()
        if name.startswith("reward/accuracy/") and value not in ("", "nan")
    )


def curves(device: torch.device, small: bool, folder: Path) -> Rows:
    """Compare runs of the model that ships in float32 and in bf16-mixed."""
    steps, found = (2 if small else 20), []
    for precision in ("32-true", "bf16-mixed"):
        more = ["heldout=none", f"trainer.precision={precision}"]
        if small:
            more += ["batch.prompts_per_step=4", "filter=none", "batch.group_size=4"]
        rows = trained(folder / precision, device, steps, *more)
        found.append(
            {
                "precision": precision,
                "loss by step": " ".join(f"{float(row['loss/policy']):.3f}" for row in rows),
                "accuracy, last 5": round(accuracy(rows[-5:]), 3),
            }
        )
    return found


def demo(device: torch.device, small: bool, folder: Path) -> Rows:
    """Train as `make demo` does; return seconds by stage."""
    more = ["heldout=none", "batch.prompts_per_step=4", "filter=none"] if small else []
    rows = trained(folder / "demo", device, 2 if small else 30, *more)
    stages = {
        name.removeprefix("time/").removesuffix("_s"): statistics.median(
            float(row[name]) for row in rows
        )
        for name in rows[0]
        if name.startswith("time/") and name.endswith("_s")
    }
    whole = stages["step"]
    named = ("data", "vision", "prefill", "decode", "forward", "backward", "optimizer")
    return [
        {"step s": round(whole, 3)}
        | {f"{name}, share": f"{stages[name] / whole:.1%}" for name in named}
    ]


def tests(device: torch.device, small: bool) -> Rows:
    """Run the tests that are marked `gpu`."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/test_gpu.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"G2RPO_GPU_TESTS": device.type},
    )
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-500:]
    if done.returncode:
        raise RuntimeError(f"{last}\n{done.stdout[-3000:]}")
    return [{"tests": last.strip("= ")}]


PARTS: dict[str, tuple[Callable[..., Rows], int]] = {
    "tests": (tests, 150),
    "kernels": (kernels, 90),
    "step": (step, 275),
    "decode": (decode, 90),
    "head": (head, 60),
    "images": (images, 60),
    "curves": (curves, 120),
    "demo": (demo, 120),
}
"""Each part and its limit in seconds on a GPU; all together have the limit of the script."""


def run_part(name: str, options: argparse.Namespace) -> Rows:
    """Run one part in this process."""
    device, part = torch.device("cpu" if options.cpu else "cuda"), PARTS[name][0]
    if part in (curves, demo):
        return part(device, options.cpu, options.out / "runs")
    return part(device, options.cpu)


def table(name: str, rows: Rows) -> list[str]:
    """Return the rows of a part as markdown.

    >>> table("head", [{"columns": 8, "s": 0.5}, {"columns": 9}])
    ['### head', '', '| columns | s |', '|---|---|', '| 8 | 0.5 |', '| 9 |  |', '']
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in [keys]]
    lines += ["|" + "---|" * len(keys)]
    lines += ["| " + " | ".join(str(row.get(key, "")) for key in keys) + " |" for row in rows]
    return [f"### {name}", "", *lines, ""]


def main() -> int:
    """Run all parts one after another, and write `gpu.json` and `gpu.md` after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu", action="store_true", help="rehearse with small shapes on a CPU")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "gpu")
    parser.add_argument("--limit", type=int, help="seconds for all parts together; 470 on a GPU")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.part:
        (options.out / f"{options.part}.json").write_text(
            json.dumps(run_part(options.part, options))
        )
        return 0
    if not options.cpu and not torch.cuda.is_available():
        raise SystemExit("expected a CUDA device, found none; rehearse with --cpu")
    device = torch.device("cpu" if options.cpu else "cuda")
    head_line = f"{device_name(device)}, torch {torch.__version__}"
    found: dict[str, Any] = {"device": head_line, "parts": {}, "seconds": {}, "failed": {}}
    patience = 10 if options.cpu else 1  # a rehearsal may share its machine
    end = time.monotonic() + (options.limit or 470 * patience)
    for name in options.parts:
        start, limit = time.monotonic(), min(patience * PARTS[name][1], end - time.monotonic())
        found["parts"][name], error = part_process(name, options, limit)
        if error:
            found["failed"][name] = error
        found["seconds"][name] = round(time.monotonic() - start, 1)
        lines = [f"{head_line}; seconds by part: {found['seconds']}", ""]
        for part, rows in found["parts"].items():
            lines += table(part, rows)
        (options.out / "gpu.json").write_text(json.dumps(found, indent=1))
        (options.out / "gpu.md").write_text("\n".join(lines))
        print(f"{name}: {found['seconds'][name]} s {'FAILED' if error else ''}", flush=True)
    print((options.out / "gpu.md").read_text())
    print(f"{options.out / 'gpu.json'}\n{options.out / 'gpu.md'}")
    return 1 if found["failed"] else 0


def part_process(name: str, options: argparse.Namespace, limit: float) -> tuple[Rows, str]:
    """Run a part in a process; return its rows, and why it has none."""
    command = [sys.executable, __file__, "--part", name, "--out", str(options.out)]
    command += ["--cpu"] if options.cpu else []
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        said, _ = started.communicate(timeout=max(1.0, limit))
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)  # with the runs that the part has started
        started.communicate()
        return [{"error": f"took more than {limit:.0f} s"}], "time limit"
    if started.returncode:
        return [{"error": (said.strip() or "no output").splitlines()[-1][:200]}], said[-4000:]
    return json.loads((options.out / f"{name}.json").read_text()), ""


if __name__ == "__main__":
    sys.exit(main())
