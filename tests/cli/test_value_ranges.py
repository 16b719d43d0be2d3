"""Every number of every choice is refused if it is out of range, or has a documented meaning."""

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from test_conf_leaves import ROUNDS

from g2rpo.cli.value_ranges import RANGES, in_words, inside, refuse_out_of_range
from g2rpo.cli.value_types import _annotated, accepts, refuse_wrong_types
from g2rpo.paths import CONF
from g2rpo.training.trainer_flags import check_trainer, check_trainer_counts

BAD: dict[str, Any] = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "-1": -1,
    "0": 0,
    "1e30": 1e30,
    "10**30": 10**30,
    "text": "many",
    "true": True,
    "1.5": 1.5,
    "[1]": [1],
}
ZERO_IS_ALLOWED = {
    group: words.split()
    for group, words in {
        "advantage": "gamma smoothing decay min_std tie_atol threshold",
        "callbacks.checkpoint": "every_n_train_steps",
        "callbacks.completions": "rows_per_task",
        "callbacks.early_stopping": "min_delta patience",
        "callbacks.progress": "every_s",
        "curriculum": "hard_epochs easy_epochs low reward_weight decay weight_decay",
        "data": "check_golds heldout levels seed shuffle_rows waiting_rows",
        "data.loading": "workers",
        "eval": "max_unusable_frac seed temperature",
        "eval.row_sources.demo.prompts": "levels seed",
        "filter": "low",
        "gradient": "c",
        "heldout": "failure_budget images_per_task prompts_per_task seed",
        "logger.wandb": "rows_per_task",
        "loss": "clip_ratio_low clip_ratio_high kl_coef",
        "loss.rejection": "min_ess_frac",
        "lr_scheduler": "num_warmup_steps",
        "pilot": "length_weight min_accuracy entropy_weight",
        "optimizer": "betas eps lr weight_decay",
        "reward": "format_weight structure_weight share size error_share jitter",
        "reward.judge": "backoff_s tries",
        "reward.rules": "format_weight structure_weight",
        "rollout": "ahead max_restarts temperature",
        "shaping.entropy": "damping inset low weight",
        "shaping.length": "bands min_accuracy weight",
        "trainer": "gradient_clip_val limit_train_batches num_sanity_val_steps",
        "trainer.profiler": "row_limit schedule",
        "stages": "source.levels source.prompts.levels source.share tasks demonstrations",
        "model.adapter": "dropout",
        "fresh": "seed",
        "checkpoint": "every_n_train_steps",
        "": "reward_failures seed task_mix.weights lr weight_decay warmup_steps decay_frac",
    }.items()
}
"""Settings of which 0 is none, never or no limit; their yaml or docstring says so."""
ZERO = [f"{group}.{word}".lstrip(".") for group, words in ZERO_IS_ALLOWED.items() for word in words]
MEANINGS: dict[str, set[str]] = {
    "trainer.max_steps": {"-1", "0"},  # refused when a run starts: test_wrong_input.py
    "trainer.devices": {"-1", "[1]"},  # Lightning: all devices; a list of their numbers
    "trainer.num_sanity_val_steps": {"-1"},  # Lightning: the whole validation
    "trainer.profiler.row_limit": {"-1"},  # torch: all rows
    "reward.size": {"-1"},  # what is added to a reward may be negative
    "data.levels": {"0", "[1]"},
    "model.adapter.alpha": {"1.5"},
    "prompts": {*BAD},  # refused when the preview starts: test_preview.py
}
UNBUILT = ("HubSource", "HubStream", "adamw_8bit")
"""Classes that need a network or an optional library before they check their numbers."""


@pytest.mark.parametrize("one_of", [pytest.param(1, marks=pytest.mark.slow), 31])
def test_a_number_out_of_range_is_refused_with_its_key(
    one_of: int, composed: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """`one_of`: of so many settings one is tried."""
    runs = [("config", row) for row in (ROUNDS if one_of == 1 else ROUNDS[:2])]
    runs += [(name, []) for name in ("pilot", "estimate", "preview", "rescore")]
    runs += [
        ("cold_start", [("stages", f.stem)]) for f in sorted(Path(CONF, "stages").glob("*.yaml"))
    ]
    runs += [("cold_start", [("data", "jsonl"), ("model/adapter", "lora")])]
    accepted, tried = [], set()
    for program, choices in runs:
        words = [f"{group}={name}" for group, name in choices]
        cfg = _filled(composed(*words, "run_dir=x", config=program), tmp_path)
        for path, default in _settings(OmegaConf.to_container(cfg, resolve=False)):
            key = ".".join(word for word in path if isinstance(word, str))
            setting = (path, repr(default), str(_parent(cfg, path).get("_target_")))
            if setting in tried:
                continue
            tried.add(setting)
            if len(tried) % one_of == 0:
                accepted += _accepted(cfg, path, key, default)
    assert accepted == [], "\n".join(accepted)
    assert one_of > 1 or len(tried) > 200


def _accepted(cfg: DictConfig, path: tuple[str | int, ...], key: str, default: Any) -> list[str]:
    """Return the bad values of a setting that nothing refuses under its key."""
    found = []
    for name, bad in BAD.items():
        if name == "1.5" and _takes_fractions(key, default):
            continue
        message = _complaint(cfg, path, bad)
        if message is None and not _means_something(key, name):
            found.append(f"{key}={name}")
        elif message is not None and str(_last(path)) not in message:
            found.append(f"{key}={name}: {message}")
    return found


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lr=nan", "a number from 0 to 100, got nan"),
        ("optimizer.betas=[0.9,1.0]", "a number of at least 0 and below 1, got 1.0"),
        ("max_grad_norm=0", "a finite number above 0, got 0"),
        ("task_mix.weights.math=1e30", "a finite number of at most 1e+12, got 1e+30"),
        ("rollout.temperature=inf", "a number of at most 1000, got inf"),
        ("optimizer.lr=1e400", "a number from 0 to 100, got inf"),
        ("seed=-1", "a number from 0 to 4294967295, got -1"),
    ],
)
def test_the_sentence_names_the_key_and_the_range(
    override: str, expected: str, composed: Callable[..., DictConfig]
) -> None:
    key = override.partition("=")[0]
    with pytest.raises(ValueError, match=f"^{re.escape(f'{key}: expected {expected}')}$"):
        refuse_out_of_range(composed(override, "run_dir=x"))


def test_bounds_in_the_wrong_order_are_refused(composed: Callable[..., DictConfig]) -> None:
    pixels = ["model.path=x", "model.min_pixels=99", "model.max_pixels=98"]
    with pytest.raises(
        ValueError, match=r"^model\.max_pixels: expected at least model\.min_pixels=99"
    ):
        refuse_out_of_range(composed("model=qwen3_vl_2b", *pixels, "run_dir=x"))


def test_a_value_that_came_by_reference_is_refused_under_the_key_that_set_it(
    composed: Callable[..., DictConfig],
) -> None:
    with pytest.raises(ValueError, match=r"^reward_failures: expected a number, got 'few'$"):
        refuse_wrong_types(composed("reward_failures=few", "run_dir=x"))


@pytest.mark.parametrize("interval", sorted(set(RANGES.values())))
def test_an_interval_says_what_it_lets_in(interval: str) -> None:
    low, high = map(float, interval[1:-1].split(","))
    assert inside(low, interval) == (interval[0] == "[")
    assert inside(high, interval) == (interval[-1] == "]")
    assert not inside(math.nan, interval)
    assert "number" in in_words(interval)


def _complaint(cfg: DictConfig, path: tuple[str | int, ...], bad: Any) -> str | None:
    """Return what is said about a value before weights are loaded; None if it is accepted."""
    node = cfg
    for word in path[:-1]:
        node = node[word]
    before = node._get_node(path[-1])._value()  # an interpolation stays one
    node[path[-1]] = bad
    try:
        refuse_wrong_types(cfg)
        refuse_out_of_range(cfg)
        _build(cfg, path)
    except InstantiationException as error:
        return str(error.__cause__) if isinstance(error.__cause__, ValueError) else repr(error)
    except ValueError as error:
        return str(error)
    finally:
        node[path[-1]] = before
    return None


def _build(cfg: DictConfig, path: tuple[str | int, ...]) -> None:
    group = str(path[0])
    node = cfg[group]
    if group == "trainer":
        check = check_trainer_counts if "stages" in cfg else check_trainer
        check(dict(OmegaConf.to_container(node, resolve=False)))
    if path[:2] == ("eval", "row_sources"):
        instantiate(node.row_sources[path[2]], _convert_="all")
    if group in ("trainer", "logger", "callbacks", "checkpoint") or not OmegaConf.is_dict(node):
        return
    if str(node.get("_target_")).endswith(UNBUILT):
        if path[1] == "loading":
            instantiate(node.loading)
        return
    made = instantiate(node, _convert_="all")
    if group == "optimizer":
        made([torch.nn.Parameter(torch.zeros(2, 2))])


def _means_something(key: str, name: str) -> bool:
    key = re.sub(r"^stages\.\w+\.", "stages.", key)  # all stages have the same settings
    if name == "0" and any(key == known or key.startswith(f"{known}.") for known in ZERO):
        return True
    return name in MEANINGS.get(key, set())


def _settings(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield path and default of every number, and of what is null but may be a number."""
    yield from _numbers(tree)
    for key, value, kind in _annotated(tree):
        if value is None and accepts(kind, 3) and not accepts(kind, "many"):
            yield tuple(key.split(".")), kind


def _takes_fractions(key: str, default: Any) -> bool:
    if isinstance(default, int | float):
        return isinstance(default, float) or key.endswith("_s")
    return accepts(default, 1.5)


def _parent(cfg: DictConfig, path: tuple[str | int, ...]) -> Any:
    node: Any = cfg
    for word in path[:-1]:
        if OmegaConf.is_dict(node[word]):
            node = node[word]
    return node


def _numbers(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, float]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _numbers(value, (*path, str(name)))
    elif isinstance(tree, list):
        for place, value in enumerate(tree):
            yield from _numbers(value, (*path, place))
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield path, tree


def _last(path: tuple[str | int, ...]) -> str:
    return next(word for word in reversed(path) if isinstance(word, str))


def _filled(cfg: DictConfig, folder: Path) -> DictConfig:
    """Return the configuration with something for every key that has no default."""
    OmegaConf.set_struct(cfg, False)
    record = {"id": "1", "task": "math", "text": "q", "images": [], "answer": "1"}
    record |= {"answer_type": "numerical", "problem": "q", "solution": "<answer>1</answer>"}
    record |= {"problem_type": "numerical", "data_type": "image", "options": [], "problem_id": 1}
    (folder / "a.jsonl").write_text(json.dumps(record) + "\n")
    (folder / "rewards.py").write_text("def one(completion, answer):\n    return 1.0\n")
    for key in OmegaConf.missing_keys(cfg):
        known: dict[str, Any] = {
            "data.files": [str(folder / "a.jsonl")],
            "data.columns": {},
            "data.root": str(folder),
            "reward.functions": [f"{folder}/rewards.py:one"],
        }
        OmegaConf.update(cfg, key, known.get(key, "x"))
    if OmegaConf.select(cfg, "reward.judge") is not None:
        cfg.reward.judge.api_key_env = None
    return cfg
