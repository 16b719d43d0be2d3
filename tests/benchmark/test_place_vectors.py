"""The benchmarks whose answers are places, against the numbers of the released implementations; and
what a policy may write instead.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from g2rpo.benchmark.refcoco import RefCoco
from g2rpo.benchmark.refcoco_plus import RefCocoPlus
from g2rpo.benchmark.refcocog import RefCocoG
from g2rpo.benchmark.refspatial import RefSpatial
from g2rpo.benchmark.robospatial import RoboSpatial

BENCHMARKS: dict[str, Any] = {
    b.name: b for b in (RefSpatial(), RoboSpatial(), RefCoco(), RefCocoPlus(), RefCocoG())
}
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("refspatial", {"width": 64, "height": 48, "mask_rect": [0, 0, 64, 48]}),
    ("robospatial", {"answer": "yes", "binary": True, "width": 64, "height": 48}),
    (
        "robospatial",
        {
            "answer": "[(0.0, 0.0), (1.0, 0.1), (0.5, 0.9)]",
            "binary": False,
            "width": 64,
            "height": 48,
        },
    ),
    ("refcoco", {"answer": [100, 100, 500, 500], "box_format": "0-1000"}),
    (
        "refcocog",
        {"answer": [64, 48, 320, 240], "width": 640, "height": 480, "box_format": "pixels"},
    ),
]
NOTHING = (
    "",
    " \n\t",
    "\x00\x00",
    "a" * 100_000,
    "[" * 100_000,
    '{"boxes": [' * 9_000,
    "<thinking>" * 10_000,
    '{"boxes": [100, 100',
    '[{"point_2d": [550',
    "__import__('os').system('false')",
    '{"boxes": [NaN, 0, Infinity, 500]}',
    '[{"point_2d": [NaN, Infinity]}]',
    "(inf, nan)",
    "(1e999, -1e999)",
    '{"boxes": [[[[[]]]]]}',
    "\\boxed{}",
)


def test_scores_are_those_of_the_released_implementations(shared: Path) -> None:
    rows = [
        json.loads(line) for line in (shared / "vectors" / "scoring.jsonl").read_text().splitlines()
    ]
    rows = [row for row in rows if row["benchmark"] in BENCHMARKS]
    wrong = [
        row
        for row in rows
        if BENCHMARKS[row["benchmark"]].score(
            row["completion"], row["row"], protocol=row["protocol"]
        )
        != pytest.approx(row["expected"])
    ]
    assert wrong == []
    assert len(rows) > 50


@pytest.mark.parametrize("text", NOTHING, ids=[repr(text[:20]) for text in NOTHING])
@pytest.mark.parametrize(("name", "row"), ROWS)
def test_what_holds_no_place_scores_nothing_at_once(
    name: str, row: dict[str, Any], text: str
) -> None:
    for protocol in BENCHMARKS[name].protocols:
        start = time.thread_time()
        judgment = BENCHMARKS[name].judgment(text, row, protocol=protocol)
        assert (judgment.score, judgment.parsed) == (0.0, False)
        assert time.thread_time() - start < 2.0  # a collection of garbage can take a second


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_an_unknown_protocol_is_answered_with_the_known_ones(
    name: str, row: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=rf"{name}: unknown protocol 'papr'; .*paper, .*robust"):
        BENCHMARKS[name].score("yes", row, protocol="papr")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_yaml_of_its_name_builds_it(name: str, root: Path) -> None:
    benchmark = instantiate(OmegaConf.load(root / "conf" / "benchmark" / f"{name}.yaml"))
    assert type(benchmark) is type(BENCHMARKS[name])
    assert {"hub", "tsv"} <= set(benchmark.sources)
