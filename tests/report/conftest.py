"""A made-up run of 60 steps on six tasks, written file by file as a training writes it."""

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from PIL import Image, ImageDraw
from report.pages import Element, parsed

from g2rpo.data.gym.source import TASKS
from g2rpo.report.run_data import read_run
from g2rpo.report.run_page import page

STEPS = 60
GROUPS, GROUP_SIZE = 2, 4
HELDOUT_PROMPTS, SAMPLES = 6, 4
START = {
    "general_vqa": 0.55,
    "math": 0.42,
    "chart": 0.5,
    "spatial": 0.47,
    "document": 0.6,
    "grounding": 0.38,
}
LENGTH_BANDS = {
    "general_vqa": [4, 8, 20, 40],
    "math": [6, 10, 24, 40],
    "chart": [4, 8, 20, 40],
    "spatial": [4, 8, 20, 40],
    "document": [4, 6, 14, 40],
    "grounding": [10, 16, 26, 40],
}
COLORS = {"red": "#d03030", "blue": "#3050d0", "green": "#30a040"}
WHOLE_COLUMNS = (
    "reward/total",
    "optim/grad_norm",
    "loss/policy",
    "loss/clip_frac",
    "time/step_s",
    "time/rollout_s",
    "time/update_s",
)
TASK_COLUMNS = (
    "reward/accuracy",
    "reward/format",
    "policy/entropy_nats",
    "rollout/completion_tokens",
    "advantage/mean",
    "advantage/std",
    "advantage/normal_distance",
    "advantage/zero_signal_frac",
)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that no test may change."""
    folder = tmp_path_factory.mktemp("finished") / "2026-03-01" / "14-05-12"
    fabricate(folder)
    return folder


@pytest.fixture(scope="session")
def finished_page(finished_run: Path) -> Element:
    """Its report."""
    return parsed(page(read_run(finished_run)))


@pytest.fixture
def run_folder(finished_run: Path, tmp_path: Path) -> Path:
    """A finished run of the test's own."""
    return shutil.copytree(finished_run, tmp_path / "2026-03-01" / "14-05-12")


@pytest.fixture
def rewrite() -> Callable[[Path, int, dict[str, object]], None]:
    """Changes some fields of one line (counted from 1) of a JSON-lines file."""
    return _rewrite


def _rewrite(path: Path, line: int, changes: dict[str, object]) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **changes})
    path.write_text("\n".join(lines) + "\n")


def fabricate(folder: Path) -> None:
    """Every file of a finished run."""
    rng = Random(7)
    (folder / ".hydra").mkdir(parents=True)
    (folder / "heldout" / "images").mkdir(parents=True)
    _write_configuration(folder / ".hydra")
    _write_metrics(folder / "metrics.csv", rng)
    _write_completions(folder / "completions.jsonl", rng)
    scores = {
        when: _write_heldout(folder / "heldout", when, lift, rng)
        for when, lift in (("before", 0.0), ("after", 0.25))
    }
    summary = {
        "status": "finished",
        "steps": STEPS,
        "heldout": {when: sampled for when, (sampled, _) in scores.items()},
        "heldout_greedy": {when: greedy for when, (_, greedy) in scores.items()},
        "benchmarks": {
            "chartqa": {
                "score": 0.4375,
                "low": 0.31,
                "high": 0.57,
                "parse_rate": 0.98,
                "rows": 64,
                "protocol": "paper",
            }
        },
        "stage_s": {
            "setup": 4.2,
            "heldout_before": 31.0,
            "train": 188.5,
            "heldout_after": 29.5,
            "report": 0.8,
        },
        "config_hash": "5f2c9a",
        "versions": {"g2rpo": "0.1.0", "torch": "2.9"},
        "filter": {"kept": 0.83},
    }
    (folder / "summary.json").write_text(json.dumps(summary))


def _write_configuration(folder: Path) -> None:
    config = {
        "advantage": {"_target_": "g2rpo.algorithm.advantage.g2rpo.G2RPO"},
        "loss": {"_target_": "g2rpo.algorithm.loss.clip.ClipLoss"},
        "shaping": {
            "length": {"bands": LENGTH_BANDS},
            "entropy": {"low": 0.2, "high": {task: 0.6 for task in TASKS if task != "math"}},
        },
        "task_mix": {"weights": dict.fromkeys([*TASKS, "default"], 1.0)},
        "trainer": {"max_steps": STEPS},
    }
    choices = {
        "advantage": "g2rpo",
        "shaping": "full",
        "loss": "clip",
        "model": "tiny",
        "data": "gym",
        "task_mix": "generalist",
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    (folder / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": choices}}}))
    (folder / "overrides.yaml").write_text(json.dumps(["shaping=full", "seed=3"]))


def _write_metrics(path: Path, rng: Random) -> None:
    columns = [
        "step",
        *WHOLE_COLUMNS,
        *(f"{name}/{task}" for name in TASK_COLUMNS for task in TASKS),
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for step in range(1, STEPS + 1):
            writer.writerow({"step": step, **_whole_numbers(step, rng), **_task_numbers(step, rng)})


def _whole_numbers(step: int, rng: Random) -> dict[str, float]:
    rollout_s, update_s = 0.8 + 0.1 * rng.random(), 1.1 + 0.2 * rng.random()
    return {
        "reward/total": 0.6 + 0.3 * step / STEPS + rng.gauss(0, 0.03),
        "optim/grad_norm": 1.5 + rng.random(),
        "loss/policy": rng.gauss(0, 0.02),
        "loss/clip_frac": 0.02 * rng.random(),
        "time/rollout_s": rollout_s,
        "time/update_s": update_s,
        "time/step_s": rollout_s + update_s,
    }


def _task_numbers(step: int, rng: Random) -> dict[str, float | str]:
    row: dict[str, float | str] = {}
    for i, task in enumerate(TASKS):
        done = step / STEPS
        row |= {
            f"reward/accuracy/{task}": min(1.0, START[task] + 0.25 * done + rng.gauss(0, 0.06)),
            f"reward/format/{task}": min(1.0, 0.8 + 0.2 * done),
            f"policy/entropy_nats/{task}": 0.7 * math.exp(-done) + 0.03 * i + rng.gauss(0, 0.02),
            f"rollout/completion_tokens/{task}": 28 - 10 * done + i + rng.gauss(0, 1),
            f"advantage/mean/{task}": rng.gauss(0, 0.05),
            f"advantage/std/{task}": 0.9 + rng.gauss(0, 0.03),
            f"advantage/normal_distance/{task}": 0.12 + 0.05 * rng.random(),
            f"advantage/zero_signal_frac/{task}": 0.3 * rng.random(),
        }
    if step % 10 == 0:  # a step that drew no chart prompt leaves its cells empty
        row |= {column: "" for column in row if column.endswith("/chart")}
    return row


def _write_completions(path: Path, rng: Random) -> None:
    with path.open("w") as file:
        for step in range(1, STEPS + 1):
            for task in TASKS:
                for i in range(GROUPS * GROUP_SIZE):
                    accuracy = float(rng.random() < START[task] + 0.25 * step / STEPS)
                    row = {
                        "step": step,
                        "task": task,
                        "prompt_id": f"gym/train/{task}/{step * GROUPS + i // GROUP_SIZE}",
                        "prompt": "how many circles are there?",
                        "answer": "3",
                        "completion": "<thinking>3 circles.</thinking><answer>3</answer>",
                        "reward": accuracy + 0.1,
                        "accuracy": accuracy,
                        "format": 1.0,
                        "advantage": rng.gauss(0, 0.6 if step < STEPS / 2 else 1.0),
                        "completion_tokens": 14,
                        "finished": True,
                    }
                    file.write(json.dumps(row) + "\n")


def _write_heldout(
    folder: Path, when: str, lift: float, rng: Random
) -> tuple[dict[str, float], dict[str, float]]:
    """Writes prompts with completions and, once, images; returns the scores by task, sampled and
    greedy.
    """
    sampled: dict[str, float] = {}
    greedy: dict[str, float] = {}
    with (folder / f"{when}.jsonl").open("w") as file:
        for task in TASKS:
            rows = [
                _heldout_row(folder, task, i, START[task] + lift, rng)
                for i in range(HELDOUT_PROMPTS)
            ]
            accuracies = [sample["accuracy"] for row in rows for sample in row["samples"]]
            sampled[task] = sum(accuracies) / len(accuracies)
            greedy[task] = sum(row["greedy"]["accuracy"] for row in rows) / len(rows)
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return tuple(
        {"macro": sum(scores.values()) / len(scores), **scores} for scores in (sampled, greedy)
    )


def _heldout_row(folder: Path, task: str, index: int, chance: float, rng: Random) -> dict:
    color = list(COLORS)[index % len(COLORS)]
    box = [6 + 3 * index, 10, 30 + 3 * index, 30]
    _draw(folder / "images" / f"gym-heldout-{task}-{index}-0.png", COLORS[color], box)
    gold = (
        json.dumps({"boxes": [round(x / 64 * 1000) for x in box]})
        if task == "grounding"
        else "ABC"[index % 3]
    )
    answers = [_judged(task, gold, rng.random() < chance, rng) for _ in range(SAMPLES + 1)]
    return {
        "prompt_id": f"gym/heldout/{task}/{index}",
        "task": task,
        "prompt": f"what color is the square? A. red B. blue C. green ({task} {index})",
        "answer": gold,
        "answer_type": "spatial grounding" if task == "grounding" else "multiple choice",
        "samples": answers[:SAMPLES],
        "greedy": answers[SAMPLES],
    }


def _judged(task: str, gold: str, right: bool, rng: Random) -> dict:
    shifted = (
        [x + rng.randint(20, 120) for x in json.loads(gold)["boxes"]]
        if task == "grounding"
        else None
    )
    answer = gold if right else json.dumps({"boxes": shifted}) if shifted else "D"
    scene = " ".join(
        rng.choice(("red circle 1 2.", "blue cross 3 1.", "green square 4 4."))
        for _ in range(rng.randint(1, 5))
    )
    accuracy = 1.0 if right else 0.45 if shifted else 0.0
    completion = (
        f"<thinking>let me see. {scene} so it is {answer}.</thinking><answer>{answer}</answer>"
    )
    return {
        "completion": completion,
        "accuracy": accuracy,
        "format": 1.0,
        "completion_tokens": len(completion) // 4,
    }


def _draw(path: Path, color: str, box: list[int]) -> None:
    if path.exists():
        return
    image = Image.new("RGB", (64, 64), "#f4f1e8")
    ImageDraw.Draw(image).rectangle(box, fill=color)
    ImageDraw.Draw(image).ellipse([40, 40, 56, 56], fill="#e0b030")
    image.save(path)
