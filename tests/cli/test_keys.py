"""Keys that do not exist: the usual names of other tools, typing errors, and keys that nothing
would read.
"""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import pytest
from omegaconf import OmegaConf

from g2rpo.cli.checks import refuse_added, refuse_former_metrics, refuse_missing
from g2rpo.cli.keys import (
    FORMER_METRICS,
    FORMER_NAMES,
    explanation,
    known_keys,
    nearest,
    unknown_key,
)
from g2rpo.cli.usual_names import USUAL_NAMES
from g2rpo.metrics import METRICS


@pytest.fixture(scope="module")
def known() -> list[str]:
    return known_keys("config")


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("lr", "optimizer.lr"),
        ("learning_rate", "optimizer.lr"),
        ("actor.optim.lr", "optimizer.lr"),
        ("max_steps", "trainer.max_steps"),
        ("num_generations", "batch.group_size"),
        ("rollout.n", "batch.group_size"),
        ("n", "batch.group_size"),
        ("beta", "loss.kl_coef"),
        ("epsilon", "loss.clip_ratio_low"),
        ("temperature", "rollout.temperature"),
        ("max_completion_length", "rollout.max_new_tokens"),
        ("devices", "trainer.devices"),
        ("shaping.entropy", "shaping.entropy"),
        ("trainer.max_stepz", "trainer.max_steps"),
        ("batch.group_sise", "batch.group_size"),
        ("sead", "seed"),
    ],
)
def test_the_nearest_key_is_the_one_that_is_meant(typed: str, ours: str, known: list[str]) -> None:
    assert nearest(typed, known)[0] == ours


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("equity", "gradient_conflict"),
        ("equity.every_n_steps", "gradient_conflict.every_n_steps"),
        ("isolation.timeout_s", "reward_workers.timeout_s"),
        ("batch.prompts", "batch.prompts_per_step"),
        ("checkpoint.every_n_train_steps", "callbacks.checkpoint.every_n_train_steps"),
        (
            "checkpoint.every_minutes",
            "callbacks.timed_checkpoint.every_minutes",
        ),
        ("eval.every_n_steps", "trainer.val_check_interval"),
    ],
)
def test_a_former_key_is_answered_with_its_present_name(
    former: str, present: str, known: list[str]
) -> None:
    assert f"did you mean {present}? " in unknown_key(former, known)


def test_every_present_name_of_a_former_key_exists() -> None:
    keys = set(known_keys("config", ["shaping=full"]))
    keys |= set(known_keys("config", ["rollout=vllm"]))
    keys |= set(known_keys("config", ["rollout=vllm_server"]))
    assert set(FORMER_NAMES.values()) - keys == set()
    names = {metric.name for metric in METRICS}
    nouns = {name.partition("/")[0] for name in names}
    assert set(FORMER_METRICS.values()) - names - nouns == set()


def test_a_callback_that_monitors_a_former_metric_is_refused() -> None:
    cfg = OmegaConf.create({"callbacks": {"best": {"monitor": "heldout/macro"}, "other": None}})
    with pytest.raises(ValueError, match=r"callbacks\.best\.monitor: .* now called val/macro$"):
        refuse_former_metrics(cfg)
    cfg.callbacks.best.monitor = "val/macro"
    refuse_former_metrics(cfg)


def test_every_usual_name_leads_to_a_key_or_a_choice_that_exists(
    known: list[str], composed: Callable[..., Any]
) -> None:
    rich = set(known) | {"hydra.run.dir", "trainer.num_nodes"}
    rich |= set(
        known_keys(
            "config",
            ["model=folder", "data=jsonl", "rollout=vllm", "model/adapter=lora", "shaping=full"],
        )
    )
    rich |= set(known_keys("config", ["data=hub", "rollout=vllm_server", "reward=functions"]))
    assert [ours for ours in USUAL_NAMES.values() if "=" not in ours and ours not in rich] == []
    choices: dict[str, set[str]] = {}
    for ours in USUAL_NAMES.values():
        if "=" in ours:
            choices.setdefault(ours.partition("=")[0], set()).add(ours)
    for line in zip_longest(*choices.values()):
        assert composed(*filter(None, line), "data=hub", "run_dir=x")


def test_keys_come_from_the_choices_of_the_command_line() -> None:
    keys = known_keys("config", ["shaping=entropy_bounded", "shaping.entropy.hgih=1"])
    assert nearest("shaping.entropy.hgih", keys) == ["shaping.entropy.high"]
    assert "shaping.entropy.high" not in known_keys("config")


def test_a_key_like_no_other_is_answered_with_where_to_look(known: list[str]) -> None:
    words = unknown_key("trainer.zzzzqqq", known)
    assert words.startswith("trainer.zzzzqqq: unknown key; --help shows")
    assert "+trainer.zzzzqqq=... passes an argument" in words
    assert explanation(ValueError("something else"), "config") is None


def noted(*overrides: str, **choices: str) -> Any:
    return OmegaConf.create(
        {
            "overrides": {"task": list(overrides)},
            "runtime": {"choices": {"model": "tiny", **choices}},
        }
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("+lr=3", r"\+lr=3: nothing reads the key 'lr' at the top; did you mean optimizer.lr=3\?"),
        (
            "++max_steps=9",
            "nothing reads the key 'max_steps' at the top; did you mean trainer.max_steps=9",
        ),
        (r"+model/adaptor=lora", r"nothing reads the key 'model/adaptor' at the top"),
        ("+traner.max_steps=9", "nothing reads the key 'traner' at the top"),
    ],
)
def test_a_key_added_at_the_top_is_refused(override: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        refuse_added(noted(override))


def test_what_plus_may_add_passes() -> None:
    mounted = noted(
        "+benchmark@probe=mmmu",
        "probe.x=1",
        "+probe.y=2",
        "+trainer.max_time=1",
        "seed=3",
        **{"benchmark@probe": "mmmu"},
    )
    refuse_added(mounted)
    refuse_added(noted("+row=base", row="base"))
    refuse_added(noted("+experiment=smoke", experiment="smoke"))


def test_missing_keys_are_named_with_what_to_add(composed: Callable[..., Any]) -> None:
    with pytest.raises(
        ValueError, match=r"^model\.path: this key has no default; add model\.path=\.\.\.$"
    ):
        refuse_missing(composed("model=folder", "run_dir=x"))
    with pytest.raises(
        ValueError,
        match=(
            r"add data\.root=\.\.\.\n  data\.root: folder that image paths are relative to;"
            r" example: data\.root=/data/mine$"
        ),
    ):
        refuse_missing(composed("data=jsonl", "data.files=a.jsonl", "run_dir=x"))
