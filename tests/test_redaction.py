"""Keys do not reach logs, error.txt, the configuration that trackers get, or any file of a run."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from g2rpo.redaction import redact_logs, redacted, redacted_values

KEY = "planted-0123456789-key"
LEAKY = """
import logging
import lightning

class Leaky(lightning.Callback):
    def __init__(self, note):
        self.note = note

    def on_train_batch_end(self, *_):
        logging.getLogger("leaky").warning("sent %s", self.note)
        raise ValueError("no luck with " + self.note)
"""


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "WANDB_API_KEY", "HF_TOKEN", "MY_SECRET", "DB_PASSWORD", "my_apikey"]
)
def test_values_of_secret_variables_become_their_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, KEY + "\n")
    assert redacted(f"a {KEY} b") == f"a <{name}> b"


@pytest.mark.parametrize(
    ("name", "value"), [("MONKEY", KEY), ("TOKENIZERS_PARALLELISM", KEY), ("HF_TOKEN", "none")]
)
def test_other_variables_and_short_values_stay(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert redacted(f"a {value} b") == f"a {value} b"


def test_a_key_inside_of_a_longer_one_leaves_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    monkeypatch.setenv("B_KEY", KEY + "-and-more")
    assert redacted(KEY + "-and-more") == "<B_KEY>"


def test_texts_in_nested_values_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    nested = {"a": [{"b": f"x{KEY}"}, 1, None], "url": "https://me:mine@host/v1"}
    assert redacted_values(nested) == {
        "a": [{"b": "x<A_KEY>"}, 1, None],
        "url": "https://***@host/v1",
    }


def test_logs_and_their_tracebacks_are_redacted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    handler, log = logging.FileHandler(tmp_path / "log"), logging.getLogger()
    log.addHandler(handler)
    try:
        redact_logs()
        try:
            raise ValueError(f"no {KEY}")
        except ValueError:
            logging.getLogger("any.library").exception("sent %s", KEY)
    finally:
        log.removeHandler(handler)
    handler.close()
    written = (tmp_path / "log").read_text()
    assert "sent <A_KEY>" in written
    assert "ValueError: no <A_KEY>" in written
    assert KEY not in written


@pytest.mark.slow
@pytest.mark.process
def test_a_planted_key_is_in_no_file_of_a_run(
    root: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """The run resolves the key in its configuration, logs to W&B offline, and fails with it."""
    (tmp_path / "leaky.py").write_text(LEAKY)
    command = [
        sys.executable,
        str(root / "train.py"),
        "model=folder",
        f"model.path={tiny_folder}",
        "experiment=smoke",
        "heldout=none",
        "+callbacks.leaky._target_=leaky.Leaky",
        "+callbacks.leaky.note=${oc.env:A_KEY}",
        "logger=wandb",
    ]
    environment = {
        **os.environ,
        "A_KEY": KEY,
        "WANDB_API_KEY": KEY + "x" * 18,
        "HF_TOKEN": KEY + "-hub",
        "WANDB_MODE": "offline",
        "PYTHONPATH": f"{root / 'src'}:{tmp_path}",
    }
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no luck with <A_KEY>" in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
    files = [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()]
    assert any(path.name == "error.txt" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
