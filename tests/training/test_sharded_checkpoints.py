"""A sharded run that is killed, also in the middle of a save, goes on exactly."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from rank_processes import run_ranks
from safetensors import safe_open

from g2rpo.training.checkpoint_folder import FolderReader

pytestmark = pytest.mark.process

SCRIPT = Path(__file__).parent / "sharded_run.py"


def run(out: Path, *, world: int = 2, how: str = "background", kill: str = "no") -> None:
    out.mkdir(exist_ok=True)
    run_ranks(SCRIPT, out, world, how, kill, world=world)


def end(out: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(out / "end.pt")
    return found


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    run(out)
    return out


def killed_and_resumed(out: Path, how: str, kill: str) -> None:
    with pytest.raises(AssertionError):
        run(out, how=how, kill=kill)
    assert not (out / "end.pt").exists()
    run(out, how=how)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["background", "foreground"])
@pytest.mark.parametrize("kill", ["1:written", "3:written", "3:finish", "3:between", "4:renamed"])
def test_a_run_killed_anywhere_in_a_save_goes_on_exactly(
    how: str, kill: str, unbroken: Path, tmp_path: Path
) -> None:
    killed_and_resumed(tmp_path / "run", how, kill)
    assert_equal(end(tmp_path / "run"), end(unbroken))
    assert names(tmp_path / "run") == names(unbroken)


@pytest.mark.slow
def test_only_the_best_and_the_last_checkpoints_are_kept(unbroken: Path) -> None:
    kept = json.loads((unbroken / "kept.json").read_text())
    assert len(kept) == 2
    assert names(unbroken) == {Path(name).name for name in kept} | {"last.ckpt"}


def test_a_checkpoint_holds_the_weights_of_its_step_though_they_are_copied_late(
    unbroken: Path,
) -> None:
    at = torch.load(unbroken / "at.pt")
    checked = 0
    for path in unbroken.glob("*.ckpt"):
        reader = FolderReader(path)
        step = reader.state["global_step"]
        if step in at:  # not the last one
            checked += 1
            weights = reader.read(("state_dict.b",))["state_dict"]["b.weight"]
            assert torch.equal(weights, at[step])
            assert not torch.equal(weights, at.get(step + 1, at[0]))
    assert checked


def test_last_shares_the_files_of_the_checkpoint_of_its_step(unbroken: Path) -> None:
    last = unbroken / "last.ckpt"
    step = json.loads((last / "state.json").read_text())["global_step"]
    other = unbroken / f"step={step}.ckpt"
    if not other.exists():
        pytest.skip("the last step was none of the best")
    for file in last.glob("*.safetensors"):
        assert file.samefile(other / file.name)


def test_files_are_shared_only_between_checkpoints_of_the_same_weights(unbroken: Path) -> None:
    last, same, changed = (
        unbroken / "last.ckpt",
        *(unbroken.with_name("after") / f"{name}.ckpt" for name in ("same", "changed")),
    )
    files = [file.name for file in last.glob("*.safetensors")]
    assert files
    assert all((same / name).samefile(last / name) for name in files)
    assert not any((changed / name).samefile(last / name) for name in files)
    weights = [FolderReader(path).read(("state_dict.b",))["state_dict"] for path in (last, changed)]
    assert torch.equal(weights[0]["b.weight"] + 1, weights[1]["b.weight"])


def test_nothing_is_pickled_and_tied_weights_are_written_once(unbroken: Path) -> None:
    files = sorted((unbroken / "last.ckpt").iterdir())
    assert {file.suffix for file in files} == {".json", ".safetensors"}
    found = [key for file in files[:-1] for key in safe_open(file, "pt").keys()]  # noqa: SIM118
    assert "state_dict.a.weight" in found
    assert "state_dict.c.weight" not in found


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 3])
def test_another_number_of_ranks_goes_on_from_the_same_state(
    world: int, unbroken: Path, tmp_path: Path
) -> None:
    subprocess.run(["cp", "-r", str(unbroken), str(tmp_path / "run")], check=True)
    (tmp_path / "run" / "end.pt").unlink()
    run(tmp_path / "run", world=world)  # all steps are done
    assert_equal(end(tmp_path / "run"), end(unbroken))


def assert_equal(mine: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert mine.keys() == other.keys()
    for name, value in mine.items():
        assert torch.equal(value, other[name]), name


def names(out: Path) -> set[str]:
    return {path.name for path in out.iterdir() if path.is_dir()}
