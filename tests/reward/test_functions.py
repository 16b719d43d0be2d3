"""The reward made of the user's functions: weights, parts, accuracy, None, and what is refused."""

import math
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from g2rpo.prompt import Failed, Prompt
from g2rpo.reward.functions import FunctionsReward

FUNCTIONS = """
import asyncio

current = []


def brevity(completions, task, **kwargs):
    return [None if t == "math" else 1 - len(c) / 10 for c, t in zip(completions, task)]

def compute_score(data_source, solution_str, ground_truth, extra_info):
    right = solution_str == ground_truth
    return {"score": float(right), "acc": right, "pred": solution_str, "length": 4}

def plain(completion, answer):
    return {"accuracy": float(completion == answer), "format": 0.5}

def accuracy(completion, answer):
    return float(completion == answer)

def maybe(completion, answer):
    return None if completion == "none" else 2.0

def obeys(completion, answer):
    if completion == "raise":
        raise ZeroDivisionError("no verdict")
    return {"nan": float("nan"), "inf": float("inf"), "text": "0.5", "list": [1.0], "one": 1,
            "nothing": None, "dict text": {"score": "high"}, "dict nan": {"a": float("nan")},
            "empty": {}, "only info": {"score": None, "acc": 1}}[completion]

def short(completions, **kwargs):
    return [1.0] * (len(completions) - 1)

def breaks(completions, **kwargs):
    raise LookupError("no service")

async def asks(completion, answer):
    current.append(completion)
    for _ in range(1000):
        await asyncio.sleep(0)
    return len(completion) if len(current) >= 3 else -1

async def asks_all(completions, **kwargs):
    return await asyncio.gather(*[asks(c, "") for c in completions])

def runs_a_loop(completions, **kwargs):
    return asyncio.run(asks_all(completions))

class Own:
    def score(self, completion, prompt):
        return {"accuracy": 1.0, "format": 0.0, "structure": 0.5, "total": 1.4}
"""
Made = Callable[..., FunctionsReward]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """`made("brevity", "plain", weights=[1, 2])`: a reward of these functions."""
    file = tmp_path / "my_reward.py"
    file.write_text(FUNCTIONS)
    return lambda *names, **given: FunctionsReward(
        functions=[f"{file}:{name}" for name in names], **given
    )


def prompt(task: str = "chart", answer: str = "3") -> Prompt:
    return Prompt(
        id="rows/7", task=task, text="?", images=(), answer=answer, answer_type="numerical"
    )


def test_the_total_is_the_weighted_sum_of_the_values(made: Made) -> None:
    reward = made("brevity", "compute_score", weights=[0.2, 1.5])
    right, wrong = reward.score_group(["3", "four"], prompt())
    # brevity is 0.9 and 0.6: 0.2 * 0.9 + 1.5 * 1 = 1.68, and 0.2 * 0.6 = 0.12
    assert right == pytest.approx(
        {
            "brevity": 0.9,
            "compute_score": 1.0,
            "log/acc": 1.0,
            "log/compute_score_length": 4.0,
            "log/accuracy": 0.9,
            "total": 1.68,
        }
    )
    assert isinstance(wrong, dict)
    assert wrong["total"] == pytest.approx(0.12)
    assert wrong["log/acc"] == 0.0


def test_none_leaves_the_part_out_and_the_weights_of_the_others_alone(made: Made) -> None:
    (outcome,) = made("brevity", "accuracy", weights=[5.0, 3.0]).score_group(["3"], prompt("math"))
    assert outcome == {"accuracy": 1.0, "total": 3.0}


def test_a_completion_about_which_all_say_nothing_has_failed(made: Made) -> None:
    none, two = made("maybe").score_group(["none", "x"], prompt("math"))
    assert isinstance(none, Failed)
    assert none.reason == (
        "every function returned None for a prompt of the task 'math'; expected a number from one"
        " of maybe"
    )
    assert two == {"maybe": 2.0, "log/accuracy": 2.0, "total": 2.0}


@pytest.mark.parametrize(
    ("names", "accuracy", "expected"),
    [
        (("maybe", "accuracy"), None, 1.0),  # the part of that name
        (("maybe", "plain"), None, 1.0),
        (("maybe", "compute_score"), None, 2.0),  # the first
        (("maybe", "compute_score"), "compute_score", 1.0),
        (("maybe", "compute_score"), "acc", 1.0),
        (("maybe", "brevity"), "brevity", 2.0),  # says nothing about mathematics: the first
    ],
)
def test_a_setting_says_which_part_is_the_accuracy(
    made: Made, names: tuple[str, ...], accuracy: str | None, expected: float
) -> None:
    outcome = made(*names, accuracy=accuracy).score("3", prompt("math"))
    assert outcome.get("log/accuracy", outcome.get("accuracy")) == expected


def test_a_part_called_accuracy_that_does_not_count_gets_another_name(made: Made) -> None:
    outcome = made("maybe", "plain", accuracy="maybe").score("4", prompt())
    assert outcome == {
        "maybe": 2.0,
        "plain_accuracy": 0.0,
        "format": 0.5,
        "log/accuracy": 2.0,
        "total": 2.5,
    }
    with pytest.raises(ValueError, match=r"no part can be called 'accuracy', because reward\.accu"):
        made("maybe", "accuracy", accuracy="maybe")


def test_a_function_without_weight_is_only_logged(made: Made) -> None:
    outcome = made("accuracy", "maybe", weights=[1.0, 0.0]).score("3", prompt())
    assert outcome == {"accuracy": 1.0, "log/maybe": 2.0, "total": 1.0}


def test_a_reward_of_ours_may_be_among_them(made: Made) -> None:
    outcome = made("Own", "maybe", weights=[1.0, 0.5]).score("3", prompt())
    assert outcome == {
        "accuracy": 1.0,
        "format": 0.0,
        "structure": 0.5,
        "maybe": 2.0,
        "total": 2.4,
    }


@pytest.mark.parametrize(
    ("completion", "words"),
    [
        ("nan", "returned nan, expected a finite number"),
        ("inf", "returned inf, expected a finite number"),
        ("text", r"returned '0\.5' \(str\), expected a number, a mapping of numbers, or None"),
        ("list", r"returned \[1\.0\] \(list\), expected a number"),
        ("dict text", r"returned score='high' \(str\), expected a number"),
        ("dict nan", "returned a=nan, expected a finite number"),
        ("raise", "ZeroDivisionError: no verdict"),
        ("empty", "every function returned None"),
        ("nothing", "every function returned None"),
        ("only info", "every function returned None"),
    ],
)
def test_a_bad_value_fails_its_completion_and_no_other(
    made: Made, completion: str, words: str
) -> None:
    good, bad = made("obeys").score_group(["one", completion], prompt())
    assert good == {"obeys": 1.0, "log/accuracy": 1.0, "total": 1.0}
    assert isinstance(bad, Failed)
    with pytest.raises(ValueError, match=words):
        made("obeys").score(completion, prompt())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("short", "returned 1 values for 2 completions; expected one per completion"),
        ("breaks", "my_reward.py:breaks: LookupError: no service"),
    ],
)
def test_a_broken_call_fails_its_group(made: Made, name: str, words: str) -> None:
    for outcome in made("accuracy", name).score_group(["3", "4"], prompt()):
        assert isinstance(outcome, Failed)
        assert words in outcome.reason


def test_coroutines_of_a_group_run_at_the_same_time(made: Made) -> None:
    """`asks` waits until three are asked; one after the other, the first would wait in vain."""
    outcomes = made("asks").score_group(["a", "bb", "ccc"], prompt())
    assert [outcome["asks"] for outcome in outcomes if isinstance(outcome, dict)] == [1, 2, 3]
    outcomes = made("asks_all", "runs_a_loop").score_group(["a", "bb"], prompt())
    assert [outcome["total"] for outcome in outcomes if isinstance(outcome, dict)] == [2, 4]


def test_workers_load_the_functions_anew(made: Made) -> None:
    reward = made("brevity", "plain", weights=[1.0, 2.0])
    copy = pickle.loads(pickle.dumps(reward))
    copy.prepare()
    assert copy.score_group(["3", "x"], prompt()) == reward.score_group(["3", "x"], prompt())
    assert reward.described() == copy.described()


def test_only_groups_and_coroutines_are_judged_together(made: Made) -> None:
    assert [made(name).in_groups for name in ("brevity", "asks", "plain", "compute_score")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_mapping_names_the_parts(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "my_reward.py"
    places = {"long": f"{file}:brevity", "right": f"{file}:compute_score"}
    outcome = FunctionsReward(functions=places, weights=[1, 1]).score("3", prompt())
    assert {"long", "right", "log/acc", "log/right_length", "total"} <= outcome.keys()


def test_two_functions_cannot_return_the_same_part(made: Made) -> None:
    with pytest.raises(ValueError, match="returns a part 'accuracy', which another function has t"):
        made("accuracy", "plain").score("3", prompt())


@pytest.mark.parametrize(
    ("names", "given", "words"),
    [
        ((), {}, r"reward\.functions: expected at least one function, got none"),
        (("plain", "plain"), {}, r"two functions are called plain: .*:plain and .*; name them"),
        (("plain", "brevity"), {"weights": [1.0]}, r"reward\.weights: expected one number for eac"),
        (("plain",), {"weights": [math.nan]}, r"reward\.weights: expected finite numbers, not"),
        (("plain",), {"weights": [0.0]}, r"reward\.weights: expected finite numbers, not all 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    made: Made, names: tuple[str, ...], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        made(*names, **given)


@pytest.mark.parametrize("name", ["total", "length", "failed_frac", "a/b"])
def test_names_of_other_columns_are_refused(made: Made, tmp_path: Path, name: str) -> None:
    made("plain")
    with pytest.raises(ValueError, match=f"no part can be called '{name}', because"):
        FunctionsReward(functions={name: f"{tmp_path / 'my_reward.py'}:plain"})


DOCS = Path(__file__).parents[2] / "docs" / "rewards.md"


def test_the_example_of_the_docs_is_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(# my_reward\.py\n.*?)```", DOCS.read_text(), flags=re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_reward.py").write_text(code)
    names = ("brevity", "compute_score", "polite")
    reward = FunctionsReward(functions=[f"my_reward.py:{name}" for name in names])
    assert [function.kind for function in reward.functions] == ["trl", "verl", "plain"]
    asked = replace(prompt(), columns={"level": 1})
    assert reward.score("3 please", asked) == pytest.approx(
        {
            "brevity": 1 / 9,
            "compute_score": 1.0,
            "log/letters": 8.0,
            "accuracy": 1.0,
            "thanks": 0.1,
            "total": 1 / 9 + 1.0 + 1.1,
        }
    )
