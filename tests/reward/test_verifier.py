import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from reward.cases import BOX, GOLDS, TRACK, prompt_of, tagged

from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.reward.openvlthinker import OpenVLThinkerReward
from g2rpo.reward.verifier import TYPES, VerifierReward

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared" / "cases" / "reward.jsonl"
NEIGHBORS = [
    json.loads(line)
    for line in Path(__file__).with_name("neighbors.jsonl").read_text().splitlines()
]
OPTIONS = {"A": "teddy bear", "B": "rabbit", "C": "cat", "D": "dog"}


def accuracy(answer_type: str, gold: str, answer: str, **meta: Any) -> float:
    return VerifierReward().score(tagged(answer), prompt_of(answer_type, gold, **meta))["accuracy"]


@pytest.mark.skipif(not CASES.exists(), reason=f"{CASES.name} is not beside the repository")
def test_people_s_verdicts_on_reported_answers_are_met() -> None:
    rows, missed = [json.loads(line) for line in CASES.read_text().splitlines()], []
    for row in rows:
        asked = prompt_of(row["answer_type"], row["gold"], **row.get("meta", {}))
        for completion in (tagged(row["completion"]), row["completion"]):  # in tags and without
            got = VerifierReward().score(completion, asked)["accuracy"]
            if not math.isclose(got, row["expected"], abs_tol=1e-6):
                missed.append((row["id"], row["gold"], row["completion"], got, row["expected"]))
    assert len(rows) == 110
    assert len({row[0] for row in missed}) <= 0.03 * len(rows), missed


@pytest.mark.parametrize(
    "case", NEIGHBORS, ids=lambda case: f"{case['type']}: {case['gold']} | {case['answer']}"
)
def test_answers_next_to_the_reported_ones_get_what_a_person_would_give(
    case: dict[str, Any],
) -> None:
    meta = {"options": case["options"]} if "options" in case else {}
    scores = VerifierReward().score(
        tagged(case["answer"]), prompt_of(case["type"], case["gold"], **meta)
    )
    assert scores["accuracy"] == pytest.approx(case["accuracy"])
    # the structure is paid for the asked form alone, as in the release
    released = OpenVLThinkerReward().score(
        tagged(case["answer"]), prompt_of("spatial grounding", BOX)
    )
    assert scores["structure"] == (
        released["structure"] if case["type"] == "spatial grounding" else scores["structure"]
    )


@pytest.mark.parametrize(("answer_type", "gold"), GOLDS.items())
def test_the_four_numbers_are_weighed_as_in_the_release(answer_type: str, gold: str) -> None:
    reward, asked = VerifierReward(), prompt_of(answer_type, f"<answer>{gold}</answer>")
    full = reward.score(f"<thinking>so</thinking>\n<answer>\n{gold}\n</answer>\n", asked)
    assert full == pytest.approx({"accuracy": 1.0, "format": 1.0, "structure": 0.5, "total": 1.5})
    assert reward.score(gold, asked) == pytest.approx(
        {"accuracy": 1.0, "format": 0.0, "structure": 0.0, "total": 0.9}
    )
    assert reward.score("", asked) == {
        "accuracy": 0.0,
        "format": 0.0,
        "structure": 0.0,
        "total": 0.0,
    }
    assert set(TYPES) == set(OpenVLThinkerReward().by_type.types)


def test_options_in_another_notation_count_as_their_text() -> None:
    options = {"A": r"\frac{1}{2}", "B": r"\frac{2}{3}", "C": "1,200", "D": "25%"}
    for letter, answer in (
        ("B", "2/3"),
        ("C", "1200"),
        ("D", "25 percent"),
        ("A", "0.5"),
        ("B", r"$\dfrac{2}{3}$"),
    ):
        scores = [accuracy("multiple choice", gold, answer, options=options) for gold in options]
        assert scores == [float(gold == letter) for gold in options], answer


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("<thinking>B", 0),
        ("<think>B", 0),
        ("<thinking>B</thinking>", 0),
        ("<think>B</think>", 0),
        ("<thinking>B</thinking><answer></answer>", 0),
        ("<thinking>B</thinking><answer> \n </answer>B", 0),
        ("<answer></answer>", 0),
        ("", 0),
        ("<think>A</think>B", 1),
        ("B", 1),
        ("<thinking>A</thinking><answer>B", 1),
        ("<THINK>A</THINK><answer>B</answer>", 1),
        ("<thinking>A</thinking> < answer >B</ answer >", 1),
        ("<think>A</think><answer>B</answer><answer>C</answer>", 1),
        ("<think>A</think><answer>C</answer><answer>B</answer>", 0),
        ("<answer>C</answer> <thinking>B</thinking>", 0),
        ("</think>B", 1),
        ("<thought>A</thought>B", 1),
    ],
)
@pytest.mark.parametrize("answer_type", ["multiple choice", "OCR", "open-ended", "relaxed"])
def test_thinking_that_never_ended_and_an_empty_answer_are_no_answer(
    completion: str, right: float, answer_type: str
) -> None:
    assert VerifierReward().score(completion, prompt_of(answer_type, "B"))["accuracy"] == right


def test_the_tag_of_the_format_is_a_setting_and_both_tags_are_thinking() -> None:
    asked = prompt_of("multiple choice", "B")
    long, short = VerifierReward(), VerifierReward(think_tag="think")
    assert [reward.score(tagged("B"), asked)["format"] for reward in (long, short)] == [1.0, 0.0]
    assert [reward.score(tagged("B", "think"), asked)["format"] for reward in (long, short)] == [
        0.0,
        1.0,
    ]
    assert short.score("< think >so</ think > <answer>B</answer>", asked)["format"] == 1.0
    assert {
        reward.score(tagged("B", tag), asked)["accuracy"]
        for reward in (long, short)
        for tag in ("think", "thinking")
    } == {1.0}
    with pytest.raises(
        ValueError, match=r"reward\.think_tag: expected one of thinking, think, got 'thought'"
    ):
        VerifierReward(think_tag="thought")


def test_any_of_the_accepted_answers_is_right_and_the_best_verdict_counts() -> None:
    golds = {"alternatives": ["NYC", "New York City"]}
    for answer in ("New York", "NYC", "new york city"):
        assert accuracy("relaxed", "New York", answer, **golds) == 1.0
    assert accuracy("relaxed", "New York", "Boston", **golds) == 0.0
    assert (
        accuracy("OCR", "a b c d", "a b x y", alternatives=["a b x z"]) == 0.75
    )  # 0.5 against the answer itself
    assert accuracy("multiple choice", "A", "C", alternatives=["A", "C"]) == 1.0
    assert accuracy("numerical", "1", "2", alternatives=["<answer>2</answer>"]) == 1.0
    with pytest.raises(
        ValueError,
        match=r"prompt 't/7', field meta.alternatives: expected a finite number .* got 'many'",
    ):
        accuracy("numerical", "1", "1", alternatives=["many"])
    with pytest.raises(
        ValueError,
        match=r"prompt 't/7', field meta.alternatives: expected a list of texts, got '12'",
    ):
        accuracy("numerical", "1", "1", alternatives="12")


@pytest.mark.parametrize(
    ("answer_type", "gold"),
    [
        ("multiple choice", ""),
        ("multiple choice", "$$"),
        ("numerical", "many"),
        ("numerical", "nan"),
        ("regression", "x"),
        ("relaxed", " "),
        ("OCR", "<answer> </answer>"),
        ("OCR", "\u200b"),
        ("open-ended", ""),
        ("math", ""),
        ("spatial grounding", "[1, 2, 3]"),
        ("spatial grounding", '{"boxes": [9, 9, 9, 9]}'),
        ("temporal grounding", '{"time": [5, 5]}'),
        ("tracking", BOX),
        ("segmentation", BOX),
        ("spatial-temporal grounding", TRACK),
    ],
)
def test_a_gold_answer_that_cannot_be_read_names_the_prompt_and_the_remedy(
    answer_type: str, gold: str
) -> None:
    with pytest.raises(
        ValueError,
        match=r"prompt 't/7', field answer: expected .* got .* Correct the record or leave it out",
    ):
        VerifierReward().score(tagged("B"), prompt_of(answer_type, gold))


def test_a_gold_option_outside_the_known_ones_is_refused() -> None:
    for gold in ("E", "AE", "bird", "E. bird"):
        with pytest.raises(
            ValueError, match=r"field answer: expected letters or the text of an option"
        ):
            accuracy("multiple choice", gold, "A", options=OPTIONS)


@pytest.mark.parametrize("tolerance", [-0.1, "5%", None, math.nan])
def test_a_tolerance_that_is_no_number_names_the_prompt(tolerance: object) -> None:
    with pytest.raises(
        ValueError,
        match=r"prompt 't/7', field meta.tolerance: expected a relative tolerance of at least 0",
    ):
        VerifierReward().score("", prompt_of("relaxed", "14", tolerance=tolerance))


@pytest.mark.parametrize("task", TASKS)
def test_the_gym_s_own_gold_answers_get_the_full_reward_and_its_wrong_ones_less(task: str) -> None:
    reward, source = VerifierReward(), GymSource(seed=3)
    for index in range(40):
        asked = source.get(task, index, "train")
        assert reward.score(tagged(asked.answer), asked)["total"] == pytest.approx(1.5), asked
        wrong = [reward.score(tagged(answer), asked) for answer in asked.meta["wrong"]]
        assert max(scores["accuracy"] for scores in wrong) < 1, asked


def test_the_yaml_builds_the_reward_which_survives_pickling() -> None:
    reward = instantiate(OmegaConf.load(ROOT / "conf" / "reward" / "verifier.yaml"))
    again = pickle.loads(pickle.dumps(reward))  # as a process pool sends it
    assert again.score(tagged("12"), prompt_of("math", "12"))["total"] == pytest.approx(1.5)
    assert again.score(tagged("13"), prompt_of("math", "12"))["total"] == pytest.approx(0.6)


def test_an_unknown_answer_type_names_the_prompt_and_the_choices() -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"prompt 't/7', field answer_type: expected one of math, multiple choice, .*got 'essay'"
        ),
    ):
        VerifierReward().score("", prompt_of("essay", "B"))
