import json
from collections.abc import Callable
from pathlib import Path

import pytest

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.choose_family import families, family_at

OUTSIDE = '''
from g2rpo.policy.family.idefics3 import Idefics3


class Mine(Idefics3):
    """The same layout under a name of its own."""

    model_types = ("mine",)
'''


def _renamed(folder: Path, target: Path, model_type: str) -> Path:
    """Copy a checkpoint's small files with another model_type."""
    target.mkdir()
    for file in folder.iterdir():
        if file.suffix in (".json", ".jinja"):
            (target / file.name).write_text(file.read_text())
    config = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {"model_type": model_type}))
    return target


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "blip"},
            r"model_type 'blip' is not supported; known are gemma3, .*smolvlm\. Another family is"
            r" one file, model\.family=my_family\.py: see docs/models\.md",
        ),
        (
            {"model_type": "qwen9_vl"},
            r"model_type 'qwen9_vl' is not supported; known are gemma3",
        ),
        ({}, r"model_type 'None' is not supported"),
        (
            {"model_type": "qwen3"},
            r"expected a model that reads images and text, got model_type 'qwen3', which reads text"
            r" only; known are gemma3",
        ),
        (
            {"model_type": "qwen3_vl"},
            r"expected preprocessor_config\.json or processor_config\.json, found neither; copy the"
            r" processor's files from the model",
        ),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_refused_before_its_weights_are_read(
    config: dict[str, str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_text("no weights")
    checkpoint = Checkpoint(path=str(tmp_path))
    for load in (checkpoint.encoder, checkpoint.policy):
        with pytest.raises(ValueError, match=rf"^model\.path={tmp_path}: {message}"):
            load()


def test_a_family_of_ones_own_is_one_file(
    family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = _renamed(family_folder("smolvlm"), tmp_path / "model", "mine")
    file = tmp_path / "my_family.py"
    file.write_text(OUTSIDE)
    with pytest.raises(ValueError, match="model_type 'mine' is not supported"):
        Checkpoint(path=str(folder)).encoder()
    checkpoint = Checkpoint(path=str(folder), family=str(file))
    assert type(checkpoint.family).__name__ == "Mine"
    assert checkpoint.encoder().placeholder == "<image>"


def test_the_family_of_a_file_goes_with_the_policy_that_it_loads(
    family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from g2rpo.policy.family.choose_family import family_of

    file = tmp_path / "my_family.py"
    file.write_text(OUTSIDE.replace('("mine",)', '("smolvlm",)'))
    policy = Checkpoint(path=str(family_folder("smolvlm")), family=str(file)).policy()
    assert type(family_of(policy)).__name__ == "Mine"
    del policy.family
    assert family_of(policy) is families()["smolvlm"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("my_family.py", OUTSIDE, r"expected a subclass of .*Family with 'smolvlm' .*, found mine"),
        ("my_family.py", "x = 1", r"with 'smolvlm' in its model_types, found none"),
        ("nothing.py", None, r"there is no such file in "),
        (
            "no.such.module",
            None,
            r"expected a file ending in \.py or a module that can be imported",
        ),
    ],
)
def test_a_file_without_the_family_is_refused(
    name: str,
    text: str | None,
    message: str,
    family_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path(name).write_text(text)
    with pytest.raises(ValueError, match=rf"^model\.family={name}: .*{message}"):
        family_at(str(family_folder("smolvlm")), name)


def test_shared_prompts_are_refused_before_weights_are_loaded(
    family_folder: Callable[[str], Path],
) -> None:
    for kind in ("gemma3", "qwen3_5"):
        checkpoint = Checkpoint(path=str(family_folder(kind)))
        checkpoint.check_prefix("repeated")
        with pytest.raises(ValueError, match=r"^policy\.prefix=shared: .*policy\.prefix=repeated"):
            checkpoint.check_prefix("shared")
    Checkpoint(path=str(family_folder("smolvlm"))).check_prefix("shared")
