"""The benchmarks against scores that the original evaluations gave: rows of other people's data and
odd completions.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]
VECTORS = ROOT.parent / "shared" / "vectors" / "scoring.jsonl"
NAMES = {file.stem for file in (ROOT / "conf" / "benchmark").glob("*.yaml")}
EXCEPTIONS = {
    (
        "mathverse",
        "paper",
        "...",
        "14",
        "0",
        1.0,
    ): (
        "the original was given an extraction `14` that the row does not hold; its twin with 0"
        " is met"
    ),
}
"""(benchmark, protocol, completion, answer, judge's reply, expected) -> why it cannot be met."""


def _cases() -> list[Any]:
    if not VECTORS.is_file():
        return []
    cases = [json.loads(line) for line in VECTORS.read_text().splitlines()]
    return [
        pytest.param(case, id=f"{case['benchmark']}-{number}")
        for number, case in enumerate(cases)
        if case["benchmark"] in NAMES
    ]


CASES = _cases()


def _judge_of(case: Mapping[str, Any]) -> Callable[[str], str] | None:
    return (lambda prompt: case["judge_reply"]) if "judge_reply" in case else None


def _key(case: Mapping[str, Any]) -> tuple[Any, ...]:
    row = case["row"] if isinstance(case["row"], dict) else {}
    values = (
        case["benchmark"],
        case["protocol"],
        case["completion"],
        row.get("answer"),
        case.get("judge_reply"),
        case["expected"],
    )
    return tuple(value if isinstance(value, str | float) else str(value) for value in values)


@pytest.mark.skipif(not CASES, reason="no ../shared/vectors/scoring.jsonl beside the repository")
@pytest.mark.parametrize("case", CASES)
def test_a_completion_scores_what_the_original_evaluation_gave(case: dict[str, Any]) -> None:
    benchmark = instantiate(
        OmegaConf.load(ROOT / "conf" / "benchmark" / f"{case['benchmark']}.yaml")
    )
    if isinstance(case["completion"], list):
        score = benchmark.score_group(case["completion"], case["row"], protocol=case["protocol"])
    else:
        score = benchmark.score(
            case["completion"], case["row"], protocol=case["protocol"], judge=_judge_of(case)
        )
    if _key(case) in EXCEPTIONS:
        pytest.xfail(EXCEPTIONS[_key(case)])
    assert score == pytest.approx(case["expected"], abs=1e-5)
