"""Completions with the score that a careful person, or the original harness, gives them."""

import json
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

LEAST = {"robust": 0.97, "paper": 0.97}


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
