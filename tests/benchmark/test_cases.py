"""Completions with the score that a careful person, or the original harness, gives them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from g2rpo.benchmark.multiple_choice import stated_option
from g2rpo.scoring.option import lettered

LEAST = {"robust": 0.99, "paper": 0.97}


def _careful() -> Iterator[tuple[str, str, str, str]]:
    name = row = ""
    files = [Path(__file__).parent / f"careful{kind}.txt" for kind in ("", "_prose")]
    for line in (line for file in files for line in file.read_text().splitlines()):
        if line.startswith("  "):
            expected, _, text = line[2:].partition(" ")
            yield name, row, expected, text
        elif not line.startswith("#"):
            name, _, row = line.partition(" ")


@pytest.mark.parametrize(("name", "row", "expected", "text"), list(_careful()))
def test_a_completion_is_read_as_a_careful_person_would(
    name: str, row: str, expected: str, text: str, root: Path
) -> None:
    gold, text = json.loads(row), text.replace("⏎", "\n")
    if isinstance(gold, list):
        assert (stated_option(text, lettered(gold)) or "-") == expected
        return
    benchmark = instantiate(OmegaConf.load(root / "conf" / "benchmark" / f"{name}.yaml"))
    row = {"id": "1", "question": "q", "images": (), **gold}
    assert benchmark.score(text, row, protocol="robust") == pytest.approx(float(expected))


@pytest.mark.parametrize("protocol", LEAST)
def test_scores_are_those_of_a_careful_grader(protocol: str, shared: Path, root: Path) -> None:
    cases = [
        json.loads(line)
        for line in (shared / "cases" / f"{protocol}.jsonl").read_text().splitlines()
    ]
    benchmarks = {
        name: instantiate(OmegaConf.load(root / "conf" / "benchmark" / f"{name}.yaml"))
        for name in {case["benchmark"] for case in cases}
    }
    missed = []
    for case in cases:
        benchmark = benchmarks[case["benchmark"]]
        row = case["row"] if "row" in case else benchmark.row(case["record"])
        score = benchmark.score(case["completion"], row, protocol=case["protocol"])
        if score != pytest.approx(case["expected"], abs=1e-4):
            missed.append((case["benchmark"], case["id"], case["completion"], score))
    assert 1 - len(missed) / len(cases) >= LEAST[protocol], sorted(missed)
