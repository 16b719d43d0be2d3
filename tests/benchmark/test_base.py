"""What holds for every benchmark that reads text: protocols, prompts, groups, bad completions,
speed.
"""

import time
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from g2rpo.data.gym.source import TASKS
from g2rpo.interfaces import Benchmark
from g2rpo.records import Judgment

CONF = Path(__file__).parents[2] / "conf" / "benchmark"
ANIMALS = {"A": "teddy bear", "B": "rabbit", "C": "cat", "D": "dog"}
NUMBER = {"question_type": "free_form", "answer_type": "integer"}
CHOICE = {
    "question_type": "multi_choice",
    "answer_type": "text",
    "choices": ["3/11", "8/11", "6/11"],
    "answer_option": "B",
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "ai2d": [{"answer": "B", "choices": ANIMALS}],
    "chartqa": [{"answer": "14"}, {"answer": "Yes"}],
    "charxiv_rq": [{"answer": "(b)", "inst_category": 1}, {"answer": "4", "inst_category": 4}],
    "docvqa": [{"answer": ["ITC Limited"]}],
    "embspatial": [{"answer": "B", "choices": ANIMALS}],
    "infovqa": [{"answer": ["60%", "60"]}],
    "mathverse": [{"answer": "D"}, {"answer": "14"}, {"answer": "x^2+1"}],
    "mathvision": [
        {"answer": "6"},
        {"answer": r"5\sqrt{5}"},
        {"answer": "B", "choices": ["49", "70", "75", "105", "150"]},
    ],
    "mathvista": [
        {"answer": "14", **NUMBER},
        {"answer": "8/11", **CHOICE},
        {"answer": "[1, 2]", **NUMBER, "answer_type": "list"},
    ],
    "mmbench": [{"answer": "B", "choices": ANIMALS}],
    "mmmu": [{"answer": "B", "choices": ANIMALS}, {"answer": "1.06", "question_type": "open"}],
    "mmstar": [{"answer": "B", "choices": ANIMALS}],
    "ocrbench": [{"answer": ["CENTRE"], "category": "Regular Text Recognition"}],
}
NAMES = sorted(ROWS)
NOTHING = ["", " ", "\n\n", "\x00", "<thinking>it may be", "<answer></answer>"]
STRANGE = [
    "nan",
    "NaN",
    '{"answer": ',
    "__import__('os').system('touch pwned')",
    r"\boxed{\boxed{\boxed{",
    "9**9**9**9",
    "$9^{9^{9^{9}}}$",
    "1e999999",
]
STRANGE += ["(" * 40, r"\frac{1}{0}", "\ud800"]
LONG = [
    "x" * 100_000,
    "1" * 100_000,
    " " * 100_000,
    r"\boxed{" * 14_000,
    "<answer>" * 12_500,
    "<think>" * 14_000,
    "x " * 50_000,
]
LONG += [
    "answer is " * 10_000,
    "(Q) " * 25_000,
    "{" * 100_000,
    "1," * 50_000,
    "\n=" * 50_000,
    "choice option " * 7_000,
    "< " * 50_000,
]


def _built(name: str) -> Any:
    return instantiate(OmegaConf.load(CONF / f"{name}.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_one(name: str) -> None:
    benchmark = _built(name)
    assert isinstance(benchmark, Benchmark)
    assert benchmark.name == name
    assert benchmark.task in TASKS
    assert {"paper", "robust"} <= set(benchmark.protocols)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_protocol_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(
        ValueError,
        match=rf"{name}: unknown protocol 'strict'; this benchmark knows: paper, .*robust",
    ):
        _built(name).score("B", ROWS[name][0], protocol="strict")


@pytest.mark.parametrize("name", NAMES)
def test_a_completion_that_says_nothing_scores_0_and_is_unparsed(name: str) -> None:
    benchmark = _built(name)
    judged = [
        benchmark.judgment(text, row, protocol="robust") for row in ROWS[name] for text in NOTHING
    ]
    assert {(judgment.score, judgment.parsed) for judgment in judged} == {(0.0, False)}
    assert benchmark.judgment("", ROWS[name][0]) == Judgment(score=0.0, parsed=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_strange_completion_is_wrong_and_does_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    benchmark = _built(name)
    scores = [
        benchmark.score(text, row, protocol=p)
        for p in benchmark.protocols
        for row in ROWS[name]
        for text in STRANGE
    ]
    assert set(scores) == {0.0}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_hundred_kilobytes_are_judged_in_no_time(name: str) -> None:
    benchmark, slow = _built(name), []
    for text in LONG:
        for protocol in benchmark.protocols:
            for row in ROWS[name]:
                start = time.thread_time()
                benchmark.judgment(text, row, protocol=protocol)
                slow.append((time.thread_time() - start, protocol, text[:12]))
    # quadratic time would be minutes; 0.05 s where the processor is not shared, 0.3 s where it is
    assert max(slow)[0] < 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_group_must_have_as_many_completions_as_rows(name: str) -> None:
    with pytest.raises(ValueError, match="as many completions as rows"):
        _built(name).score_group(["B", "B"], ROWS[name][:1])


def test_a_prompt_without_an_image_is_refused_by_the_id_of_its_row() -> None:
    row = {"id": "7", "question": "How many?", "images": [], "answer": "3"}
    with pytest.raises(ValueError, match="chartqa: row '7' has no image"):
        _built("chartqa").prompt(row)


def test_a_prompt_carries_what_the_row_has() -> None:
    prompt = _built("docvqa").prompt(
        {"id": "7", "question": "Who?", "images": ["a.png"], "answer": ["ITC", "Itc"]}
    )
    assert (prompt.id, prompt.task, prompt.images, prompt.answer) == (
        "docvqa/7",
        "document",
        ("a.png",),
        '["ITC", "Itc"]',
    )
    assert prompt.text == "Who?\nAnswer the question using a single word or phrase."


def test_sub_scores_are_named_by_column_and_value() -> None:
    row = {"id": "1", "split": "test_human", "category": "Image Style & Quality", "l2_category": ""}
    assert _built("mmstar").subscores(row) == ["category/image_style_&_quality"]
    assert (
        _built("mmbench").subscores(
            {**row, "l2_category": "finegrained_perception (instance-level)"}
        )[1]
        == "l2_category/fp_s"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_judge_that_fails_changes_no_score(name: str) -> None:
    benchmark = _built(name)
    for protocol in benchmark.protocols:
        for row in ROWS[name]:
            alone = benchmark.judgment("I cannot tell", row, protocol=protocol)
            failed = benchmark.judgment(
                "I cannot tell",
                row,
                protocol=protocol,
                judge=lambda prompt: "Failed to obtain answer via API.",
            )
            assert (alone.score, alone.parsed) == (failed.score, failed.parsed)
