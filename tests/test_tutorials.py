"""Each tutorial, executed from its own text: its files are written, its commands run in order.

Commands in a block with a title (`with a GPU`, `once`) are composed only, by tests/test_docs.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from notebooks import notebook_page
from shown_commands import ROOT, blocks, pages, write_files

TUTORIALS = pages("Tutorials")


def script(page: Path) -> str:
    """Return the commands of a tutorial as one shell script."""
    shown = [text for language, title, text in blocks(page) if language == "bash" and not title]
    return "\n".join(shown)


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """Variables of a shell in which `g2rpo` and `python` are those of this test."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in {"g2rpo": "-m g2rpo", "python": ""}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        program.chmod(0o755)
    return os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
    }


def test_there_are_six_tutorials_and_each_has_commands_that_are_run() -> None:
    assert len(TUTORIALS) == 6
    assert [page.name for page in TUTORIALS if len(script(page).splitlines()) < 2] == []


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_from_its_own_text(
    page: Path, shell: dict[str, str], tmp_path: Path
) -> None:
    (folder := tmp_path / "empty").mkdir()
    write_files(page, folder)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(page)],
        cwd=folder,
        env=shell,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    PROOFS[page.stem](folder, done.stdout)


def _pictures(folder: Path, shown: str) -> None:
    before, after = _scores(folder / "run")
    assert after > before + 0.3, shown[-2000:]
    assert (folder / "look" / "preview.html").is_file()


def _reward(folder: Path, shown: str) -> None:
    header = (folder / "run" / "metrics.csv").read_text().splitlines()[0]
    assert "reward/brevity/" in header
    assert "reward/compute_score/" in header


def _lora(folder: Path, shown: str) -> None:
    assert (folder / "second" / "checkpoints" / "adapter" / "adapter_config.json").is_file()
    assert (folder / "scored" / "summary.json").is_file()


def _sweep(folder: Path, shown: str) -> None:
    rows = (folder / "sweep" / "sweep.csv").read_text().splitlines()
    assert len(rows) == 1 + 6
    assert len((folder / "rates" / "sweep.csv").read_text().splitlines()) == 1 + 4
    assert list((folder / "logged").rglob("events.out.tfevents*"))
    assert list((folder / "logged" / "wandb").glob("offline-run-*"))


def _evaluate(folder: Path, shown: str) -> None:
    assert len(list((folder / "scored" / "eval").glob("*.jsonl"))) == 18
    assert (folder / "theirs" / "eval" / "differences.json").is_file()


def _nodes(folder: Path, shown: str) -> None:
    steps = [
        line.split(",")[0] for line in (folder / "two" / "metrics.csv").read_text().splitlines()
    ]
    assert steps[-1] == "4"


PROOFS = {
    "pictures": _pictures,
    "reward": _reward,
    "lora": _lora,
    "sweep": _sweep,
    "evaluate": _evaluate,
    "nodes": _nodes,
}
"""What a tutorial promises, looked up in the files that its commands have left."""


def _scores(run: Path) -> tuple[float, float]:
    heldout = json.loads((run / "summary.json").read_text())["heldout"]
    return heldout["before"]["macro"], heldout["after"]["macro"]


NOTEBOOK = ROOT / "docs" / "tutorials" / "first_run.ipynb"
RUNS = """
import sys, nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], 4)
place = {"metadata": {"path": sys.argv[2]}}
NotebookClient(notebook, timeout=900, kernel_name="python3", resources=place).execute()
nbformat.write(notebook, sys.argv[2] + "/done.ipynb")
"""


def _cells(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def _pictures_in(cells: list[dict[str, Any]]) -> int:
    outputs = [output for cell in cells for output in cell["outputs"]]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_the_stored_notebook_has_run_from_top_to_bottom_and_shows_pictures() -> None:
    cells = _cells(NOTEBOOK)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert _pictures_in(cells) >= 2
    assert NOTEBOOK.stat().st_size < 200_000


def test_a_notebook_becomes_a_page_with_its_text_code_and_pictures() -> None:
    page, pictures = notebook_page(NOTEBOOK)
    assert page.startswith("# ")
    assert page.count("```python\n") == len(_cells(NOTEBOOK))
    assert len(pictures) == _pictures_in(_cells(NOTEBOOK))
    assert all(f"]({name})" in page for name in pictures)


@pytest.mark.slow
@pytest.mark.process
def test_the_notebook_runs(shell: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUNS, str(NOTEBOOK), str(tmp_path)],
        env=shell,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert _pictures_in(_cells(tmp_path / "done.ipynb")) == _pictures_in(_cells(NOTEBOOK))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "finished"
