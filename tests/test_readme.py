"""What the README promises runs: --help, --cfg job and the smoke line; its paths are files.

tests/test_docs.py composes every command of it.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from g2rpo.cli.command import OTHERS, PROGRAMS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = "\n".join(re.findall(r"```bash\n(.*?)```", TEXT, flags=re.S))
COMMANDS = sorted(
    {line.partition("#")[0].strip() for line in BLOCKS.splitlines() if line.startswith("python ")}
)
TARGETS = sorted(set(re.findall(r"make ([a-z-]+)", TEXT)))


def _run(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_readme_shows_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.process
def test_a_command_of_the_readme_shows_what_it_composes_to() -> None:
    (command,) = [c for c in COMMANDS if "--cfg job" in c]
    shown = _run(command.split()[1:], ROOT)
    assert shown.returncode == 0, shown.stderr
    assert "model" in OmegaConf.create(shown.stdout)


@pytest.mark.process
def test_the_programs_of_the_console_script_exist_in_the_readme() -> None:
    lines = [line.partition("#")[0].split("&&")[-1].split() for line in BLOCKS.splitlines()]
    words = {line[1]: line[2:] for line in lines if line[:1] == ["g2rpo"]}
    assert set(words) == {"train", "sweep", "report", "doctor"} <= {*PROGRAMS, *OTHERS}
    assert (ROOT / "sweeps" / f"{words['sweep'][0]}.yaml").is_file()
    composed = _run(["-m", "g2rpo", "train", *words["train"], "--cfg", "job"], ROOT)
    assert composed.returncode == 0, composed.stderr


def test_help_lists_the_choices() -> None:
    shown = _run(["train.py", "--help"], ROOT)
    assert shown.returncode == 0, shown.stderr
    (entry,) = re.findall(r"^  advantage .*(?:\n {20}.*)*", shown.stdout, flags=re.M)
    names = {
        file.stem
        for file in (ROOT / "conf" / "advantage").glob("*.yaml")
        if not file.stem.startswith("_")
    }
    assert names <= set(re.findall(r"\w+", entry))


@pytest.mark.process
def test_the_smoke_line_runs_from_anywhere_and_prints_its_report_last(tmp_path: Path) -> None:
    (command,) = [c for c in COMMANDS if "experiment=smoke" in c]
    small = ["trainer.max_steps=1", "batch.prompts_per_step=2", "batch.group_size=2", "filter=none"]
    small += [
        "heldout.prompts_per_task=1",
        "heldout.samples=1",
        "rollout.max_new_tokens=16",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    script, *options = command.split()[1:]
    done = _run([str(ROOT / script), *options, *small], tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", 1)
    assert Path(done.stdout.split()[-1]).resolve() == (tmp_path / "run" / "report.html").resolve()
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000


@pytest.mark.parametrize("target", TARGETS)
def test_a_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.M)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_paths_in_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    links = {path for path in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in path}
    quoted = set(re.findall(r"`((?:src|conf|tests|docs|perf|sweeps|constraints)/[\w./-]*)`", text))
    assert [path for path in sorted(links | quoted) if not (ROOT / path).exists()] == []
