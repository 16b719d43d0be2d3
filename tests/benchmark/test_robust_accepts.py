"""What another protocol accepts as right for good reason, `robust` accepts."""

import json
from pathlib import Path

import pytest
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from g2rpo.benchmark.chartqa import ChartQA
from g2rpo.benchmark.mathverse import MathVerse
from g2rpo.benchmark.mathvista import MathVista
from g2rpo.benchmark.mmstar import MMStar
from g2rpo.benchmark.robospatial import RoboSpatial

CHOICES = {"A": "teddy bear", "B": "rabbit", "C": "cat", "D": "dog"}
OPEN = {"question": "q", "choices": [], "question_type": "free_form", "precision": 1}
SHAPES = (
    "{}",
    "{}.",
    " {}\n",
    "**{}**",
    "**Answer:** {}",
    "### Answer\n{}",
    "Final answer: {}",
    "So, the answer is **{}**.",
    "<thinking>maybe 5 or (A)</thinking><answer>{}</answer>",
    "```\n{}\n```",
    "```json\n{}\n```",
    "${}$",
    "\\boxed{{{}}}",
    "$\\boxed{{{}}}$",
    "<answer>{}</answer>",
    "<think>x</think>{}",
    "The answer is {}",
    "The answer is {}.",
    "Answer: {}",
    "So it is {}.",
    "({})",
    '"{}"',
)
ROWS = {
    "mmbench": ({"choices": CHOICES, "answer": "C"}, ("C", "(C)", "cat", "C. cat")),
    "ai2d": ({"choices": CHOICES, "answer": "D"}, ("D", "dog", "D. dog")),
    "infovqa": ({"answer": ["42%", "42"]}, ("42%", "42")),
    "refcoco_plus": ({"answer": [10, 20, 310, 420]}, ('{"boxes": [10, 20, 310, 420]}',)),
    "refcocog": ({"answer": [10, 20, 310, 420]}, ('{"boxes": [10, 20, 310, 420]}',)),
    "mmstar": ({"choices": CHOICES, "answer": "B"}, ("B", "b", "rabbit", "B. rabbit")),
    "mmmu": ({"choices": CHOICES, "answer": "B", "question_type": "multiple-choice"}, ("B", "(B)")),
    "embspatial": ({"choices": CHOICES, "answer": "B"}, ("B", "b")),
    "mathvista": ({**OPEN, "answer_type": "integer", "answer": "14"}, ("14", "14.0")),
    "mathverse": ({"answer": "14", "question_type": "free-form"}, ("14", "14.0")),
    "mathvision": ({**OPEN, "answer": "\\frac{21}{8}"}, ("\\frac{21}{8}", "21/8", "2.625")),
    "chartqa": ({"answer": "62"}, ("62", "62.0", "64")),
    "docvqa": ({"answer": ["12 May 1998"]}, ("12 May 1998", "12 may 1998")),
    "ocrbench": ({"answer": ["STOP"], "category": "Regular Text Recognition"}, ("STOP", "Stop")),
    "refspatial": (
        {"width": 640, "height": 480, "mask_rect": [300, 200, 400, 260]},
        ("(0.55, 0.48)", '[{"point_2d": [550, 480]}]', '<points x1="55" y1="48"/>'),
    ),
    "robospatial": ({"answer": "yes", "binary": True}, ("yes", "Yes", "Yes, it fits")),
    "refcoco": (
        {"answer": [100, 100, 500, 500], "box_format": "0-1000"},
        ('{"boxes": [100, 100, 500, 500]}', "[100, 100, 500, 500]", "100 100 500 500"),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_robust_accepts_what_another_protocol_accepts(name: str, root: object) -> None:
    benchmark = instantiate(OmegaConf.load(f"{root}/conf/benchmark/{name}.yaml"))
    row, answers = ROWS[name]
    row = {"id": "1", "question": "q", "images": (), **row}
    others = [protocol for protocol in benchmark.protocols if protocol != "robust"]
    texts = [shape.format(answer) for shape in SHAPES for answer in answers]
    accepted = [
        text
        for text in texts
        if any(benchmark.score(text, row, protocol=protocol) == 1 for protocol in others)
    ]
    assert len(accepted) >= 2
    assert [text for text in accepted if benchmark.score(text, row, protocol="robust") < 1] == []


MARKUP = ("{}", "**{}**", "${}$", "\\( {} \\)", "\\boxed{{{}}}", "$\\boxed{{{}}}$", "\\text{{{}}}")
WORDS = (
    "{}",
    "{}.",
    "The answer is {}",
    "The answer is {}.",
    "Answer: {}",
    "So, the answer is {}.",
)
TAGS = (
    "{}",
    " {}\n",
    "<answer>{}</answer>",
    "<think>not it</think>\n{}",
    "<thinking>6 or A</thinking>{}",
)
BENCHMARKS = {
    file.stem: instantiate(OmegaConf.load(file))
    for file in sorted((Path(__file__).parents[2] / "conf" / "benchmark").glob("*.yaml"))
}
BASE = {"id": "1", "question": "q", "images": ()}
WRAPPED = (
    (
        MMStar(),
        {"choices": CHOICES, "answer": "B"},
        ("B", "(B)", "rabbit", "B. rabbit"),
        ("C", "dog"),
    ),
    (
        MathVista(),
        {**OPEN, "answer_type": "integer", "answer": "14"},
        ("14", "14.0"),
        ("15", "1.4"),
    ),
    (MathVerse(), {"answer": "14", "question_type": "free-form"}, ("14", "14 cm"), ("41", "14x")),
    (ChartQA(), {"answer": "62"}, ("62", "62%", "64"), ("26", "70")),
    (RoboSpatial(), {"answer": "yes", "binary": True}, ("yes", "Yes"), ("no", "No")),
)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(WRAPPED),
    st.integers(0, 3),
    st.booleans(),
    *map(st.sampled_from, (MARKUP, WORDS, TAGS)),
)
def test_markup_words_and_tags_around_an_answer_change_nothing(
    case: tuple, place: int, right: bool, markup: str, words: str, tags: str
) -> None:
    benchmark, row, rights, wrongs = case
    answers = rights if right else wrongs
    text = tags.format(words.format(markup.format(answers[place % len(answers)])))
    assert benchmark.score(text, {**BASE, **row}, protocol="robust") == right, text


LEAVES = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(-(10**400), 10**400), st.text(max_size=5)
)
KEYS = st.sampled_from(["point_2d", "point", "bbox_2d", "boxes", "box", "bbox", "x", "y", "label"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(VALUES, st.sampled_from(TAGS), st.booleans())
def test_json_of_any_shape_is_judged(value: object, tags: str, fenced: bool) -> None:
    text = json.dumps(value)
    text = tags.format(f"```json\n{text}\n```" if fenced else text)
    for name, benchmark in BENCHMARKS.items():
        row = {**BASE, **ROWS.get(name, ({"answer": "4", "question_type": "free-form"},))[0]}
        for protocol in benchmark.protocols:
            assert 0 <= benchmark.score(text, row, protocol=protocol) <= 1
