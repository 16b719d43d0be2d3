"""Wrong types, told before anything heavy is imported: the constructors' annotations are read from
their source text.

A value is compared with the annotation of the argument it will become. What an annotation here does
not know, such as a class of another library, accepts everything: the constructor itself has the
last word.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from g2rpo.paths import PACKAGE

PLAIN: dict[str, ast.expr] = {
    key: ast.parse(kind, mode="eval").body
    for key, kind in {
        "seed": "int",
        "max_grad_norm": "float",
        "reward_failures": "float",
        "hang_s": "float | None",
        "epochs": "int",
        "batch_size": "int",
        "row_tokens": "int",
        "lr": "float",
        "weight_decay": "float",
        "warmup_steps": "int",
        "decay_frac": "float",
        "checkpoint.every_n_train_steps": "int | None",
        "optimizer.lr": "float",
        "optimizer.weight_decay": "float",
        "optimizer.betas": "Sequence[float]",
        "optimizer.eps": "float",
        "lr_scheduler.num_warmup_steps": "int",
        "trainer.default_root_dir": "str | None",
        "trainer.max_steps": "int",
        "trainer.val_check_interval": "int | float | None",
        "trainer.limit_train_batches": "int | float | None",
        "trainer.limit_val_batches": "int | float | None",
        "trainer.gradient_clip_val": "float | None",
        "trainer.devices": "int | str | Sequence[int]",
        "trainer.num_nodes": "int",
        "trainer.log_every_n_steps": "int",
        "trainer.num_sanity_val_steps": "int",
        "trainer.profiler.row_limit": "int",
        "trainer.profiler.schedule.wait": "int",
        "trainer.profiler.schedule.warmup": "int",
        "trainer.profiler.schedule.active": "int",
        "trainer.profiler.schedule.repeat": "int",
        "callbacks.checkpoint.every_n_train_steps": "int | None",
        "callbacks.early_stopping.patience": "int",
        "callbacks.early_stopping.min_delta": "float",
        "rollout.ahead": "int",
        "rollout.max_num_seqs": "int | None",
        "rollout.max_images": "int | None",
        "rollout.tensor_parallel_size": "int",
        "rollout.max_concurrency": "int",
        "rollout.max_restarts": "int",
        "rollout.start_s": "float",
        "rollout.timeout_s": "float",
        "rollout.temperature": "float",
        "rollout.top_p": "float",
        "rollout.gpu_memory_utilization": "float",
    }.items()
}
"""Types of keys whose constructors belong to other libraries, or take them as `**kwargs`."""
OBJECT = "object_"
"""Stands for every class of g2rpo in an annotation."""
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "None": "null",
    "Path": "text",
    OBJECT: "a mapping with _target_",
}
FLAGS = {name: ast.parse("bool", mode="eval").body for name in ("_partial_", "_recursive_")}
"""Hydra's own keys of an object."""
_REFERENCE = re.compile(r"\$\{(?:oc\.select:)?([\w.]+)(?:,\w+)?\}")
LISTS = ("Sequence", "list", "tuple", "Iterable", "set")
MAPPINGS = ("Mapping", "dict")


def refuse_wrong_types(cfg: DictConfig) -> None:
    """Raise `ValueError` with the full key for the first value of a type that its constructor does
    not take.
    """
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, dict)
    for key, value, kind in _annotated(plain):
        found = (
            OmegaConf.select(cfg, key, throw_on_missing=False)
            if isinstance(value, str) and "${" in value
            else value
        )
        if found != "???" and not accepts(kind, found):
            source = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            key = source[1] if source else key
            raise ValueError(f"{key}: expected {in_words(kind)}, got {found!r}")


def _annotated(tree: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, Any, ast.expr]]:
    kinds = FLAGS | arguments(str(tree["_target_"])) if "_target_" in tree else {}
    for name, value in tree.items():
        key = f"{path}{name}"
        kind = kinds.get(str(name)) or PLAIN.get(key)
        if kind is not None and (not _is_object(value) or _is_plain(kind)):
            yield from _entries(key, value, kind)
        if isinstance(value, Mapping):
            inner = _annotated(value, f"{key}.")
            # without `_recursive_` only what is chosen will be built: null is what nobody chose
            built = tree.get("_recursive_", True)
            yield from (row for row in inner if built or row[1] is not None)


def _entries(key: str, value: Any, kind: ast.expr) -> Iterator[tuple[str, Any, ast.expr]]:
    """Yield an argument, and the entries of a mapping under keys of their own."""
    yield key, value, kind
    for part in _alternatives(kind):
        if (
            isinstance(value, Mapping)
            and isinstance(part, ast.Subscript)
            and isinstance(part.value, ast.Name)
            and part.value.id in MAPPINGS
            and isinstance(part.slice, ast.Tuple)
        ):
            for name, inner in value.items():
                yield f"{key}.{name}", inner, part.slice.elts[1]


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _is_plain(kind: ast.expr) -> bool:
    """Whether no object can have this type: it is a number, true or false, or null."""
    plain = ("int", "float", "bool", "None")
    return all(ast.unparse(part) in plain for part in _alternatives(kind))


def _alternatives(kind: ast.expr) -> list[ast.expr]:
    if isinstance(kind, ast.BinOp):
        return [*_alternatives(kind.left), *_alternatives(kind.right)]
    return [kind]


def accepts(kind: ast.expr, value: object) -> bool:
    """Whether a value of a configuration may become an argument with this annotation.

    >>> kind = ast.parse("int | None", mode="eval").body
    >>> [accepts(kind, value) for value in (3, None, 3.5, "many", True)]
    [True, True, False, False, False]
    """
    if isinstance(kind, ast.BinOp):
        return accepts(kind.left, value) or accepts(kind.right, value)
    if isinstance(kind, ast.Constant):
        return kind.value is not None or value is None
    if isinstance(kind, ast.Subscript) and isinstance(kind.value, ast.Name):
        if kind.value.id == "Literal":
            return value in ast.literal_eval(
                kind.slice
                if isinstance(kind.slice, ast.Tuple)
                else ast.Tuple([kind.slice], ast.Load())
            )
        if kind.value.id in LISTS and isinstance(value, list | tuple):
            inner = kind.slice.elts[0] if isinstance(kind.slice, ast.Tuple) else kind.slice
            return all(accepts(inner, item) for item in value)
        kind = kind.value
    if not isinstance(kind, ast.Name):
        return True
    if kind.id in LISTS:
        return isinstance(value, list | tuple)
    if kind.id in MAPPINGS:
        return isinstance(value, Mapping)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    known = {
        "int": is_number and isinstance(value, int),
        "float": is_number,
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
        "Path": isinstance(value, str),
        OBJECT: _is_object(value),
    }
    return known.get(kind.id, True)


def in_words(kind: ast.expr) -> str:
    """Return an annotation in words, such as `a whole number or null`."""
    if isinstance(kind, ast.BinOp):
        return f"{in_words(kind.left)} or {in_words(kind.right)}"
    if (
        isinstance(kind, ast.Subscript)
        and isinstance(kind.value, ast.Name)
        and kind.value.id == "Literal"
    ):
        return f"one of {ast.unparse(kind.slice).strip('()')}"
    if (
        isinstance(kind, ast.Subscript)
        and isinstance(kind.value, ast.Name)
        and kind.value.id in LISTS
        and ast.unparse(kind.slice) in WORDS
    ):
        return f"a list with {in_words(kind.slice)} in each place"
    name = ast.unparse(kind).partition("[")[0]
    return "a list" if name in LISTS else "a mapping" if name in MAPPINGS else WORDS.get(name, name)


@cache
def arguments(target: str) -> dict[str, ast.expr]:
    """Return the annotations of a callable of g2rpo by argument name; empty if there is none."""
    module, names = _module(target)
    if module is None:
        return {}
    scope: Any = module
    for name in names:
        inner = [
            n
            for n in scope.body
            if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == name
        ]
        if not inner:
            return {}
        scope = inner[0]
    if isinstance(scope, ast.FunctionDef):
        found = _of_function(scope)
    else:
        found = _of_class(scope, module) if isinstance(scope, ast.ClassDef) else {}
    return {name: _Objects(module).visit(deepcopy(kind)) for name, kind in found.items()}


class _Objects(ast.NodeTransformer):
    """Puts `OBJECT` in the place of g2rpo's classes in an annotation."""

    def __init__(self, module: ast.Module) -> None:
        self.module = module

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """Replace the name of a class."""
        source, names = _module(_imported(self.module, node.id))
        if names and source is not None:
            for inner in source.body:
                if isinstance(inner, ast.ClassDef) and inner.name == names[0]:
                    return ast.Name(OBJECT, ast.Load())
        return node


def _of_class(node: ast.ClassDef, module: ast.Module) -> dict[str, ast.expr]:
    init = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    inherited: dict[str, ast.expr] = {}
    if not init or init[0].args.kwarg is not None:
        for base in node.bases:
            inherited |= arguments(_imported(module, base.id)) if isinstance(base, ast.Name) else {}
    if init:
        return inherited | _of_function(init[0])
    fields = {
        n.target.id: n.annotation
        for n in node.body
        if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }
    is_dataclass = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    return inherited | (fields if is_dataclass else {})


def _imported(module: ast.Module, name: str) -> str:
    """Return the import path of a name that a module uses."""
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and any(
            (alias.asname or alias.name) == name for alias in node.names
        ):
            return f"{node.module}.{name}"
    return name


def _of_function(node: ast.FunctionDef) -> dict[str, ast.expr]:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return {
        argument.arg: argument.annotation for argument in given if argument.annotation is not None
    }


@cache
def _module(target: str) -> tuple[ast.Module | None, tuple[str, ...]]:
    """The parsed module of an import path of g2rpo, and the names inside it that follow."""
    words = target.split(".")
    if words[0] != PACKAGE.name:
        return None, ()
    for end in range(len(words), 1, -1):
        path = PACKAGE.joinpath(*words[1:end])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return ast.parse(file.read_text(encoding="utf-8")), tuple(words[end:])
    return None, ()
