"""The model card says what a run was, and nothing of the machine it ran on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from g2rpo.training.model_card import write_card

SUMMARY = {
    "steps": 120,
    "heldout": {
        "before": {"macro": 0.25, "gui": 0.125, "math": 0.375},
        "after": {"macro": 0.5, "gui": 0.25, "math": 0.75},
    },
    "heldout_greedy": {"before": {"macro": 0.1}, "after": {}},
    "benchmarks": {
        "mmmu": {"score": 0.625, "rows": 900, "protocol": "paper", "rows_from": "hub", "low": 0.6}
    },
    "prompts_drawn": {"gui": 700, "math": 260},
    "versions": {"g2rpo": "0.3.0", "torch": "2.13.0"},
    "config_hash": "0123456789ab",
}


@pytest.fixture
def card(
    composed: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ModelCard]:
    """`card("seed=3", peft=True)` returns the card of a folder after such a run."""
    monkeypatch.setenv("MY_API_KEY", "sk-very-secret")

    def write(*options: str, peft: bool = False, **summary: Any) -> ModelCard:
        (tmp_path / ("adapter_config.json" if peft else "config.json")).write_text("{}")
        write_card(tmp_path, composed(f"run_dir={tmp_path}", *options), SUMMARY | summary)
        return ModelCard.load(tmp_path / "README.md")

    return write


def test_the_hub_can_read_the_head(card: Callable[..., ModelCard]) -> None:
    data = card("model=qwen3_vl_2b", "model.path=Qwen/Qwen3-VL-2B-Instruct").data.to_dict()
    assert data == {
        "base_model": "Qwen/Qwen3-VL-2B-Instruct",
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["g2rpo", "grpo", "reinforcement-learning"],
    }


def test_scores_data_and_versions_are_those_of_the_summary(card: Callable[..., ModelCard]) -> None:
    text = card("model=tiny").text
    assert "after 120 optimizer steps" in text
    assert "| math | 0.375 | 0.750 | - | - |" in text
    assert "| mean of tasks | 0.250 | 0.500 | 0.100 | - |" in text
    assert text.index("| gui | 0.125") < text.index("| mean of tasks")
    assert "| mmmu | 0.625 | 900 | paper | hub |" in text
    assert "| gui | 700 |" in text
    assert "g2rpo 0.3.0, torch 2.13.0; configuration 0123456789ab" in text
    nothing = {"before": {}, "after": {}}
    bare = card("model=tiny", heldout=nothing, heldout_greedy=nothing, benchmarks={}).text
    assert "Nothing was measured." in bare


def test_the_recipe_is_there_without_paths_of_the_machine_or_keys(
    card: Callable[..., ModelCard], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "my_rows.jsonl").write_text("")
    found = card(
        "model=folder",
        f"model.path={tiny_folder}",
        "data=jsonl",
        f"data.files=[{tmp_path}/my_rows.jsonl]",
        "data.root=.",
        "reward=functions",
        f"reward.functions=[{tmp_path}/my_reward.py:f]",
        "+reward.note=sk-very-secret",
        "advantage=gdpo",
        "batch.group_size=12",
        "seed=3",
    )
    assert "base_model" not in found.data.to_dict()
    assert "`my_rows.jsonl`" in found.text
    assert "class: g2rpo.algorithm.advantage.gdpo.GDPO" in found.text
    assert "- my_reward.py:f" in found.text
    assert "group_size: 12" in found.text
    assert "seed: 3" in found.text
    assert "null" not in found.text
    assert str(tmp_path) not in found.content
    assert str(tiny_folder) not in found.content
    assert "sk-very-secret" not in found.content


def test_an_adapter_is_said_to_be_one(card: Callable[..., ModelCard]) -> None:
    found = card("model=qwen3_vl_2b", "model.path=Qwen/Qwen3-VL-2B-Instruct", peft=True)
    assert found.data.to_dict()["library_name"] == "peft"
    assert "A LoRA adapter of `Qwen/Qwen3-VL-2B-Instruct`" in found.text
    assert "AutoModelForImageTextToText" not in found.text
