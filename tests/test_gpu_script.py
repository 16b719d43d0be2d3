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
    assert [row["time / shared"] for row in rows if row["form"] == "shared"] == [1.0, 1.0]


def test_the_head_is_measured_by_the_size_of_its_pieces() -> None:
    assert [row["columns"] for row in gpu.head(CPU, small=True)] == [256, 256]


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
