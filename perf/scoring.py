"""How many predictions per second each of the 18 benchmarks scores, without a judge model.

    python perf/scoring.py

Rows are the demo rows. Completions look like those of policies: the gold answer alone and after a
chain of thought, wrong answers, truncated reasoning, long rambling, broken JSON, control
characters. They are scored as `evaluate.py` does, including groups and metrics.
"""

import argparse
import json
import time
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from g2rpo.benchmark.evaluation.metric import BenchmarkMetric
from g2rpo.benchmark.evaluation.plan import Plan
from g2rpo.benchmark.evaluation.runner import Scoring, row_counts, with_verdicts
from g2rpo.benchmark.evaluation.suite import SuiteEvaluation

CONF = Path(__file__).parents[1] / "conf"
THOUGHTS = (
    "Let me look at the picture. There are 3 bars, (A) is red and B: is 0.5; so x = \\frac{1}{2} at"
    " [120, 40]. "
)


def suite(protocol: str) -> SuiteEvaluation:
    """Return the benchmarks that have the protocol, on demo rows."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", ["eval=suite18", "eval.rows=demo"]).eval
    empty: SuiteEvaluation = instantiate(cfg, _convert_="all", benchmarks=[])
    found = map(empty.benchmark, empty.names(cfg.benchmarks))
    names = [benchmark.name for benchmark in found if protocol in benchmark.protocols]
    return instantiate(cfg, _convert_="all", benchmarks=names, protocol=protocol)


def gold(answer: str) -> str:
    """Return the gold answer as a policy would write it; of several, the first."""
    try:
        read = json.loads(answer)
    except ValueError:
        return answer
    return str(read[0]) if isinstance(read, list) and read and isinstance(read[0], str) else answer


def completion(right: str, wrong: str, rng: Random) -> str:
    """Return a completion in one of the ways in which policies answer."""
    thoughts = THOUGHTS * rng.randint(1, 12)
    return rng.choice(
        [
            right,
            f"<thinking>{thoughts}</thinking><answer>{right}</answer>",
            f"<think>{thoughts}</think>\n<answer>{wrong}</answer>",
            f"{thoughts}The answer is \\boxed{{{right}}}.",
            f"<thinking>{thoughts}",
            (
                f'<answer>{{"boxes": [{rng.randint(0, 400)}, 4, 900,'
                f" {rng.randint(500, 1000)}]}}</answer>"
            ),
            (
                f'```json\n[{{"point_2d": [{rng.randint(0, 1000)}, {rng.randint(0, 1000)}],'
                ' "label": "point_1"}]\n```'
            ),
            f'{{"boxes": [{rng.randint(0, 1000)}, 4, 900',
            "".join(chr(rng.randint(1, 0x3000)) for _ in range(rng.randint(0, 400))),
            thoughts * 4,
        ]
    )


def predictions(
    plan: Plan, count: int, rng: Random
) -> list[tuple[list[Any], list[dict[str, Any]]]]:
    """Return at least `count` predictions, in whole groups."""
    golds = [[gold(plan.benchmark.prompt(row).answer) for row in group] for group in plan.groups]
    everyone = [answer for answers in golds for answer in answers]
    found, rows = [], 0
    while rows < count:
        for group, answers in islice(zip(plan.groups, golds, strict=True), len(plan.groups)):
            found.append(
                (
                    group,
                    [
                        {"completion": completion(right, rng.choice(everyone), rng)}
                        for right in answers
                    ],
                )
            )
            rows += len(group)
    return found


def judge(
    plan: Plan, asked: list[tuple[list[Any], list[dict[str, Any]]]], scoring: Scoring
) -> tuple[float, float, float]:
    """Return seconds, score and fraction of parsed rows."""
    benchmark = plan.benchmark
    start = time.perf_counter()
    metric = BenchmarkMetric(subscores=[benchmark.subscores(rows[0]) for rows, _ in asked])
    for place, (rows, answers) in enumerate(asked):
        judged = [
            row | {"truncated": False, "tokens": 0}
            for row in with_verdicts(benchmark, rows, answers, scoring)
        ]
        metric.update(place, judged[0]["group_score"], **row_counts(judged))
    numbers = metric.compute()
    assert not numbers["failed"], (
        f"{benchmark.name}: {numbers['failed']:.0f} predictions could not be judged"
    )
    return time.perf_counter() - start, numbers["score"], numbers["parsed"] / numbers["rows"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--predictions", type=int, default=50_000, help="over all benchmarks together"
    )
    parser.add_argument("--protocol", default="paper")
    options = parser.parse_args()
    asking, rng = suite(options.protocol), Random(0)
    total_s = total = 0.0
    print(f"{'benchmark':14} {'rows':>7} {'seconds':>8} {'rows/s':>9} {'score':>6} {'parsed':>7}")
    for benchmark in asking.benchmarks:
        plan = asking.plan(benchmark)
        asked = predictions(plan, options.predictions // len(asking.benchmarks), rng)
        rows = sum(len(group) for group, _ in asked)
        seconds, score, parsed = judge(plan, asked, asking.scoring)
        total_s, total = total_s + seconds, total + rows
        print(
            f"{benchmark.name:14} {rows:7d} {seconds:8.2f} {rows / seconds:9.0f} {score:6.3f}"
            f" {parsed:7.1%}"
        )
    print(f"{'total':14} {total:7.0f} {total_s:8.2f} {total / total_s:9.0f}")


if __name__ == "__main__":
    main()
