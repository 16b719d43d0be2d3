"""Options of `rollout=vllm`, and what it says where vLLM is missing."""

import copy
from pathlib import Path
from typing import Any

import pytest

from g2rpo.interfaces import OwnWeights
from g2rpo.policy.adapter import LoRA
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.rollout import vllm, vllm_server
from g2rpo.rollout.serve import serve
from g2rpo.rollout.vllm import VLLMEngine
from g2rpo.rollout.vllm_server import VLLMServerEngine


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"top_p": 0.9}, r"rollout\.top_p: expected 1, got 0\.9.*use rollout=hf"),
        ({"max_model_len": 0}, r"rollout\.max_model_len: expected at least 1, got 0"),
        ({"max_num_seqs": 0}, r"rollout\.max_num_seqs: expected at least 1, got 0"),
        (
            {"gpu_memory_utilization": 1.0},
            r"rollout\.gpu_memory_utilization: expected a share in \(0, 1\), got 1\.0",
        ),
        (
            {"max_sync_gap": -1.0},
            r"rollout\.max_sync_gap: expected null \(by dtype\) or nats above 0, got -1\.0",
        ),
        ({"lora": "both"}, r"rollout\.lora: expected merged or adapter, got 'both'"),
        ({"temperature": -1.0}, r"rollout\.temperature: expected 0 \(greedy\) or more"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        VLLMEngine(max_new_tokens=8, **wrong)


@pytest.mark.parametrize("sleep", [True, False])
def test_the_key_sleep_does_not_hide_the_method_that_the_trainer_calls(sleep: bool) -> None:
    engine = VLLMEngine(max_new_tokens=8, sleep=sleep)
    assert isinstance(engine, OwnWeights)
    engine.sleep()
    assert engine.settings.llm_options(dtype="float32", on_gpu=True)["enable_sleep_mode"] is sleep


def test_without_vllm_both_choices_name_the_extra(
    policy: Any, encoder: QwenEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (vllm, vllm_server):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"rollout=vllm: vLLM is not installed; pip install 'g2rpo\[vllm\]'"
    ):
        VLLMEngine(max_new_tokens=8).start(policy, encoder)
    with pytest.raises(
        ValueError,
        match=r"rollout=vllm_server: vLLM is not installed here; pip install 'g2rpo\[vllm\]'",
    ):
        VLLMServerEngine(max_new_tokens=8, weights_dir="weights").start(policy, encoder)


def test_the_server_wants_a_model_first() -> None:
    with pytest.raises(SystemExit, match=r"usage: python -m g2rpo\.rollout\.serve MODEL"):
        serve(["--port", "8000"])


def test_the_image_processor_that_is_served_has_the_trainers_bounds(
    policy: Any, tiny_folder: Path, tmp_path: Path
) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from g2rpo.rollout.serving_folder import write_serving_folder

    write_serving_folder(
        policy, QwenEncoder(path=tiny_folder, min_pixels=4096, max_pixels=8192), tmp_path
    )
    assert dict(Qwen2VLImageProcessorPil.from_pretrained(tmp_path).size) == {
        "shortest_edge": 4096,
        "longest_edge": 8192,
    }


@pytest.mark.parametrize(("rank", "expected"), [(1, 1), (2, 8), (16, 16), (17, 32), (512, 512)])
def test_an_engine_for_adapters_is_built_for_the_next_rank_that_vllm_knows(
    rank: int, expected: int, policy: Any
) -> None:
    adapted = copy.deepcopy(policy)
    LoRA(rank=rank, targets=["q_proj"]).attach(adapted)
    settings = VLLMEngine(max_new_tokens=8, lora="adapter").settings
    assert settings.lora_rank(adapted) == expected
    options = settings.llm_options(dtype="float32", on_gpu=False, lora_rank=expected)
    assert (options["enable_lora"], options["max_lora_rank"]) == (True, expected)
    assert VLLMEngine(max_new_tokens=8).settings.lora_rank(adapted) is None
    assert "enable_lora" not in settings.llm_options(dtype="float32", on_gpu=False)


def test_adapters_that_vllm_cannot_use_are_refused_with_the_setting_to_change(policy: Any) -> None:
    settings = VLLMEngine(max_new_tokens=8, lora="adapter").settings
    with pytest.raises(
        ValueError, match=r"rollout\.lora: expected merged, because the policy has no adapter"
    ):
        settings.lora_rank(policy)
    for given, words in (
        (LoRA(rank=2, vision=True), r"with model\.adapter\.vision=true, got adapter"),
        (LoRA(rank=513, targets=["q_proj"]), r"with model\.adapter\.rank=513, got adapter"),
    ):
        adapted = copy.deepcopy(policy)
        given.attach(adapted)
        with pytest.raises(ValueError, match=words):
            settings.lora_rank(adapted)
