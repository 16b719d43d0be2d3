"""`perf/gpu.sh` on a CPU: its parts with small shapes, its table, and a part that fails."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
import torch
from shapes import random_batch, random_policy

from g2rpo.policy.head import PIECE_BYTES

CPU = torch.device("cpu")


def options(out: Path, **more: object) -> argparse.Namespace:
    return argparse.Namespace(cpu=True, out=out, **more)


def test_forms_agree_with_the_repeated_one_in_float32_and_nearly_in_bfloat16() -> None:
    rows = {(row["form"], row["dtype"]): row for row in gpu.kernels(CPU, small=True)}
    error = "largest error of a log-probability, nats"
    assert float(rows["shared", "float32"][error]) < 1e-5
    assert float(rows["shared", "float32"]["relative error of the gradient"]) < 1e-5
    assert 1e-4 < float(rows["shared", "bfloat16"][error]) < 0.05


def test_an_update_is_measured_in_each_form_with_and_without_an_adapter() -> None:
    rows = gpu.step(CPU, small=True)
    assert {(row["shape"], row["form"]) for row in rows} == {
        (shape, form)
        for shape in ("tiny", "tiny, LoRA")
        for form in ("shared", "apart", "repeated")
    }
    assert all(row["update s"] > 0 and row["MFU"].endswith("%") for row in rows)
    assert all(0 < row["data s"] < row["update s"] for row in rows)
    assert [row["time / shared"] for row in rows if row["form"] == "shared"] == [1.0, 1.0]


def test_the_head_is_measured_by_the_size_of_its_pieces() -> None:
    rows = gpu.head(CPU, small=True)
    assert [row["columns"] for row in rows] == [256, 256, 512]
    assert [row["bytes of a piece"] for row in rows] == ["2**15", "2**16", "whole"]
    fastest = [row for row in rows if "fastest" in row]
    assert [row["s"] for row in fastest] == [min(row["s"] for row in rows[:2])]
    assert fastest[0]["fastest"] == f'PIECE_BYTES["cpu"] = {fastest[0]["bytes of a piece"]}'


def test_the_size_that_the_program_takes_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PIECE_BYTES, "cpu", 2**16)
    assert [row["now"] for row in gpu.head(CPU, small=True)] == ["", "taken", ""]


def test_the_data_stage_is_measured_with_and_without_the_processor() -> None:
    rows = gpu.images(CPU, small=True)
    assert [(row["image tokens"], row["pixels"]) for row in rows] == [
        (16, "128 x 128"),
        (48, "192 x 256"),
    ]
    assert all(row["by the processor, ms"] > 0 < row["on cpu, ms"] for row in rows)


def test_prompts_whose_data_stage_is_measured_have_the_sizes_of_the_batch() -> None:
    policy = random_policy("tiny", CPU, torch.float32)
    batch = random_batch(policy, 2, 60, 2, 0.5, CPU, torch.float32)
    encoder, encoded = gpu.qwen_encoder(8, CPU), []
    encode = encoder.encode
    encoder.encode = lambda prompts: encoded.append(encode(prompts)) or encoded[-1]
    assert gpu.data_seconds(encoder, batch, repeats=1) > 0
    assert [image["pixel_values"].shape for image in encoded[0].images] == [
        image["pixel_values"].shape for image in batch.images
    ]
    assert encoded[0].num_images.tolist() == [2, 2]
    assert 30 <= encoded[0].input_ids.shape[1] <= 90


def test_decoding_is_measured_with_and_without_graphs() -> None:
    rows = gpu.decode(CPU, small=True)
    assert [(row["rows"], row["form"], row["captures"]) for row in rows] == [
        (rows, form, captures)
        for rows in (2, 4)
        for form, captures in (("without graphs", 0), ("with graphs", 1))
    ]
    assert all(row["tokens/s"] > 0 for row in rows)
    ratios = [row["tokens/s, ratio"] for row in rows if row["form"] == "with graphs"]
    assert len(ratios) == 2
    assert min(ratios) > 0


@pytest.mark.process
@pytest.mark.slow
def test_a_part_that_fails_is_told_and_the_others_are_measured(tmp_path: Path) -> None:
    missing = tmp_path / "file"
    missing.write_text("")
    rows, error = gpu.part_process("head", options(tmp_path), limit=0.0)
    assert error == "time limit"
    assert "took more than" in rows[0]["error"]
    rows, error = gpu.part_process("head", options(missing / "below"), limit=200.0)
    assert "NotADirectoryError" in error
    assert gpu.table("head", rows)[4].startswith("| NotADirectoryError")


@pytest.mark.slow
@pytest.mark.process
def test_the_whole_script_writes_one_json_file_and_one_table(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "perf/gpu.sh", "--cpu", "--out", str(tmp_path)],
        cwd=root,
        env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert list(found["parts"]) == list(gpu.PARTS)
    assert found["failed"] == {}
    page = (tmp_path / "gpu.md").read_text()
    assert all(f"### {name}" in page for name in gpu.PARTS)


@pytest.mark.process
def test_missing_and_older_packages_are_named_with_the_way_to_get_them(
    root: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "perf"
    copy.mkdir()
    (copy / "gpu.sh").write_text((root / "perf" / "gpu.sh").read_text())
    (copy / "gpu_wheels.txt").write_text(
        "# what it is for\nno-such-package==1.0   # a comment\ntorch==0.1\ntransformers==99.0\n"
    )
    done = subprocess.run(
        ["bash", str(copy / "gpu.sh"), "--cpu"],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    named = "missing packages: no-such-package==1.0 transformers==99.0; fetch their wheels"
    assert named in done.stderr
