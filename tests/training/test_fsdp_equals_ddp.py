"""Whole runs with sharded weights have the numbers of runs with whole weights on every rank."""

import csv
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from launch.launchers import ended, lightning, started, torchrun_nodes

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
SMOKE = (
    "experiment=smoke",
    "shaping=entropy_bounded",
    "batch.micro_batch_prompts=1",
    "batch.num_minibatches=2",
    "trainer.accelerator=cpu",
    "trainer.max_steps=4",
    "heldout=few",
)
ESTIMATORS = sorted(path.stem for path in (ROOT / "conf" / "advantage").glob("*.yaml"))
TIMES = ("time/", "throughput/", "memory/")
NEAR = 2e-5


Launch = Callable[[Sequence[str]], list[tuple[list[str], dict[str, str]]]]
Numbers = tuple[list[dict[str, str]], list[tuple[str, ...]]]
NODES = ("trainer.devices=2", "trainer.num_nodes=2")


def run(folder: Path, *overrides: str, launch: Launch = lightning) -> Numbers:
    """Return the rows of metrics.csv and the completions in a fixed order."""
    script = [str(ROOT / "train.py"), f"hydra.run.dir={folder}", *SMOKE, *overrides]
    done = ended(
        started(launch(script), folder.parent, {"WANDB_MODE": "offline"}),
        folder.parent,
        limit_s=600,
    )
    assert not any(done.codes), done.text[-5000:]
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = (folder / "completions.jsonl").read_text(encoding="utf-8").splitlines()
    completions = [json.loads(line) for line in lines]
    return rows, sorted(
        (str(one["step"]), one["prompt_id"], one["completion"]) for one in completions
    )


def assert_near(sharded: Numbers, whole: Numbers, *, but: tuple[str, ...] = TIMES) -> None:
    assert sharded[1] == whole[1]
    assert len(whole[1]) >= 16
    assert len(sharded[0]) == len(whole[0]) > 1
    for mine, expected in zip(sharded[0], whole[0], strict=True):
        assert mine.keys() == expected.keys()
        for name, value in expected.items():
            if name.startswith(but) or value == mine[name]:
                continue
            assert float(mine[name]) == pytest.approx(float(value), abs=NEAR), name


@pytest.mark.parametrize(
    ("ranks", "more"),
    [
        pytest.param(2, (), id="2"),
        pytest.param(4, (), id="4"),
        pytest.param(2, ("model/adapter=lora",), id="lora"),
        *(
            pytest.param(2, (f"advantage={name}", "trainer.max_steps=2"), id=name)
            for name in ESTIMATORS
            if name != "g2rpo"
        ),
    ],
)
def test_sharded_weights_give_the_same_metrics_and_completions(
    ranks: int, more: tuple[str, ...], tmp_path: Path
) -> None:
    whole, sharded = (
        run(tmp_path / name, f"trainer={name}", f"trainer.devices={ranks}", *more)
        for name in ("ddp", "fsdp")
    )
    assert_near(sharded, whole)


def test_two_nodes_that_each_hold_all_weights_have_the_same_numbers_and_resume(
    tmp_path: Path,
) -> None:
    whole = run(tmp_path / "ddp", "trainer=ddp", "trainer.devices=4")
    nodes = partial(torchrun_nodes, size=2)
    hybrid = ("trainer=fsdp", *NODES, "callbacks.checkpoint.every_n_train_steps=2")
    assert_near(run(tmp_path / "unbroken", *hybrid, launch=nodes), whole)
    parts = tmp_path / "parts"
    run(parts, *hybrid, "trainer.max_steps=2", launch=nodes)
    last = parts / "checkpoints" / "last.ckpt"
    assert len(list(last.glob("*.safetensors"))) > 1  # the shards of more than one rank
    resumed = run(parts, *hybrid, f"resume={parts}", launch=nodes)
    assert_near(resumed, whole, but=(*TIMES, "val/"))  # the first part was validated at its end
    final = Path("checkpoints", "final", "model.safetensors")
    assert (tmp_path / "unbroken" / final).read_bytes() == (parts / final).read_bytes()
