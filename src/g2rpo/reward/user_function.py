"""A reward function from elsewhere: where it is loaded from, and how its signature says to call it.

    trl          f(completions, **columns) -> list[float | None], once per group
    verl         f(data_source, solution_str, ground_truth, extra_info) -> float | dict
    verl batch   f(data_sources, solution_strs, ground_truths, extra_infos) -> list, once per group
    plain        f(completion, answer) -> float | dict
    g2rpo        an object with score(completion, prompt) -> dict

Arguments are passed by name. Every field of the record is one; so are `prompt`, `answer`, `task`
and the like (`columns_of`). A function without `**kwargs` gets those that it names.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from types import CodeType
from typing import Any

from g2rpo.prompt import Prompt, chat_messages
from g2rpo.reward.function_place import function_at

NAMES = {
    "trl": ("completions", "prompts"),
    "verl": ("solution_str",),
    "verl batch": ("solution_strs",),
    "plain": ("completion",),
}
"""Arguments by which each kind is recognized; one of them is enough."""
FORMS = (
    "f(completions, **columns), f(data_source, solution_str, ground_truth, extra_info) or"
    " f(completion, answer)"
)
NOT_PASSED = {
    "completion_ids": "rewards see text, not tokens; for lengths in tokens use shaping=length",
    "trainer_state": "rewards run outside of the trainer and do not know the step",
}
"""Arguments of TRL that are not passed, and why."""
KEPT_CHARACTERS = 100


class UserFunction:
    """A function that is loaded and ready to be called; errors name it as the user does.

    Args:
        name: Name of its part of the reward.
        place: Where it is: `file.py:name` or `package.module:name`.
        chat: Whether a TRL function gets completions as chat messages, [[{"role": "assistant",
            "content": text}], ...]; None finds out.
    """

    def __init__(self, name: str, place: str, *, chat: bool | None = None) -> None:
        self.name, self.place = name, place
        self.function = function_at(place)
        try:
            self.parameters = inspect.signature(self.function).parameters
        except ValueError as error:
            raise ValueError(f"reward.functions: {place}: it has no signature ({error})") from None
        self.kind = self._kind()
        self.chat = self.kind == "trl" and (_reads_chat(self.function) if chat is None else chat)

    @property
    def in_groups(self) -> bool:
        """Whether one call judges all completions of a prompt."""
        return self.kind in ("trl", "verl batch")

    @property
    def is_async(self) -> bool:
        """Whether its calls are coroutines."""
        return inspect.iscoroutinefunction(inspect.unwrap(_inner(self.function)))

    def described(self) -> str:
        """Return one line for the log."""
        form = (
            (", completions as chat messages" if self.chat else ", completions as text")
            if self.kind == "trl"
            else ""
        )
        calls = "once per group" if self.in_groups else "once per completion"
        return f"{self.name} = {self.place}: {self.kind}{form}, called {calls}" + (
            ", async" if self.is_async else ""
        )

    def calls(self, completions: Sequence[str], prompt: Prompt) -> list[Callable[[], Any]]:
        """Return the calls that judge a group: one, or one per completion."""
        columns = columns_of(prompt)
        rows = range(1 if self.in_groups else len(completions))
        given = [self._given(columns, prompt, completions, row) for row in rows]
        return [functools.partial(self.function, **arguments) for arguments in given]

    def values(self, returned: Sequence[Any], count: int) -> list[Any]:
        """Return one value per completion from what the calls returned.

        Raises:
            ValueError: A call for a group returned something else than a list of `count` values.
        """
        if not self.in_groups:
            return list(returned)
        (found,) = returned
        if isinstance(found, str | bytes | Mapping) or not hasattr(found, "__len__"):
            raise ValueError(
                f"{self.place} returned {shown(found)}, expected a list of {count} numbers, one"
                " per completion"
            )
        if len(found) != count:
            raise ValueError(
                f"{self.place} returned {len(found)} values for {count} completions; expected one"
                " per completion"
            )
        return list(found)

    def _given(
        self, columns: Mapping[str, Any], prompt: Prompt, completions: Sequence[str], row: int
    ) -> dict[str, Any]:
        if self.kind == "g2rpo":
            return {"completion": completions[row], "prompt": prompt}
        truth = columns.get("ground_truth", prompt.answer)
        if self.kind == "trl":
            count = len(completions)
            asked = chat_messages(prompt) if self.chat else prompt.text
            own = [
                [{"role": "assistant", "content": text}] if self.chat else text
                for text in completions
            ]
            repeated = {name: [value] * count for name, value in columns.items()}
            given = {**repeated, "prompts": [asked] * count, "completions": own}
        else:
            text = completions[row]
            verl = {
                "data_source": columns.get("data_source") or prompt.source or prompt.task,
                "solution_str": text,
                "ground_truth": truth,
                "extra_info": columns.get("extra_info", dict(columns)),
            }
            if self.kind == "verl":
                given = verl
            elif self.kind == "verl batch":
                given = {f"{name}s": [value] * len(completions) for name, value in verl.items()}
                given["solution_strs"] = list(completions)
            else:
                given = {**columns, "prompt": prompt.text, "completion": text}
        return self._accepted(given)

    def _accepted(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that the function takes; raise `ValueError` for one it lacks."""
        needed = [
            name
            for name, parameter in self.parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        ]
        missing = next((name for name in needed if name not in given), None)
        if missing is not None:
            near = get_close_matches(missing, given, n=1)
            hint = f"; is it {near[0]!r}?" if near else f"; there are {', '.join(sorted(given))}"
            raise ValueError(
                f"{self.place} takes {missing!r}, and no field of the record has this name{hint}"
            )
        anything = any(p.kind is p.VAR_KEYWORD for p in self.parameters.values())
        return {name: v for name, v in given.items() if anything or name in self.parameters}

    def _kind(self) -> str:
        is_score = inspect.ismethod(self.function) and self.function.__name__ == "score"
        if is_score and {"completion", "prompt"} <= self.parameters.keys():
            return "g2rpo"
        named = [
            name
            for name, parameter in self.parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        refused = next((name for name in named if self._requires(name, NOT_PASSED)), None)
        if refused is not None:
            raise ValueError(
                f"reward.functions: {self.place} takes {refused!r}: {NOT_PASSED[refused]}"
            )
        found = [kind for kind, own in NAMES.items() if set(own) & set(named)]
        if len(found) != 1:
            raise ValueError(
                f"reward.functions: {self.place} has the signature"
                f" {inspect.signature(self.function)}; expected {FORMS}"
            )
        return found[0]

    def _requires(self, name: str, among: Mapping[str, str]) -> bool:
        parameter = self.parameters[name]
        return name in among and parameter.default is parameter.empty


def columns_of(prompt: Prompt) -> dict[str, Any]:
    """Return what functions may take by name: the record's fields, else what the prompt knows."""
    known = {
        "id": prompt.id,
        "task": prompt.task,
        "answer": prompt.answer,
        "answer_type": prompt.answer_type,
        "source": prompt.source,
        "images": list(prompt.images),
    }
    return {**known, **prompt.meta, **prompt.columns}


def number(value: Any) -> float | None:
    """Return a number of Python, numpy or torch as a float; None for anything else."""
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, str | bytes) or not hasattr(value, "item") or getattr(value, "ndim", 0):
        return None
    return float(value.item())


def shown(value: Any) -> str:
    """Return a value and its type for a message, cut to `KEPT_CHARACTERS`."""
    text = repr(value)
    cut = text if len(text) <= KEPT_CHARACTERS else f"{text[:KEPT_CHARACTERS]}..."
    return f"{cut} ({type(value).__name__})"


def _inner(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _reads_chat(function: Any) -> bool:
    """Return whether a TRL function expects chat messages, as its annotation or its code says.

    TRL decides by the data set. Here every prompt is a chat and a text at once, so the function
    decides: messages are read with the key "content", and nothing else in a reward is.
    """
    inner = inspect.unwrap(_inner(function))
    code = getattr(inner, "__code__", None)
    annotation = str(getattr(inner, "__annotations__", {}).get("completions", ""))
    if "str" in annotation:
        return "dict" in annotation
    return code is not None and _has_constant(code, "content")


def _has_constant(code: CodeType, text: str) -> bool:
    return any(
        _has_constant(constant, text) if isinstance(constant, CodeType) else constant == text
        for constant in code.co_consts
    )
