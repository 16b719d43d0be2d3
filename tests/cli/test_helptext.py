"""`--help` of every program: short, quick, complete, and the same for a person's own choices."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from g2rpo.cli.helptext import NUMBERS, help_text

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
PROGRAMS = ("train", "evaluate", "preview", "estimate", "pilot", "rescore")


@pytest.mark.process
@pytest.mark.parametrize("name", PROGRAMS)
def test_help_fits_two_screens_and_comes_at_once(name: str) -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / f"{name}.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert time.monotonic() - begun < 3
    lines = done.stdout.splitlines()
    assert len(lines) <= 80
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("  python ") for line in lines) == 10
    assert lines[0].startswith(f"{name}.py ")


def test_help_names_every_choice_of_every_group_and_the_keys_of_its_own_program() -> None:
    text = help_text("rescore")
    names = {file.stem for file in CONF.glob("*/*.yaml") if not file.stem.startswith("_")}
    names -= {
        file.stem
        for group in ("stages", "template", "judge")
        for file in (CONF / group).glob("*.yaml")
    }
    assert [name for name in sorted(names) if name not in text] == []
    assert "source: ???" in text
    assert "source: ???" not in help_text("config")


def test_help_shows_the_numbers_that_the_default_configuration_composes_to(
    composed: Callable[..., Any],
) -> None:
    cfg = composed("run_dir=x")
    shown = dict(
        re.findall(
            r"^  (\S+) +(\S+)", help_text("config").partition("Numbers:")[2], flags=re.MULTILINE
        )
    )
    for group, key in NUMBERS:
        name = f"{group}.{key}" if group else key
        if not shown[name].startswith("..."):
            assert yaml.safe_load(shown[name]) == OmegaConf.select(cfg, name) or float(
                shown[name]
            ) == OmegaConf.select(cfg, name)


def test_help_is_the_same_without_a_word_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = []
    for words in (["train.py", "--help"], ["train.py"], ["train.py", "-cd"]):
        monkeypatch.setattr(sys, "argv", words)
        shown.append(help_text("config"))
    assert shown[0] == shown[1] == shown[2]


def test_every_group_of_the_help_says_what_it_decides() -> None:
    groups = help_text("config").partition("Groups:")[2].partition("\n\n")[0]
    entries = re.sub(r"\n {20}", " ", groups).splitlines()[1:]
    assert len(entries) == 26
    assert [entry for entry in entries if not re.match(r"  \S+ +\S[^:]+: \w", entry)] == []


def test_help_lists_the_choices_of_a_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "advantage").mkdir()
    (tmp_path / "advantage" / "median.yaml").write_text("# Theirs.\n")
    for words in (["-cd", str(tmp_path)], [f"--config-dir={tmp_path}"]):
        monkeypatch.setattr(sys, "argv", ["train.py", *words, "--help"])
        assert "median" in help_text("config")
