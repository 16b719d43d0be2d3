"""The `eval` choice: only what is chosen is built, wrong choices are named, and settings guard a
folder of predictions.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from g2rpo.benchmark.evaluation.suite import SuiteEvaluation, weights_digest

BAD = {"_target_": "no.where"}
ANSWERS = {"q1?": "1", "q2?": "half"}


@pytest.fixture
def suite(world: Any) -> Callable[..., SuiteEvaluation]:
    def build(**options: Any) -> SuiteEvaluation:
        records = [world.record(1), world.record(2)]
        given = {
            "benchmarks": ["sums", "more"],
            "rows": "listed",
            "max_new_tokens": 7,
            "suite": {"sums": world.Sums(), "more": world.Sums(name="more"), "bad": BAD},
            "row_sources": {
                "listed": world.Listed(sums=records, more=records[:1]),
                "other": world.Listed(sums=records),
                "bad": BAD,
            },
        }
        return SuiteEvaluation(**(given | options))

    return build


@pytest.fixture
def run(world: Any, tmp_path: Path) -> Callable[..., Any]:
    def start(
        suite: SuiteEvaluation, engine: Any = None, weights: str = "aa", **options: Any
    ) -> dict[str, Any]:
        engine = engine or world.Answering(ANSWERS)
        return suite.run(
            engine,
            world.IdEncoder(),
            tmp_path / "eval",
            model={"weights": weights},
            device="cpu",
            progress_bar=world.silent,
            **options,
        )

    return start


def test_every_benchmark_is_asked_with_the_sampling_of_the_evaluation(
    world: Any, suite: Callable[..., SuiteEvaluation], run: Callable[..., Any], tmp_path: Path
) -> None:
    engine = world.Answering(ANSWERS)
    entries = run(suite(batch_rows=1), engine)
    assert {
        name: (found["score"], found["rows"], found["parse_rate"])
        for name, found in entries.items()
    } == {
        "sums": (0.75, 2, 1.0),
        "more": (1.0, 1, 1.0),
    }
    assert {(s.group_size, s.temperature, s.max_new_tokens) for s in engine.samplings} == {
        (1, 0.0, 7)
    }
    assert engine.asked == [["sums/1"], ["sums/2"], ["more/1"]]
    assert sorted(path.name for path in (tmp_path / "eval").iterdir()) == [
        "more.jsonl",
        "settings.json",
        "sums.jsonl",
    ]


def test_an_entry_says_how_its_number_came_about(
    suite: Callable[..., SuiteEvaluation], run: Callable[..., Any]
) -> None:
    found = run(suite(limit=1))["sums"]
    asked = {
        key: found[key]
        for key in (
            "task",
            "protocol",
            "prompted_as",
            "judge",
            "rows_from",
            "limit",
            "rows",
            "rows_available",
        )
    }
    assert asked == {
        "task": "math",
        "protocol": "paper",
        "prompted_as": "paper",
        "judge": None,
        "rows_from": "listed",
        "limit": 1,
        "rows": 1,
        "rows_available": 2,
    }
    assert json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"temperature": 0.5},
            r"eval\.seed was None and is 0; eval\.temperature was 0\.0 and is 0\.5",
        ),
        ({"max_new_tokens": 8}, r"eval\.max_new_tokens was 7 and is 8"),
        ({"rows": "other"}, r"eval\.rows was 'listed' and is 'other'"),
    ],
)
def test_a_folder_of_other_settings_is_refused(
    suite: Callable[..., SuiteEvaluation],
    run: Callable[..., Any],
    changed: dict[str, Any],
    words: str,
) -> None:
    run(suite())
    with pytest.raises(ValueError, match=words):
        run(suite(**changed))


def test_other_weights_are_refused_or_replace_what_was_there(
    world: Any, suite: Callable[..., SuiteEvaluation], run: Callable[..., Any]
) -> None:
    run(suite())
    with pytest.raises(ValueError, match="weights was 'aa' and is 'bb'"):
        run(suite(), weights="bb")
    engine = world.Answering({})
    assert run(suite(), engine, weights="bb", overwrite=True)["sums"]["score"] == 0
    assert len(engine.asked) == 2


def test_the_same_again_and_another_protocol_generate_nothing(
    world: Any, suite: Callable[..., SuiteEvaluation], run: Callable[..., Any]
) -> None:
    first = run(suite())
    silent = world.Answering({}, dies_at=1)
    assert run(suite(), silent) == first
    assert run(suite(protocol="robust"), silent)["sums"]["protocol"] == "robust"


def test_rows_that_were_read_once_are_not_read_again(
    world: Any, suite: Callable[..., SuiteEvaluation], run: Callable[..., Any]
) -> None:
    asking, plans = suite(), {}
    run(asking, plans=plans)
    asking.source.by_name.clear()
    assert run(asking, weights="bb", plans=plans, overwrite=True)["sums"]["rows"] == 2


def test_a_template_puts_its_words_around_every_question(
    world: Any, suite: Callable[..., SuiteEvaluation], run: Callable[..., Any]
) -> None:
    template = {
        "_target_": "g2rpo.data.template.PromptTemplate",
        "instruction": "Think.",
        "hints": {"numerical": "One number."},
    }
    engine = world.Answering({"q1?\nThink.\nOne number.": "1"})
    assert run(suite(template=template), engine)["sums"]["score"] == 0.5


def test_only_what_is_chosen_is_built(suite: Callable[..., SuiteEvaluation]) -> None:
    assert suite(benchmarks=[], rows="bad").source is None
    with pytest.raises(ValueError, match=r"^eval\.suite\.bad: Error loading 'no\.where'"):
        suite(benchmarks=["bad"])
    with pytest.raises(ValueError, match=r"^eval\.rows: Error loading 'no\.where'"):
        suite(rows="bad")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"benchmarks": ["sum"]},
            r"eval\.benchmarks: unknown benchmark 'sum'; expected some of: ai2d, ",
        ),
        (
            {"protocol": "best"},
            r"eval\.protocol: expected one of paper, official, robust, vlmevalkit, got 'best'",
        ),
        (
            {"protocol": "official"},
            r"eval\.protocol=official: benchmark sums has no such protocol, only: paper, robust",
        ),
        (
            {"rows": "hubb"},
            (
                r"eval\.rows: unknown source 'hubb'; expected one of listed, other, bad, or a"
                r" source with _target_"
            ),
        ),
        (
            {"rows": {"_target_": "builtins.dict"}},
            r"eval\.rows: expected an object with records\(benchmark\), got dict",
        ),
        ({"root": "/data"}, r"eval\.root: eval\.rows=listed reads no folder"),
        (
            {"rows": {"_target_": "x.Y", "folder": None}},
            r"eval\.root: eval\.rows=x\.Y needs the folder with the files",
        ),
        ({"limit": 0}, r"eval\.limit: expected at least 1, got 0"),
        ({"batch_rows": 0}, r"eval\.batch_rows: expected at least 1, got 0"),
        (
            {"max_unusable_frac": 1.5},
            r"eval\.max_unusable_frac: expected a fraction in \[0, 1\], got 1\.5",
        ),
    ],
)
def test_wrong_settings_are_answered_with_their_key(
    suite: Callable[..., SuiteEvaluation], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        suite(**wrong)


def test_weights_that_differ_in_one_tensor_have_another_digest() -> None:
    weights = {"a": torch.arange(100.0).reshape(10, 10), "b": torch.zeros(3), "c": torch.zeros(0)}
    digest = weights_digest(weights.items())
    assert digest == weights_digest(
        {name: values.clone() for name, values in weights.items()}.items()
    )
    assert digest != weights_digest((weights | {"b": torch.tensor([0.0, 1e-7, 0.0])}).items())
    assert digest != weights_digest((weights | {"a": weights["a"] + 1e-3}).items())
    assert digest != weights_digest(
        {"renamed": weights["a"], "b": weights["b"], "c": weights["c"]}.items()
    )
    assert len(digest) == 12
