"""Every yaml of every group composes and builds. Nothing is listed here: the groups are the folders
of conf/.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
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
    **{
        f"experiment=qwen3_vl_{size}_{kind}": FILES
        for size in ("2b", "4b", "8b")
        for kind in ("full", "lora")
    },
    "reward=functions": ["reward.functions=[g2rpo.reward.verifier:VerifierReward]"],
    "reward=judge": ["reward.judge.model=m", "reward.judge.api_key_env=null"],
    "judge=openai": ["judge.model=m", "judge.api_key_env=null"],
}
"""Options that a user must add to a choice, because no default can be right."""
FROM_THE_RUN = {"trainer": {"logger": False, "enable_checkpointing": False}}
"""Arguments that the run adds to those of a group."""


def _rounds() -> list[list[str]]:
    """Return lists of choices, of at most one per group, that together hold every choice of a run.

    Composing takes most of the time of these tests, so each list is composed once. A data source
    needs options of its own, a recipe overrides other groups, and gradients of the tasks do not
    go with every trainer, so these come one at a time.
    """
    alone = {"data", "experiment", "gradient"}
    groups = [
        [choice for choice in CHOICES if choice.partition("=")[0] == group]
        for group in sorted(DEFAULTS - alone)
    ]
    rows = zip_longest(*filter(None, groups))
    together = [[choice for choice in row if choice is not None] for row in rows]
    return together + [[choice] for choice in CHOICES if choice.partition("=")[0] in alone]


@pytest.mark.parametrize("choices", _rounds(), ids=" ".join)
def test_a_run_with_these_choices_builds(
    choices: list[str], composed: Callable[..., Any], tmp_path: Path
) -> None:
    small = [] if any(choice.startswith("model=") for choice in choices) else ["model=tiny"]
    given = [option for choice in choices for option in GIVEN.get(choice, [])]
    cfg = composed(*small, *choices, *given, f"run_dir={tmp_path}")
    assert OmegaConf.missing_keys(cfg) == set()
    build_parts(cfg)


def test_every_choice_of_a_run_is_in_one_round() -> None:
    chosen = [choice for choices in _rounds() for choice in choices]
    assert sorted(chosen) == sorted(c for c in CHOICES if c.partition("=")[0] in DEFAULTS)


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """`probes("advantage=grpo")` returns what that choice adds to a run, composed beside it.

    The other choices of its group are composed at the same time, except data sources: two of them
    choose the same template.
    """

    @cache
    def compose_with(choices: tuple[str, ...]) -> Any:
        options = [f"run_dir={tmp_path_factory.mktemp('run')}"]
        for choice in choices:
            group, _, name = choice.partition("=")
            options.append(f"+{group}@probes.{name}={name}")
            options += [
                option.replace(f"{group}.", f"probes.{name}.", 1)
                for option in GIVEN.get(choice, [])
                if option.startswith(f"{group}.")
            ]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", options)

    def probe(choice: str) -> Any:
        group, _, name = choice.partition("=")
        others = tuple(other for other in OBJECTS if other.partition("=")[0] == group)
        return compose_with((choice,) if group == "data" else others).probes[name]

    return probe


@pytest.mark.parametrize("choice", OBJECTS)
def test_an_object_of_a_group_builds_alone(choice: str, probes: Callable[[str], Any]) -> None:
    probe = probes(choice)
    assert OmegaConf.missing_keys(probe) == set()
    arguments = FROM_THE_RUN.get(choice.partition("=")[0], {})
    built = instantiate(probe, _convert_="all", **arguments)
    if choice == "model/adapter=none":
        assert built is None
    elif "_target_" in probe:
        assert _made_by(probe._target_, built)


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
