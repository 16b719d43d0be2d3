"""Every yaml of every group composes and builds. Nothing is listed here: the groups are the folders
of conf/.
"""

from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import MissingConfigException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from g2rpo.training.parts import build_parts

CONF = Path(__file__).parents[1] / "conf"
CHOICES = [
    f"{file.parent.relative_to(CONF)}={file.stem}"
    for file in sorted(CONF.rglob("*/*.yaml"))
    if not file.stem.startswith("_")
]
OBJECTS = [
    choice
    for choice in CHOICES
    if "@package _global_" not in (CONF / f"{choice.replace('=', '/')}.yaml").read_text()
]
DEFAULTS = {
    name
    for entry in OmegaConf.load(CONF / "config.yaml").defaults
    if entry != "_self_"
    for name in entry
}
TINY = files("g2rpo") / "policy" / "tiny_qwen3_vl"

ROWS = Path(__file__).parent / "data" / "rows.jsonl"
FILES = [f"data.files={ROWS}", "data.root=.", "task_mix.weights={math: 1.0}"]

HUB = [
    "data.path=json",
    f"data.data_files={ROWS}",
    "data.columns={text: text, answer: answer}",
    "data.values={answer_type: numerical, task: math}",
    "task_mix.weights={math: 1.0}",
]

GIVEN = {
    "model=folder": [f"model.path={TINY}"],
    "data=onethinker": FILES,
    "data=jsonl": FILES,
    "data=hub": HUB,
    "data=hub_stream": HUB,
    "experiment=openvlthinker_v2": FILES,
    "experiment=grpo_baseline": FILES,
    "reward=judge": ["reward.judge.model=m", "reward.judge.api_key_env=null"],
    "judge=openai": ["judge.model=m", "judge.api_key_env=null"],
}
"""What a person has to add to a choice, because no default could be right."""
OF_THE_RUN = {"trainer": {"logger": False, "enable_checkpointing": False}}
"""Arguments that the run adds to a group's own."""


@pytest.mark.parametrize("choice", CHOICES)
def test_a_run_with_this_choice_builds(
    choice: str, composed: Callable[..., Any], tmp_path: Path
) -> None:
    group, _, name = choice.partition("=")
    chosen, given = (
        (choice, GIVEN.get(choice, []))
        if group.partition("/")[0] in DEFAULTS
        else (f"+{group}@probe={name}", _probe_given(choice))
    )
    small = [] if group == "model" else ["model=tiny"]
    cfg = composed(*small, chosen, *given, f"run_dir={tmp_path}")
    assert OmegaConf.missing_keys(cfg) == set()
    build_parts(cfg)


@pytest.mark.parametrize("choice", OBJECTS)
def test_an_object_of_a_group_builds_alone(
    choice: str, composed: Callable[..., Any], tmp_path: Path
) -> None:
    group, _, name = choice.partition("=")
    probe = composed(f"+{group}@probe={name}", *_probe_given(choice), f"run_dir={tmp_path}").probe
    built = instantiate(probe, _convert_="all", **OF_THE_RUN.get(group, {}))
    if "_target_" in probe:
        assert _made_by(probe._target_, built)


def _probe_given(choice: str) -> list[str]:
    group = choice.partition("=")[0]
    return [
        override.replace(f"{group}.", "probe.", 1)
        for override in GIVEN.get(choice, [])
        if override.startswith(f"{group}.")
    ]


def _made_by(target: str, made: Any) -> bool:
    """Whether `made` is what a yaml's `_target_` names: an instance, a partial, or the product of a
    classmethod.
    """
    kind = made.func if isinstance(made, partial) else type(made)
    names = target.split(".")
    return names[0] == kind.__module__.split(".")[0] and kind.__name__ in names


def test_a_parameter_of_a_probe_can_be_changed(composed: Callable[..., Any]) -> None:
    assert instantiate(composed("+advantage@probe=ema_grpo", "probe.decay=0.9").probe).decay == 0.9


def test_an_unknown_choice_is_answered_with_the_choices(composed: Callable[..., Any]) -> None:
    with pytest.raises(MissingConfigException, match=r"(?s)advantage/g2rpoo.*dr_grpo.*g2rpo.*grpo"):
        composed("advantage=g2rpoo")


def test_every_choice_says_in_its_first_lines_what_it_is() -> None:
    silent = [
        choice
        for choice in CHOICES
        if not (CONF / f"{choice.replace('=', '/')}.yaml").read_text().startswith("#")
    ]
    assert silent == []


def test_what_manual_optimisation_forbids_is_in_no_trainer() -> None:
    # Lightning refuses both with manual optimization; clipping and micro-batches are arguments of
    # the module
    forbidden = {"gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches"}
    assert [
        file.name
        for file in (CONF / "trainer").glob("*.yaml")
        if forbidden & set(OmegaConf.load(file))
    ] == []


def test_a_recipe_leaves_it_to_the_command_line_whether_held_out_prompts_are_asked(
    composed: Callable[..., Any],
) -> None:
    recipes = [choice for choice in CHOICES if choice.startswith("experiment=")]
    asked = {
        recipe: composed(recipe, *GIVEN.get(recipe, []), "heldout=none").heldout.prompts_per_task
        for recipe in recipes
    }
    assert asked == dict.fromkeys(recipes, 0)
    few = composed("experiment=smoke").heldout
    assert (few.prompts_per_task, few.samples) == (4, 2)


def test_the_longest_completion_belongs_to_the_model_and_the_paper_keeps_its_own(
    composed: Callable[..., Any],
) -> None:
    for rollout in ("hf", "vllm", "vllm_server"):
        found = {
            model: composed(f"model={model}", f"rollout={rollout}")
            for model in ("tiny", "folder", "qwen3_vl_8b")
        }
        assert {model: cfg.rollout.max_new_tokens for model, cfg in found.items()} == {
            "tiny": 56,
            "folder": 2048,
            "qwen3_vl_8b": 2048,
        }
    assert composed("experiment=openvlthinker_v2", "data.root=x").rollout.max_new_tokens == 4096
    own = composed("+model@probe=tiny", "~model", "rollout.max_new_tokens=9")
    assert (own.rollout.max_new_tokens, own.loss.max_tokens, own.eval.max_new_tokens) == (9, 9, 9)


def test_a_loss_takes_its_importance_weight_from_the_engine_or_from_the_command_line(
    composed: Callable[..., Any],
) -> None:
    assert composed("rollout=hf").loss.tis_clip is None
    assert composed("rollout=vllm").loss.tis_clip == 2.0
    assert (
        composed("rollout=vllm", "loss=gspo", "loss.tis_clip=3", "loss.max_tokens=7").loss.tis_clip
        == 3
    )
