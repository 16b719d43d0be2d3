"""A group that is no mapping and a `_target_` that names nothing are one sentence with the key."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import OmegaConf

from g2rpo.cli.objects import refuse_wrong_objects
from g2rpo.training.parts import build_parts


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "model",
            ["a", 1],
            "model: expected a mapping, as the files in conf/model are, got \"['a'",
        ),
        ("trainer", 3, "trainer: expected a mapping, as the files in conf/trainer are, got '3'"),
        (
            "callbacks",
            "x",
            "callbacks: expected a mapping, as the files in conf/callbacks are, got",
        ),
        ("trainer._target_", "\\", "trainer._target_: expected the import path of a class"),
        ("trainer._target_", {"default": 1}, "trainer._target_: expected the import path"),
        ("task_mix._target_", None, "task_mix._target_: expected the import path"),
        ("reward._target_", "math", "reward._target_: expected the import path"),
        ("reward._target_", "a..b", "reward._target_: expected the import path"),
        (
            "reward_failures",
            "${no.such.key}",
            "reward_failures: expected a value, got ${no.such.key}; there is no key no.such.key",
        ),
    ],
)
def test_what_can_be_no_object_is_refused_with_its_key(
    key: str, value: Any, words: str, composed: Callable[..., Any]
) -> None:
    cfg = composed("run_dir=x")
    OmegaConf.update(cfg, key, value, merge=False, force_add=True)
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        refuse_wrong_objects(cfg)


@pytest.mark.parametrize("words", [["logger=[]"], ["callbacks=[]"], ["model=folder"]])
def test_nothing_of_a_group_and_missing_values_are_left_alone(
    words: list[str], composed: Callable[..., Any]
) -> None:
    refuse_wrong_objects(composed(*words, "run_dir=x"))


@pytest.mark.parametrize("group", ["optimizer", "lr_scheduler"])
def test_what_needs_the_weights_is_built_later(group: str, composed: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{group}\._partial_: expected true, because it is"):
        build_parts(composed(f"{group}._partial_=false", "run_dir=x"))
