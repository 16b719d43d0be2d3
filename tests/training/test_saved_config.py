"""A configuration from a checkpoint names the choices of a run, and no other code."""

from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import OmegaConf

from g2rpo.training.saved_config import _targets, check_targets, known_targets


@pytest.mark.parametrize(
    "words", [(), ("experiment=openvlthinker_v2",), ("experiment=qwen3_vl_8b_lora",)]
)
def test_the_configuration_of_a_run_is_allowed(
    words: tuple[str, ...], composed: Callable[..., Any]
) -> None:
    found = set(_targets(OmegaConf.to_container(composed(*words))))
    assert len(found) > 20
    assert found <= known_targets()


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "g2rpo.files.os.system",
        "g2rpo.rollout.vllm_process.EngineProcess.launch",
        "torch.optim.AdamW.load_state_dict",
        "torch.load",
        7,
    ],
)
def test_other_code_is_refused_wherever_it_is_named(target: Any) -> None:
    config = {"model": {"path": "x"}, "callbacks": [{"a": {"_target_": target, "command": "id"}}]}
    with pytest.raises(ValueError, match=rf"got _target_={target}, which could run any code"):
        check_targets(config)


def test_interpolations_are_refused() -> None:
    with pytest.raises(ValueError, match="got the interpolation"):
        check_targets({"reward": '${oc.decode:"{_target_: os.system}"}'})


def test_plug_ins_that_the_caller_trusts_are_allowed() -> None:
    config = {"reward": {"_target_": "theirs.rewards.Short"}}
    with pytest.raises(ValueError, match=r"pass trusted=\['theirs'\]"):
        check_targets(config)
    check_targets(config, ["theirs"])
    with pytest.raises(ValueError, match="theirs2"):
        check_targets({"_target_": "theirs2.Short"}, ["theirs"])


def test_targets_come_from_the_lines_of_the_groups_and_not_from_comments() -> None:
    assert {"torch.optim.AdamW", "torch.profiler.schedule"} <= known_targets()
    assert not {name for name in known_targets() if name.startswith("theirs")}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"reward": {"functions": ["/tmp/evil.py:f"]}}, "functions=/tmp/evil.py:f"),
        ({"reward": {"functions": {"good": "evil.py:f"}}}, "functions=evil.py:f"),
        ({"model": {"family": "evil.py"}}, "family=evil.py"),
        ({"model": {"trust_remote_code": True}}, "trust_remote_code=True"),
        ({"rollout": {"options": ["--middleware", "evil.f"]}}, "options=--middleware"),
    ],
)
def test_a_choice_of_a_run_that_names_code_is_refused(config: Any, named: str) -> None:
    with pytest.raises(ValueError, match=f"got {named}, which could run any code"):
        check_targets(config)


def test_code_that_the_caller_trusts_is_allowed() -> None:
    check_targets({"reward": {"functions": ["mine.py:f"]}}, ["mine.py:f"])
    check_targets({"model": {"family": None, "trust_remote_code": False}})
