"""Suggestions for keys that do not exist.

A key is looked up among the former names of this project, then among the names that other tools
use, then among similar keys of the composed configuration.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from g2rpo.cli.usual_names import USUAL_NAMES
from g2rpo.paths import CONF

FORMER_NAMES: dict[str, str] = {
    "batch.prompts": "batch.prompts_per_step",
    "batch.micro_prompts": "batch.micro_batch_prompts",
    "batch.micro_tokens": "batch.micro_batch_tokens",
    "checkpoint.every_minutes": "callbacks.timed_checkpoint.every_minutes",
    "checkpoint": "callbacks.checkpoint",
    "equity": "gradient_conflict",
    "isolation": "reward_workers",
    "eval.every_n_steps": "trainer.val_check_interval",
    "heldout.every_n_steps": "trainer.val_check_interval",
    "rollout.memory_frac": "rollout.gpu_memory_utilization",
    "rollout.tensor_parallel": "rollout.tensor_parallel_size",
    "rollout.requests_at_once": "rollout.max_concurrency",
    "shaping.length_weight": "shaping.length.weight",
    "shaping.entropy_weight": "shaping.entropy.weight",
    "shaping.min_accuracy": "shaping.length.min_accuracy",
}
"""Former keys and groups of this project, and their present names; also apply to what is inside."""
FORMER_METRICS: dict[str, str] = {
    "heldout": "val",
    "heldout_greedy/macro": "val/greedy_macro",
    "equity/grad_norm": "gradient/norm",
    "equity": "gradient",
    "time/equity_s": "time/gradient_conflict_s",
    "time/optimiser_s": "time/optimizer_s",
}
"""Former metrics, or their first parts, and their present names."""
BY_TASK = ("task_mix.weights", "batch.group_size_of", "shaping.length.bands", "data.format.tasks")
"""Mappings by task, to which tasks of the data may be added."""
_UNKNOWN = re.compile(r"Could not override '([^']+)'")
_TWICE = re.compile(r"Could not append to config\. An item is already at '([^']+)'")


def explanation(
    error: BaseException, config_name: str, overrides: Iterable[str] = ()
) -> str | None:
    """Return the message for a key that Hydra refused; None if it refused something else."""
    if twice := _TWICE.search(str(error)):
        return f"{twice[1]}: this key exists already; leave out the + to change it"
    unknown = _UNKNOWN.search(str(error))
    return unknown_key(unknown[1], known_keys(config_name, overrides)) if unknown else None


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return one sentence about a key that does not exist, with similar keys that do."""
    known = list(known)
    if key.rpartition(".")[0] in BY_TASK:
        return f"{key}: not in conf/; write +{key}=... to add a task of your data"
    found = nearest(key, known)
    hint = f"did you mean {' or '.join(found)}? " if found else ""
    parent = key.rpartition(".")[0]
    extra = (
        f"; +{key}=... passes an argument that conf/ does not list"
        if f"{parent}._target_" in known and not found
        else ""
    )
    return f"{key}: unknown key; {hint}--help shows the main keys, --cfg job all of them{extra}"


def nearest(key: str, known: Iterable[str]) -> list[str]:
    """Return at most three keys that the user may have meant, best first.

    >>> nearest("lr", ["optimizer.lr", "seed"]), nearest("sed", ["seed"])
    (['optimizer.lr'], ['seed'])
    >>> nearest("num_generations", ["batch.group_size"]), nearest("equity", [])
    (['batch.group_size'], ['gradient_conflict'])
    """
    key = key.lstrip("+~")
    if (present := renamed(key, FORMER_NAMES, ".")) is not None:
        return [present]
    keys = [name for name in known if not name.endswith("_target_")]
    words = key.split(".")
    for start in range(len(words)):
        usual = USUAL_NAMES.get(".".join(words[start:]))
        if usual is not None and usual != key:
            return [usual]
    last = words[-1]
    same = [name for name in keys if name.rpartition(".")[2] == last]
    if same:
        return sorted(same, key=lambda name: (name.count("."), name.startswith("eval"), name))[:3]
    under = [name for name in keys if name.rpartition(".")[0] == ".".join(words[:-1])]
    ends = {name.rpartition(".")[2]: name for name in [*reversed(keys), *under]}
    similar = [ends[end] for end in get_close_matches(last, ends, n=3, cutoff=0.7)]
    return similar or get_close_matches(
        key, [name for name in keys if not key.startswith(name)], n=2, cutoff=0.6
    )


def renamed(name: str, former: Mapping[str, str], separator: str) -> str | None:
    """Return the present name of something that was renamed, itself or its beginning; else None.

    >>> renamed("equity.every_n_steps", FORMER_NAMES, "."), renamed("seed", FORMER_NAMES, ".")
    ('gradient_conflict.every_n_steps', None)
    """
    parts = name.split(separator)
    for end in range(len(parts), 0, -1):
        present = former.get(separator.join(parts[:end]))
        if present is not None:
            return separator.join([present, *parts[end:]])
    return None


def known_keys(config_name: str, overrides: Iterable[str] = ()) -> list[str]:
    """Return the dotted keys of a program's configuration, with the choices made in `overrides`."""
    chosen = [
        word
        for word in overrides
        if re.fullmatch(r"[\w/@.]+=[\w]+", word)
        and "." not in word.partition("=")[0].partition("@")[0]
    ]
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONF, version_base="1.3"):
        for words in (chosen, []):
            try:
                return list(_flat(compose(config_name, list(words))))
            except Exception:  # noqa: BLE001, S112  an override that is itself wrong: suggest from the defaults
                continue
    return []


def _flat(tree: DictConfig, path: str = "") -> Iterable[str]:
    for key in tree:
        name = f"{path}{key}"
        yield name
        node: Any = tree._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from _flat(node, f"{name}.")
