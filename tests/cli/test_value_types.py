"""Wrong types are one sentence with the full key, and no value of conf/ is taken for one."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo.cli.objects import refuse_wrong_objects
from g2rpo.cli.value_types import arguments, in_words, refuse_wrong_types

CONF = Path(__file__).parents[2] / "conf"
CHOICES = [
    f"{file.parent.relative_to(CONF)}={file.stem}"
    for file in sorted(CONF.rglob("*/*.yaml"))
    if not file.stem.startswith("_")
    and file.parent.name not in ("template", "judge", "stages", "rows", "benchmark")
]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("batch.group_size=abc", "batch.group_size: expected a whole number, got 'abc'"),
        ("batch.group_size=8.5", "batch.group_size: expected a whole number, got 8.5"),
        (
            "reward_workers.workers=true",
            "reward_workers.workers: expected a whole number, got True",
        ),
        ("optimizer.lr=fast", "optimizer.lr: expected a number, got 'fast'"),
        ("rollout.max_new_tokens=1.5", "rollout.max_new_tokens: expected a whole number, got 1.5"),
        ("seed=1.5", "seed: expected a whole number, got 1.5"),
        ("loss.dual_clip=[3]", "loss.dual_clip: expected a number or null, got [3]"),
        ("rollout.temperature=hot", "rollout.temperature: expected a number, got 'hot'"),
        ("eval.batch_rows=many", "eval.batch_rows: expected a whole number, got 'many'"),
        (
            "eval.batch_rows={_target_: os.system}",
            "eval.batch_rows: expected a whole number, got {'_target_': 'os.system'}",
        ),
        (
            "shaping.entropy={low: 1}",
            "shaping.entropy: expected a mapping with _target_ or null, got {'low': 1}",
        ),
        (
            "trainer.default_root_dir=1.5",
            "trainer.default_root_dir: expected text or null, got 1.5",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_key(
    override: str, words: str, composed: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        refuse_wrong_types(composed(override, "run_dir=x"))


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_has_values_that_its_constructors_take(
    choice: str, composed: Callable[..., Any]
) -> None:
    cfg = composed(choice, "run_dir=x")
    refuse_wrong_objects(cfg)
    refuse_wrong_types(cfg)


@pytest.mark.parametrize("program", ["preview", "estimate", "pilot", "rescore", "cold_start"])
def test_every_program_starts_with_values_that_its_constructors_take(
    program: str, composed: Callable[..., Any]
) -> None:
    cfg = composed("run_dir=x", config=program)
    refuse_wrong_objects(cfg)
    refuse_wrong_types(cfg)


def test_annotations_are_found_without_an_import_also_inherited_ones() -> None:
    assert (
        in_words(arguments("g2rpo.training.batch_plan.BatchPlan")["group_size"]) == "a whole number"
    )
    assert "kl_coef" in arguments("g2rpo.algorithm.loss.clip.ClipLoss")
    assert arguments("torch.optim.AdamW") == arguments("g2rpo.no.such.Thing") == {}
