"""The comparison with TRL: what does not need TRL, and one short run where it is installed."""

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import against_trl
import pytest
from trl_sides import TEXT, Prompts, image_grid, question, reward_of

from g2rpo.policy.family.qwen_vl import QwenEncoder


def test_ratios_say_how_many_times_faster_and_which_share_of_memory() -> None:
    ours, theirs = (
        {"cpu": 2.0, "wall": 1.0, "peak": 300.0, "extra": 100.0},
        {"cpu": 8.0, "wall": 3.0, "peak": 900.0, "extra": 400.0},
    )
    assert against_trl.rows({"g2rpo": ours, "trl": theirs}) == [
        "| g2rpo | 2.00 | 1.00 | 300 | 100 |",
        "| trl | 8.00 | 3.00 | 900 | 400 |",
        "| ratio | 4.00 x | 3.00 x | 0.33 | 0.25 |",
    ]


@pytest.mark.parametrize(
    ("tokens", "columns", "rows"), [(100, 8, 8), (512, 22, 21), (37, 1, 1), (1024, 31, 31)]
)
def test_the_picture_takes_what_the_text_leaves(tokens: int, columns: int, rows: int) -> None:
    assert image_grid(tokens) == (columns, rows)
    assert columns * rows <= tokens - TEXT


def test_a_prompt_without_room_for_a_picture_is_refused() -> None:
    with pytest.raises(
        SystemExit,
        match="--prompt: expected more than 36 tokens, for a picture beside the text, got 36",
    ):
        image_grid(36)


@pytest.mark.parametrize("tokens", [60, 100, 512])
def test_prompts_are_exactly_as_long_as_asked_for(tokens: int, tmp_path: Path) -> None:
    encoder = QwenEncoder(path=against_trl.model_folder(tmp_path))
    batch = encoder.encode(
        [Prompts(encoder, tokens).get("math", place, "train") for place in (0, 5)]
    )
    columns, rows = image_grid(tokens)
    assert batch.attention_mask.sum(1).tolist() == [tokens, tokens]
    assert (batch.input_ids == encoder.image_token_id).sum(1).tolist() == [columns * rows] * 2
    first, second = batch.images
    assert not first["pixel_values"].equal(second["pixel_values"])


def test_text_and_reward() -> None:
    assert question(12) == "012345678901"
    assert reward_of("aeb cd") == pytest.approx(2 / 6)
    assert reward_of("") == 0.0


def test_without_trl_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise against_trl.PackageNotFoundError(name)

    monkeypatch.setattr(against_trl, "version", missing)
    with pytest.raises(
        SystemExit,
        match=r"TRL is not installed here; pip install -c constraints/ci\.txt -e \.\[bench\]",
    ):
        against_trl.compare(argparse.Namespace(prompt=100))


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(find_spec("trl") is None, reason="needs TRL: " + against_trl.INSTALL)
def test_both_sides_make_their_steps() -> None:
    command = [sys.executable, str(against_trl.HERE / "step.py"), "--against=trl", "--threads=1"]
    command += ["--prompts=2", "--group=4", "--completion=3", "--prompt=60", "--repeats=1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].startswith("| ratio |")
