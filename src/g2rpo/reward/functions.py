"""Reward from functions of the user: TRL's, verl's, or plain ones, weighted and added.

    total = sum of weight * value over the functions that return a value

A function that returns None for a completion has nothing to say about it: its part is absent, and
the others count with their own weights. A completion about which all say nothing has failed. A
mapping with `score` is worth its score; its other numbers are logged. A mapping without is worth
`total`, or else the sum of its numbers, which are parts of the reward like those of functions.
"""

import asyncio
import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from g2rpo.prompt import LOGGED, Failed, Prompt
from g2rpo.reward.user_function import UserFunction, number, shown

log = logging.getLogger("g2rpo")

TAKEN = ("total", "length", "failed_frac")
"""Names of other columns of the same metric; no part may have them."""
_loops: list[asyncio.Runner] = []
"""The event loop of this process, once an async function has needed it."""


class FunctionsReward:
    """Weighted sum of functions. Workers load the functions anew, so these need not be picklable.

    Args:
        functions: Places of the functions, `file.py:name` or `package.module:name`. Each part is
            called like its function; a mapping from names to places gives other names.
        weights: Weight of each function in the total; None weighs all with 1. A function with the
            weight 0 is logged and has no effect.
        accuracy: Name of the part that filter, shaping and curves take as accuracy. None takes the
            part called `accuracy`, else the first function. Where the part is absent, the first
            function that returned a value stands in.
        chat: Whether TRL functions get completions as chat messages; None finds out for each.
    """

    checks_golds = False
    """Whether gold answers must get accuracy 1; what a function pays is its own affair."""

    def __init__(
        self,
        *,
        functions: Sequence[str] | Mapping[str, str],
        weights: Sequence[float] | None = None,
        accuracy: str | None = None,
        chat: bool | None = None,
    ) -> None:
        self.taken = TAKEN if accuracy in (None, "accuracy") else (*TAKEN, "accuracy")
        self.places = _named(functions, self.taken)
        if weights is not None and len(weights) != len(self.places):
            raise ValueError(
                f"reward.weights: expected one number for each of {len(self.places)} functions"
                f" ({', '.join(self.places)}), got {len(weights)}"
            )
        self.weights = [1.0] * len(self.places) if weights is None else [float(w) for w in weights]
        if not all(map(math.isfinite, self.weights)) or not any(self.weights):
            raise ValueError(
                f"reward.weights: expected finite numbers, not all 0, got {self.weights}"
            )
        self.accuracy, self.chat = accuracy, chat
        self._functions = self._loaded()
        self.in_groups = any(function.in_groups or function.is_async for function in self.functions)

    @property
    def functions(self) -> list[UserFunction]:
        """The functions, which a worker process loads when it needs them first."""
        if self._functions is None:
            self._functions = self._loaded()
        return self._functions

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_functions": None}

    def described(self) -> list[str]:
        """Return a line about each function for the log: its kind, place and weight."""
        return [
            f"{function.described()}, weight {weight:g}"
            for function, weight in zip(self.functions, self.weights, strict=True)
        ]

    def prepare(self) -> None:
        """Load the functions, which may import much."""
        assert self.functions

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """Return the parts of one completion and their `total`. Raises `ValueError` on failure."""
        (outcome,) = self.score_group([completion], prompt)
        if isinstance(outcome, Failed):
            raise ValueError(outcome.reason)
        return outcome

    def score_group(
        self, completions: Sequence[str], prompt: Prompt
    ) -> list[dict[str, float] | Failed]:
        """Return the parts and the total of each completion of a prompt."""
        columns = _judged(self.functions, completions, prompt)
        return [self._outcome(values, prompt) for values in zip(*columns, strict=True)]

    def _outcome(self, values: Sequence[Any], prompt: Prompt) -> dict[str, float] | Failed:
        """Return the parts of one completion from the value of each function."""
        parts: dict[str, float] = {}
        total, first = 0.0, None
        for function, weight, value in zip(self.functions, self.weights, values, strict=True):
            try:
                if isinstance(value, Exception):
                    raise value
                worth, own = _read(function, value, self.taken, carries=weight != 0)
                twice = {_bare(name) for name in own} & {_bare(name) for name in parts}
                if twice:
                    raise ValueError(
                        f"{function.place} returns a part {min(twice)!r}, which another function"
                        " has too; give one of them another name"
                    )
            except Exception as error:  # noqa: BLE001  the user's code on model text
                return Failed(reason=_reason(function, error))
            parts |= own
            if worth is not None:
                total += weight * worth
                first = worth if first is None else first
        if first is None:
            return Failed(
                reason=(
                    f"every function returned None for a prompt of the task {prompt.task!r};"
                    f" expected a number from one of {', '.join(self.places)}"
                )
            )
        return self._with_accuracy(parts, first) | {"total": total}

    def _with_accuracy(self, parts: dict[str, float], first: float) -> dict[str, float]:
        """Return the parts with the accuracy among them, logged only if it is no part itself."""
        own = self.accuracy or "accuracy"
        if own == "accuracy" and own in parts:
            return parts
        said = parts.get(own, parts.get(LOGGED + own, first))
        return {**parts, LOGGED + "accuracy": said}

    def _loaded(self) -> list[UserFunction]:
        return [UserFunction(name, place, chat=self.chat) for name, place in self.places.items()]


def _named(functions: Sequence[str] | Mapping[str, str], taken: Sequence[str]) -> dict[str, str]:
    """Return the place of each function by name."""
    pairs = (
        [(str(name), place) for name, place in functions.items()]
        if isinstance(functions, Mapping)
        else [(str(place).rpartition(":")[2], place) for place in functions]
    )
    if not pairs:
        raise ValueError("reward.functions: expected at least one function, got none")
    named: dict[str, str] = {}
    for name, place in pairs:
        if name in named:
            raise ValueError(
                f"reward.functions: two functions are called {name}: {named[name]} and {place};"
                f" name them: 'reward.functions={{first: {named[name]}, second: {place}}}'"
            )
        if name in taken or "/" in name:
            why = "reward.accuracy is another" if name == "accuracy" else "a metric has this name"
            raise ValueError(
                f"reward.functions: no part can be called {name!r}, because {why}; name it:"
                f" 'reward.functions={{mine: {place}}}'"
            )
        named[name] = place
    return named


def _judged(
    functions: Sequence[UserFunction], completions: Sequence[str], prompt: Prompt
) -> list[list[Any]]:
    """Return the values of each function for a group; an exception stands for one without value.

    All coroutines of a group run at the same time. Plain functions run before, outside of the
    event loop, because they may run a loop of their own.
    """
    returned: list[list[Any]] = []
    for function in functions:
        try:
            calls = function.calls(completions, prompt)
        except Exception as error:  # noqa: BLE001  a column is missing: shown with the prompt
            calls = [_raising(error)] * (1 if function.in_groups else len(completions))
        returned.append([_caught(call) for call in calls])
    awaited = [value for own in returned for value in own if inspect.isawaitable(value)]
    if awaited:
        if not _loops:
            _loops.append(asyncio.Runner())
        results = iter(_loops[0].run(_together(awaited)))
        returned = [
            [next(results) if inspect.isawaitable(value) else value for value in own]
            for own in returned
        ]
    return [
        _per_completion(function, own, len(completions))
        for function, own in zip(functions, returned, strict=True)
    ]


def _per_completion(function: UserFunction, returned: list[Any], count: int) -> list[Any]:
    if function.in_groups and isinstance(returned[0], Exception):
        return returned * count
    try:
        return function.values(returned, count)
    except ValueError as error:
        return [error] * count


async def _together(awaited: Sequence[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*awaited, return_exceptions=True)


def _caught(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001  the user's code on model text: a failure, shown
        return error


def _raising(error: Exception) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


def _reason(function: UserFunction, error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    return text if function.place in text else f"{function.place}: {text}"


def _read(
    function: UserFunction, value: Any, taken: Sequence[str], *, carries: bool
) -> tuple[float | None, dict[str, float]]:
    """Return what a value is worth, and its parts by name.

    Args:
        function: The function that returned the value.
        value: A number, a mapping, or None.
        taken: Names that no part may have.
        carries: Whether its parts belong to the reward; otherwise they are only logged.
    """
    prefix = "" if carries else LOGGED
    if value is None:
        return None, {}
    if not isinstance(value, Mapping):
        worth = _finite(function, value)
        return worth, {prefix + function.name: worth}
    key = next((key for key in ("score", "total") if key in value), None)
    if key == "score":
        others = {k: v for k in value if k != key and (v := number(value[k])) is not None}
        logged = {
            LOGGED + _free(function, k, taken): v for k, v in others.items() if math.isfinite(v)
        }
        if value[key] is None:
            return None, logged
        worth = _finite(function, value[key], key)
        return worth, {**logged, prefix + function.name: worth}
    parts = {
        prefix + _free(function, k, taken): _finite(function, v, k)
        for k, v in value.items()
        if k != key and v is not None
    }
    if key is not None:
        return _finite(function, value[key], key), parts
    return (sum(parts.values()) if parts else None), parts


def _free(function: UserFunction, key: object, taken: Sequence[str]) -> str:
    """Return the name of an entry of a mapping; of names that are taken, the function's before."""
    name = str(key).replace("/", "_")
    return f"{function.name}_{name}" if name in taken or name == function.name else name


def _bare(name: str) -> str:
    return name.removeprefix(LOGGED)


def _finite(function: UserFunction, value: Any, key: object = None) -> float:
    found = number(value)
    where = "" if key is None else f"{key}="
    if found is None:
        raise ValueError(
            f"{function.place} returned {where}{shown(value)}, expected a number, a mapping of"
            " numbers, or None"
        )
    if not math.isfinite(found):
        raise ValueError(f"{function.place} returned {where}{found}, expected a finite number")
    return found
