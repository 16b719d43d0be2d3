"""The dashboard as data: every metric in one place, and the command that prints it."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from itertools import permutations
from pathlib import Path

import pytest

from g2rpo.data.gym.source import TASKS
from g2rpo.metrics import METRICS, Metric, metric_of
from g2rpo.report.dashboard.__main__ import main
from g2rpo.report.dashboard.view import MACHINE, Panel, view
from g2rpo.report.dashboard.workspace import workspace

SECTIONS = [
    "reward",
    "advantages",
    "length and entropy",
    "gradient conflict",
    "benchmarks",
    "loss and optimizer",
    "system",
]


def logged_columns(metric: Metric) -> list[str]:
    """Columns that a run of all tasks and two benchmarks logs."""
    if metric.per_pair:
        return [
            f"{metric.name}/{a}/{b}"
            for a, b in permutations(TASKS, 2)
            if TASKS.index(a) < TASKS.index(b)
        ]
    endings = TASKS if metric.per_task else ("mmmu", "refcoco_plus") if metric.per_benchmark else ()
    return [f"{metric.name}/{ending}" for ending in endings] or [metric.name]


def shows(panel: Panel, column: str) -> bool:
    return column in panel.columns or bool(panel.pattern and re.fullmatch(panel.pattern, column))


def test_sections_stand_in_order() -> None:
    assert [section.name for section in view()] == SECTIONS


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_column_of_a_metric_is_in_exactly_one_panel(metric: Metric) -> None:
    for column in logged_columns(metric):
        found = [
            (section.name, panel.title)
            for section in view()
            for panel in section.panels
            if shows(panel, column)
        ]
        assert len(found) == 1, column


def test_panels_show_declared_columns_alone_with_their_unit() -> None:
    for section in view():
        for panel in section.panels:
            if panel not in MACHINE:
                assert {metric_of(column).unit for column in panel.columns} <= {panel.unit}


def test_entropy_and_length_of_a_task_stand_beside_their_band() -> None:
    (section,) = [section for section in view(TASKS) if section.name == "length and entropy"]
    together = [panel.columns for panel in section.panels]
    for task in TASKS:
        assert (
            f"policy/entropy_nats/{task}",
            f"shaping/entropy_low_nats/{task}",
            f"shaping/entropy_high_nats/{task}",
        ) in together
        bounds = (f"shaping/length_low_tokens/{task}", f"shaping/length_high_tokens/{task}")
        assert (f"rollout/completion_tokens/{task}", *bounds) in together


def test_a_new_noun_needs_a_section() -> None:
    with pytest.raises(
        ValueError, match=r"no section for weather/\*; add 'weather' to one of reward, advantages"
    ):
        view(metrics=(*METRICS, Metric("weather/rain", "mm", "rain")))


@pytest.mark.process
def test_a_dry_run_prints_the_view_without_network_account_or_package(tmp_path: Path) -> None:
    # modules of these names that only raise stand in the way of the real ones
    for name in ("wandb_workspaces", "requests", "httpx"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')")
    command = [
        sys.executable,
        "-m",
        "g2rpo.report.dashboard",
        "--entity",
        "us",
        "--project",
        "vision",
        "--dry-run",
    ]
    path = f"{tmp_path}:{Path(__file__).parents[3] / 'src'}"
    done = subprocess.run(
        command,
        env={"PYTHONPATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (
        printed["entity"],
        printed["project"],
        [section["name"] for section in printed["sections"]],
    ) == ("us", "vision", SECTIONS)
    panels = [panel for section in printed["sections"] for panel in section["panels"]]
    assert {key for panel in panels for key in panel} == {f.name for f in fields(Panel)}
    assert [panel["table"] for panel in panels if "table" in panel] == ["completions", "benchmarks"]


def test_without_the_package_saving_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["--entity", "us", "--project", "vision"]) == 1
    assert r'pip install -c constraints/ci.txt -e ".[dashboard]"' in capsys.readouterr().err


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # of wandb-workspaces on the pydantic it asks for
def test_the_workspace_holds_the_same_panels() -> None:
    pytest.importorskip("wandb_workspaces")
    made = workspace(view(), entity="us", project="vision", name="g2rpo")
    assert [(section.name, len(section.panels)) for section in made.sections] == [
        (s.name, len(s.panels)) for s in view()
    ]
    first, by_benchmark = made.sections[0].panels[0], made.sections[4].panels[0]
    assert (first.y, first.title_y) == (["reward/total"], "reward")
    assert by_benchmark.metric_regex == "benchmark/score/.+"
