"""A model folder with Python code, or a template that breaks out, runs nothing."""

import json
import shutil
from pathlib import Path

import pytest

from g2rpo.policy import remote_code
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.remote_code import CONFIGS, loading, refuse_code
from g2rpo.records import Prompt

ESCAPE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
PAYLOADS = (
    ESCAPE,
    "{{ cycler.__init__.__globals__.os.system('touch ' + 'escaped') }}",
    "{% set x = messages.append(1) %}",
    "{{ self.__init__.__globals__ }}",
)


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A checkpoint of the test's own."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def with_code(folder: Path, name: str, *, inside: bool = False) -> None:
    """Let a file of a checkpoint name a class in evil.py, which leaves a trace when it runs."""
    file = folder / name
    content = json.loads(file.read_text()) if file.exists() else {}
    (content.setdefault("text_config", {}) if inside else content)["auto_map"] = {
        "AutoConfig": "evil.Config"
    }
    file.write_text(json.dumps(content))
    trace = f"open({str(folder / 'ran')!r}, 'w')"
    (folder / "evil.py").write_text(f"{trace}\nclass Config: pass\n")


@pytest.mark.parametrize("name", CONFIGS)
def test_code_in_any_file_is_refused_before_anything_is_loaded(folder: Path, name: str) -> None:
    with_code(folder, name)
    with pytest.raises(ValueError, match=rf"got auto_map=.*evil.* in {name}; .*trust_remote_code"):
        Checkpoint(path=str(folder))
    assert not (folder / "ran").exists()


def test_code_of_a_part_of_the_model_is_refused(folder: Path) -> None:
    with_code(folder, "config.json", inside=True)
    with pytest.raises(ValueError, match="auto_map"):
        refuse_code(str(folder))


def test_code_that_generates_is_refused(folder: Path) -> None:
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").touch()
    with pytest.raises(ValueError, match=r"custom_generate/generate\.py"):
        Checkpoint(path=str(folder))


def test_code_runs_only_in_folders_that_the_user_trusts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_code, "_trusted", set())
    assert loading(folder) == {"trust_remote_code": False}
    with_code(folder, "config.json")
    Checkpoint(path=str(folder), trust_remote_code=True)
    assert loading(folder) == {"trust_remote_code": True}
    assert loading(folder.parent) == {"trust_remote_code": False}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_template_that_breaks_out_of_the_sandbox_ends_with_a_sentence(
    folder: Path, payload: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "chat_template.jinja").write_text(payload)
    prompt = Prompt(id="p", task="math", text="?", images=(), answer="1", answer_type="numerical")
    with pytest.raises(ValueError, match=r"chat template of .*cannot be applied to prompt 'p'"):
        Checkpoint(path=str(folder)).encoder().chat_text(prompt)
    assert not (tmp_path / "escaped").exists()
