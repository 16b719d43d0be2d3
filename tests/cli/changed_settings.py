"""Changes configurations by chance and builds them; prints those that are neither built nor refused
in one sentence that names a key. Run as a program: within pytest, beartype would refuse more.

    python tests/cli/changed_settings.py 1000
"""

import logging
import math
import random
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from g2rpo.cli.checks import refuse_former_metrics, refuse_missing
from g2rpo.cli.errors import sentence
from g2rpo.cli.objects import refuse_wrong_objects
from g2rpo.cli.value_ranges import refuse_out_of_range
from g2rpo.cli.value_types import refuse_wrong_types
from g2rpo.paths import CONF
from g2rpo.training.build import all_of
from g2rpo.training.parts import build_parts

SEED = 7
LIMIT_S = 60.0
"""For one configuration; a busy machine needs a hundredth of it."""
BASES = (
    (),
    ("shaping=full", "loss=gspo", "advantage=ema_grpo", "lr_scheduler=cosine", "trainer=ddp"),
    ("model/adapter=lora", "rollout=vllm_server", "loss=sapo"),
    ("curriculum=pass_rate", "reward=openvlthinker", "reward_workers=inline", "eval=quick"),
    ("optimizer=adamw_kahan", "shaping=entropy_bounded", "heldout=few", "trainer=profile"),
    ("loss=cispo", "reward=outliers", "callbacks=[default,best,early_stopping,lr_monitor]"),
)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 3, 1e30, 10**30, math.nan, math.inf, -math.inf, "", " ", "many",
    "1e400", "\0", "\ud800", "x" * 10_000, "\u2028", "../../etc/passwd", "/dev/null", [], {}, [1],
    [None], ["a", 1], [[[]]], {"a": 1}, {"": None}, [math.nan], "null", "auto", "g2rpo",
    "${no.such.key}", "${oc.env:HOME}", "{}", "%s", "'", '"', "\\", "=", "math", "all", "-",
    {"_target_": "os.system"}, {"_target_": "no.such.Class"}, {"default": 1}, {"math": "x"},
)  # fmt: skip
ENDINGS = ("s", "_", "2", "_size", "")
JARGON = re.compile(
    r"object at 0x|unsupported operand|not supported between|has no attribute|NoneType|Traceback"
    r"|positional argument|not subscriptable|not iterable|not callable"
)
"""Words of Python that say nothing about a setting."""


def main(count: int) -> list[str]:
    """Build so many changed configurations and return what is wrong."""
    run_dir = str(Path.cwd() / "run")
    with initialize_config_dir(CONF, version_base="1.3"):
        bases = [compose("config", [*words, f"run_dir={run_dir}"]) for words in BASES]
    faults: list[str] = []
    built = 0
    for number in range(count):
        rng = random.Random(f"{SEED}/{number}")
        cfg = bases[rng.randrange(len(bases))].copy()
        OmegaConf.set_struct(cfg, False)
        changes = [_changed(rng, cfg) for _ in range(rng.choice((1, 1, 1, 2)))]
        where = f"seed {SEED}/{number}: {', '.join(f'{k}={str(v)[:40]!r}' for k, v, _ in changes)}"
        begun_s = time.monotonic()
        try:
            _build(cfg)
        except (HydraException, OmegaConfBaseException, ValueError, RuntimeError, OSError) as error:
            said = sentence(error)
            if not any(_names(said, key) for key, _, _ in changes):
                faults.append(f"{where}: names no key: {said[:300]}")
            elif JARGON.search(said):
                faults.append(f"{where}: {said[:300]}")
        except Exception as error:  # noqa: BLE001 - what a user would see as a traceback
            faults.append(f"{where}: {type(error).__name__}: {str(error)[:200]}")
        else:
            built += 1
            kept = [key for key, _, unknown in changes if unknown and _is_set(cfg, key)]
            faults += [f"{where}: {key} taken in silence" for key in kept]
        if time.monotonic() - begun_s > LIMIT_S:
            faults.append(f"{where}: took more than {LIMIT_S} s")
    if built < count // 20:
        faults.append(f"only {built} of {count} were built")
    return faults


def _build(cfg: DictConfig) -> None:
    """Do what a run does before it loads weights."""
    refuse_wrong_objects(cfg)
    refuse_missing(cfg)
    refuse_wrong_types(cfg)
    refuse_out_of_range(cfg)
    refuse_former_metrics(cfg)
    build_parts(cfg)
    all_of(cfg, "callbacks")
    all_of(cfg, "logger")
    instantiate(cfg.trainer, logger=False, accelerator="cpu", strategy="auto", devices=1)


def _changed(rng: random.Random, cfg: DictConfig) -> tuple[str, Any, bool]:
    """Change one place; return its key, the value, and whether the key is unknown."""
    places = list(_places(cfg))
    parent, name = rng.choice(places)
    while name == "_recursive_" or parent.startswith("eval.row_sources"):  # built when chosen
        parent, name = rng.choice(places)
    key = f"{parent}.{name}".lstrip(".")
    kind = rng.randrange(6)
    built = [
        place
        for place in places
        if place[1] == "_target_" and place[0] and "row_sources" not in place[0]
    ]
    if kind == 0:  # a misspelled or foreign key in an object
        parent = rng.choice(built)[0]
        node = OmegaConf.select(cfg, parent)
        name = f"{rng.choice(sorted(map(str, node)))}{rng.choice(ENDINGS)}".replace("_target_", "t")
        unknown = name not in node
        node[name] = value = rng.choice(VALUES)
        return f"{parent}.{name}", value, unknown
    node = OmegaConf.select(cfg, parent) if parent else cfg
    if kind == 1 and name != "_target_" and parent:
        del node[name]
        return key, "deleted", False
    node[name] = value = rng.choice(VALUES)
    return key, value, False


def _is_set(cfg: DictConfig, key: str) -> bool:
    """Whether a key is there; a second change may have removed it."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent)
    return OmegaConf.is_dict(node) and name in node


def _names(said: str, key: str) -> bool:
    """Whether a sentence names a key, or the object that it is an argument of."""
    parent, _, name = key.rpartition(".")
    return name in said or (parent != "" and said.startswith(parent))


def _places(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    for name in node:
        yield path, str(name)
        inner = node._get_node(name)
        if isinstance(inner, DictConfig) and not inner._is_none() and not inner._is_interpolation():
            yield from _places(inner, f"{path}.{name}".lstrip("."))


if __name__ == "__main__":
    logging.disable()
    warnings.simplefilter("ignore")
    found = main(int(sys.argv[1]))
    print("\n".join([f"{len(found)} faults", *map(ascii, found)]))  # noqa: T201
    sys.exit(bool(found))
