"""Finds a function of the user by its place: `file.py:name` or `package.module:name`.

Files are relative to the current folder. They may import their neighbors, and packages may lie in
the current folder.
"""

import functools
import importlib
import importlib.util
import inspect
import sys
import traceback
import zlib
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any


def function_at(place: str) -> Callable[..., Any]:
    """Return the function at a place; a class is built without arguments first.

    Of an object with a method `score`, as rewards of g2rpo are, the method is returned.

    Raises:
        ValueError: With what is missing or broken there, and its file and line.
    """
    found = _loaded(place)
    if inspect.isclass(found):
        try:
            found = found()
        except Exception as error:
            raise ValueError(
                f"reward.functions: {place} is a class and cannot be built without arguments"
                f" ({type(error).__name__}: {error}); name an object or a functools.partial of it"
            ) from error
    if callable(getattr(found, "score", None)):
        method: Callable[..., Any] = found.score
        return method
    if not callable(found):
        raise ValueError(
            f"reward.functions: {place}: expected a function, got {type(found).__name__}"
        )
    plain = inspect.isroutine(found) or isinstance(found, functools.partial)
    function: Callable[..., Any] = found if plain else found.__call__
    return function


def _loaded(place: str) -> Any:
    where, colon, name = place.rpartition(":")
    if not colon or not where or not name:
        raise ValueError(
            f"reward.functions: expected file.py:name or package.module:name, got {place!r}"
        )
    module = _of_file(Path(where), place) if where.endswith(".py") else _of_package(where, place)
    if not hasattr(module, name):
        own = [
            n
            for n, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        ]
        near = get_close_matches(name, own, n=1, cutoff=0.5)
        hint = f"; is it {near[0]!r}?" if near else f"; it has {', '.join(own) or 'no function'}"
        raise ValueError(f"reward.functions: {where} has no {name!r}{hint}")
    return getattr(module, name)


def _of_file(path: Path, place: str) -> ModuleType:
    """Run a file once per process, as a module whose name no other has."""
    if not path.is_file():
        files = [str(other) for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        near = get_close_matches(str(path), files, n=1, cutoff=0.5)
        hint = f"is it {near[0]}?" if near else f"paths are relative to {Path.cwd()}"
        raise ValueError(f"reward.functions: no such file: {path}; {hint}")
    path = path.resolve()
    title = f"{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    if title in sys.modules:
        return sys.modules[title]
    _importable(path.parent)
    spec = importlib.util.spec_from_file_location(title, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module  # as import does: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[title]
        if not isinstance(error, Exception):
            raise
        raise ValueError(f"reward.functions: {place}: {_broken(error)}") from error
    return module


def _of_package(name: str, place: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"reward.functions: {place}: there is no module {error.name!r}, neither installed"
                f" nor in {Path.cwd()}"
            ) from None
        raise ValueError(f"reward.functions: {place}: {_broken(error)}") from error


def _importable(folder: Path) -> None:
    """Let files of a folder import each other; installed packages go first."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _broken(error: Exception) -> str:
    """Return why a file cannot be run, with file and line."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}, line {last.lineno}: {type(error).__name__}: {error}"
