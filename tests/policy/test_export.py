"""What lies in a written folder; tests/policy/test_weight_stream.py has two ranks that write it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForImageTextToText

from g2rpo import ranks
from g2rpo.policy import export
from g2rpo.policy.export import save_checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder

LARGEST = "model.language_model.embed_tokens.weight"


def test_large_weights_lie_in_several_files_with_an_index_that_loads(
    policy: Any, encoder: QwenEncoder, tmp_path: Path
) -> None:
    most = 200_000
    assert policy.state_dict()[LARGEST].nbytes > most
    save_checkpoint(policy, encoder, tmp_path / "a", dtype="float32", shard_bytes=most)
    files = sorted((tmp_path / "a").glob("*.safetensors"))
    assert len(files) > 3
    for file in files:
        weights = load_file(file)
        assert len(weights) == 1 or sum(value.nbytes for value in weights.values()) <= most
    index = json.loads((tmp_path / "a" / "model.safetensors.index.json").read_text())
    untied = {
        name: value for name, value in policy.state_dict().items() if name != "lm_head.weight"
    }
    assert index["weight_map"].keys() == untied.keys()
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in untied.values())
    theirs = AutoModelForImageTextToText.from_pretrained(tmp_path / "a", dtype=torch.float32)
    assert all(
        torch.equal(value, policy.state_dict()[n]) for n, value in theirs.state_dict().items()
    )


def test_the_config_names_the_dtype_that_was_written(
    policy: Any, encoder: QwenEncoder, tmp_path: Path
) -> None:
    save_checkpoint(policy, encoder, tmp_path / "a", dtype="bfloat16")
    config = AutoConfig.from_pretrained(tmp_path / "a")
    assert {config.dtype, config.text_config.dtype, config.vision_config.dtype} == {torch.bfloat16}
    assert config.architectures == ["Qwen3VLForConditionalGeneration"]
    assert policy.config.dtype == torch.float32


def test_a_folder_is_replaced_only_by_a_complete_one(
    policy: Any, encoder: QwenEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = tmp_path / "best"
    save_checkpoint(policy, encoder, best, extra={"best.json": "1"})
    before = {file.name: file.read_bytes() for file in best.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export, "save_file", full)
        with pytest.raises(OSError, match="no space"):
            save_checkpoint(policy, encoder, best, extra={"best.json": "2"})
    assert {file.name: file.read_bytes() for file in best.iterdir()} == before
    save_checkpoint(policy, encoder, best, extra={"best.json": "3"})
    assert (best / "best.json").read_text() == "3"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_of_ranks_with_the_same_weights_only_the_first_writes(
    policy: Any, encoder: QwenEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "rank", lambda: 1)
    save_checkpoint(policy, encoder, tmp_path / "a")
    assert not list(tmp_path.iterdir())
