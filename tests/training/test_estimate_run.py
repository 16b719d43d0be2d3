"""`estimate.py` on composed configurations: from the small model to the paper's recipe without data
and without weights.
"""

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from g2rpo import cli
from g2rpo.data.stream import PromptStream
from g2rpo.training.build import build_trainer
from g2rpo.training.estimate_run import processes_of, run_estimate, write_estimate
from g2rpo.training.parts import build_parts

GPU = ("estimate.gib=80", "estimate.tflops=989", "estimate.gb_per_s=3350")
PAPER = (
    "experiment=openvlthinker_v2",
    "data.root=/nowhere",
    "trainer.devices=8",
    *GPU,
)
Composed = Callable[..., Any]


def test_estimate_prints_a_table_and_writes_the_file(
    composed: Composed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = composed(f"run_dir={tmp_path}", "batch.micro_batch_prompts=6", config="estimate")
    assert math.isnan(cli.estimate(cfg))
    out = capsys.readouterr().out
    assert "activations" in out
    assert "seconds per step: " in out
    assert "fits: " in out
    found = json.loads((tmp_path / "estimate.json").read_text())
    assert found["prompt_tokens"]["known"] == "from the first 24 prompts of the data"
    assert found["completion_tokens"] == 56
    assert not any(
        (tmp_path / name).exists() for name in ("metrics.csv", "summary.json", "checkpoints")
    )


def test_the_papers_recipe_needs_neither_weights_nor_data(
    composed: Composed, config_of_8b: Path, tmp_path: Path
) -> None:
    found = run_estimate(
        composed(*PAPER, f"model.path={config_of_8b}", f"run_dir={tmp_path}", config="estimate")
    )
    assert (found.processes, found.load.prompts, found.load.updates, found.load.shards) == (
        8,
        64,
        4,
        8,
    )
    assert (found.load.lengths.longest, found.load.lengths.most_patches) == (16_384, 4096)
    sizes = {part.name: part.optimizer / 2**30 for part in found.parts}
    # 8.77e9 float32 weights and two moments, spread over 8 GPUs
    assert sizes["weights"] == pytest.approx(2 * 16.33 / 8, abs=0.01)
    assert sizes["optimizer state"] == pytest.approx(4 * 16.33 / 8, abs=0.01)
    assert found.load.tokens == 16_384 + 8 * 4095
    assert found.verdict().startswith("fits: ")


def test_the_recipe_on_one_process_with_all_weights_is_told_what_to_set(
    composed: Composed, config_of_8b: Path, tmp_path: Path
) -> None:
    found = run_estimate(
        composed(
            *PAPER,
            "trainer=ddp",
            f"model.path={config_of_8b}",
            f"run_dir={tmp_path}",
            config="estimate",
        )
    )
    assert "does NOT fit" in found.verdict()
    assert "trainer=fsdp (now all weights in every process)" in found.verdict()


def test_an_engine_elsewhere_leaves_the_update(
    composed: Composed, config_of_8b: Path, tmp_path: Path
) -> None:
    options = (
        *PAPER,
        "rollout=vllm_server",
        "~rollout.max_model_len",
        "~rollout.gpu_memory_utilization",
        "rollout.urls=[http://host:8000]",
        "rollout.max_new_tokens=4096",
    )
    found = run_estimate(
        composed(*options, f"model.path={config_of_8b}", f"run_dir={tmp_path}", config="estimate")
    )
    assert not {"keys and values", "prefill", "sampling"} & {part.name for part in found.parts}
    assert (
        found.load.extra_passes == 2
    )  # importance weights of the engine's completions, and the entropy band


@pytest.mark.parametrize(
    ("options", "checked"),
    [
        (("loss.kl_coef=0.1",), {"reference": True, "extra_passes": 1}),
        (
            ("shaping=entropy_bounded", "batch.micro_batch_prompts=3"),
            {"extra_passes": 1, "micro_batch_prompts": 3},
        ),
        (("shaping=entropy_bounded",), {"extra_passes": 0, "micro_batch_prompts": 24}),
        (
            ("policy.prefix=repeated", "batch.group_size_of.chart=16"),
            {"shared": False, "group_size": 16},
        ),
        (("filter=none",), {"redraws": False}),
        (
            ("rollout=vllm", "rollout.gpu_memory_utilization=0.3"),
            {"sampled_here": False, "engine_frac": 0.3, "engine_stays": False},
        ),
        (("rollout=vllm", "rollout.sleep=false"), {"engine_stays": True}),
    ],
)
def test_settings_reach_the_workload(
    composed: Composed, tmp_path: Path, options: tuple[str, ...], checked: dict[str, Any]
) -> None:
    found = run_estimate(
        composed(
            *options,
            "estimate.prompt_tokens=50",
            "estimate.image_tokens=16",
            f"run_dir={tmp_path}",
            config="estimate",
        )
    )
    assert {name: getattr(found.load, name) for name in checked} == checked


def test_processes_are_counted_without_being_started() -> None:
    here = max(1, torch.cuda.device_count())
    cases = {1: 1, 8: 8, "auto": here, -1: here, "2": 2, "0,1,3": 3}
    for devices, count in cases.items():
        assert processes_of(OmegaConf.create({"devices": devices, "accelerator": "auto"})) == count
    assert (
        processes_of(OmegaConf.create({"devices": [0, 1], "accelerator": "auto", "num_nodes": 4}))
        == 8
    )
    assert processes_of(OmegaConf.create({"devices": "auto", "accelerator": "cpu"})) == 1
    assert processes_of(OmegaConf.create({})) == here


def test_a_wrong_setting_of_the_data_is_no_missing_data(composed: Composed, tmp_path: Path) -> None:
    cfg = composed(*PAPER, f"run_dir={tmp_path}", "+data.lodaing=3", config="estimate")
    with pytest.raises(Exception, match="lodaing"):
        run_estimate(cfg)


def test_a_run_notes_its_estimate_and_leaves_the_stream_alone(
    composed: Composed, tmp_path: Path
) -> None:
    cfg = composed(f"run_dir={tmp_path}")
    parts = build_parts(cfg)
    stream, other = (PromptStream(source=parts.source, mix=parts.mix, seed=0) for _ in range(2))
    before = torch.get_rng_state()
    write_estimate(cfg, parts, stream, tmp_path, build_trainer(cfg))
    assert (tmp_path / "estimate.json").exists()
    assert [prompt.id for prompt in stream.draw(9)] == [prompt.id for prompt in other.draw(9)]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_whose_model_cannot_be_estimated_goes_on(
    composed: Composed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llava"}))
    cfg = composed("model=folder", f"model.path={folder}", f"run_dir={tmp_path}")
    parts = build_parts(cfg)
    with caplog.at_level(logging.WARNING, "g2rpo"):
        write_estimate(
            cfg,
            parts,
            PromptStream(source=parts.source, mix=parts.mix, seed=0),
            tmp_path,
            build_trainer(cfg),
        )
    assert "no estimate of memory and time: ValueError: model.path=" in caplog.text
    assert not (tmp_path / "estimate.json").exists()
