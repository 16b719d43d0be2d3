"""Functions of the user: which kind a signature is, and what each is called with."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo.prompt import Prompt
from g2rpo.reward.user_function import UserFunction, columns_of, number

KINDS = """
import functools


def trl(completions, **kwargs): ...
def trl_prompts(prompts, completions, level): ...
def trl_chat(completions, **kwargs):
    return [len(c[0]["content"]) for c in completions]
def trl_nested(completions, **kwargs):
    return [read(c) for c in completions for read in [lambda c: c[-1]["content"]]]
def trl_says_text(completions: list[str], **kwargs):
    return [c == "content" for c in completions]
def trl_says_chat(completions: list[list[dict[str, str]]], **kwargs): ...
def verl(data_source, solution_str, ground_truth, extra_info=None): ...
def verl_batch(data_sources, solution_strs, ground_truths, extra_infos): ...
def plain(completion, answer): ...
async def asynchronous(completion, answer): ...
class Callable:
    def __call__(self, completion, answer): ...
class Ours:
    def score(self, completion, prompt): ...
bound = functools.partial(plain, answer="3")
instance = Callable()
def wrapped(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        return function(*args, **kwargs)
    return call
decorated = wrapped(trl_chat)
def unknown(a, b): ...
def anything(**kwargs): ...
def both(completions, completion): ...
def positional(completion, answer, /): ...
def tokens(completions, completion_ids): ...
def tokens_if_any(completions, completion_ids=None): ...
def state(completions, trainer_state): ...
text = "a text"
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., UserFunction]:
    file = tmp_path / "kinds.py"
    file.write_text(KINDS)
    return lambda name, **given: UserFunction(name, f"{file}:{name}", **given)


def prompt(**given: Any) -> Prompt:
    return Prompt(
        **{
            "id": "rows/7",
            "task": "chart",
            "text": "how many?",
            "images": (),
            "answer": "3",
            "answer_type": "numerical",
            "source": "ChartQA",
        }
        | given
    )


@pytest.mark.parametrize(
    ("name", "kind", "chat"),
    [
        ("trl", "trl", False),
        ("trl_prompts", "trl", False),
        ("trl_chat", "trl", True),
        ("trl_nested", "trl", True),
        ("trl_says_text", "trl", False),
        ("trl_says_chat", "trl", True),
        ("decorated", "trl", True),
        ("tokens_if_any", "trl", False),
        ("verl", "verl", False),
        ("verl_batch", "verl batch", False),
        ("plain", "plain", False),
        ("asynchronous", "plain", False),
        ("Callable", "plain", False),
        ("instance", "plain", False),
        ("bound", "plain", False),
        ("Ours", "g2rpo", False),
    ],
)
def test_the_signature_says_the_kind(
    load: Callable[..., UserFunction], name: str, kind: str, chat: bool
) -> None:
    function = load(name)
    assert (function.kind, function.chat) == (kind, chat)
    assert kind in function.described()
    assert ("async" in function.described()) == (name == "asynchronous")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unknown", r"has the signature \(a, b\); expected f\(completions, \*\*columns\), f\("),
        ("anything", r"has the signature \(\*\*kwargs\); expected"),
        ("both", "has the signature"),
        ("positional", "has the signature"),
        ("tokens", "takes 'completion_ids': rewards see text.*shaping=length"),
        ("state", "takes 'trainer_state': rewards run outside of the trainer"),
        ("text", "expected a function, got str"),
    ],
)
def test_an_unknown_signature_is_refused(
    load: Callable[..., UserFunction], name: str, words: str
) -> None:
    with pytest.raises(ValueError, match=rf"reward\.functions: .*kinds\.py:{name}.*{words}"):
        load(name)


def given(function: UserFunction, completions: list[str], asked: Prompt) -> list[dict[str, Any]]:
    return [call.keywords for call in map(_as_partial, function.calls(completions, asked))]


def _as_partial(call: Any) -> functools.partial[Any]:
    assert isinstance(call, functools.partial)
    return call


def test_a_trl_function_gets_lists_of_every_column(load: Callable[..., UserFunction]) -> None:
    asked = prompt(columns={"solution": "<answer>3</answer>", "level": 2})
    (kwargs,) = given(load("trl"), ["one", "two"], asked)
    assert kwargs["completions"] == ["one", "two"]
    assert kwargs["prompts"] == ["how many?"] * 2
    assert kwargs["solution"] == ["<answer>3</answer>"] * 2
    assert (kwargs["level"], kwargs["task"], kwargs["answer"]) == ([2, 2], ["chart"] * 2, ["3"] * 2)
    assert given(load("trl_prompts"), ["one"], asked) == [
        {"prompts": ["how many?"], "completions": ["one"], "level": [2]}
    ]


def test_chat_messages_are_those_of_trl(load: Callable[..., UserFunction]) -> None:
    asked = prompt(system="Be brief.")
    (kwargs,) = given(load("trl_chat"), ["one"], asked)
    assert kwargs["completions"] == [[{"role": "assistant", "content": "one"}]]
    assert [turn["role"] for turn in kwargs["prompts"][0]] == ["system", "user"]
    (kwargs,) = given(load("trl_chat", chat=False), ["one"], asked)
    assert kwargs["completions"] == ["one"]
    (kwargs,) = given(load("trl", chat=True), ["one"], asked)
    assert kwargs["completions"] == [[{"role": "assistant", "content": "one"}]]


def test_a_verl_function_gets_truth_and_extra_info(load: Callable[..., UserFunction]) -> None:
    asked = prompt(columns={"level": 2})
    first, second = given(load("verl"), ["one", "two"], asked)
    assert (first["solution_str"], second["solution_str"]) == ("one", "two")
    assert (first["data_source"], first["ground_truth"]) == ("ChartQA", "3")
    assert first["extra_info"]["level"] == 2
    assert first["extra_info"]["id"] == "rows/7"
    own = {"data_source": "mine", "ground_truth": {"x": 1}, "extra_info": {"split": "train"}}
    (kwargs,) = given(load("verl_batch"), ["one", "two"], prompt(columns=own))
    assert kwargs == {
        "data_sources": ["mine"] * 2,
        "solution_strs": ["one", "two"],
        "ground_truths": [{"x": 1}] * 2,
        "extra_infos": [{"split": "train"}] * 2,
    }


def test_a_plain_function_gets_what_it_names(load: Callable[..., UserFunction]) -> None:
    asked = prompt()
    assert given(load("plain"), ["one"], asked) == [{"completion": "one", "answer": "3"}]
    assert given(load("Ours"), ["one"], asked) == [{"completion": "one", "prompt": asked}]


def test_fields_of_the_record_go_before_what_the_prompt_knows() -> None:
    columns = columns_of(prompt(columns={"answer": 3, "task": "counting"}, meta={"line": 9}))
    assert (columns["answer"], columns["task"], columns["line"]) == (3, "counting", 9)


def test_an_argument_without_a_column_is_named(load: Callable[..., UserFunction]) -> None:
    with pytest.raises(
        ValueError, match=r"kinds\.py:trl_prompts takes 'level', and no field.*; is it 'levels'\?"
    ):
        load("trl_prompts").calls(["one"], prompt(columns={"levels": 2}))
    with pytest.raises(ValueError, match="there are answer, answer_type, completions, id, images"):
        load("trl_prompts").calls(["one"], prompt())


@pytest.mark.parametrize("returned", [1.0, "0101", {"score": 1}, None])
def test_a_group_needs_a_list(load: Callable[..., UserFunction], returned: Any) -> None:
    with pytest.raises(ValueError, match=r"kinds\.py:trl returned .*, expected a list of 4"):
        load("trl").values([returned], 4)


def test_a_group_needs_a_value_for_each_completion(load: Callable[..., UserFunction]) -> None:
    with pytest.raises(ValueError, match="returned 3 values for 4 completions; expected one per"):
        load("trl").values([[1.0, 2.0, 3.0]], 4)
    assert load("trl").values([(1.0, None)], 2) == [1.0, None]
    assert load("plain").values([1.0, {"score": 2}], 2) == [1.0, {"score": 2}]


def test_numbers_of_other_libraries_are_numbers() -> None:
    import numpy as np
    import torch

    assert number(np.float32(0.5)) == number(torch.tensor(0.5)) == 0.5
    assert number(np.bool_(True)) == number(True) == 1.0
    assert number("0.5") is number(np.zeros(2)) is number([0.5]) is number(None) is None
