"""A run that was killed in a validation in mid-training makes up for it when it is resumed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.runs import metrics

from g2rpo.training.validation import Validation

WORDS = (
    "trainer.max_steps=3",
    "trainer.val_check_interval=1",
    "callbacks.checkpoint.every_n_train_steps=1",
    "eval.benchmarks=[chartqa]",
    "eval.rows=demo",
    "eval.limit=2",
)


@pytest.mark.slow
def test_the_validation_of_the_step_of_the_checkpoint_is_run(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(*WORDS, folder="whole")
    finish = Validation.finish

    def broken(self: Validation, trainer: Any) -> dict[str, float]:
        if trainer.global_step == 2:
            raise RuntimeError("killed here")
        return finish(self, trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Validation, "finish", broken)
        with pytest.raises(SystemExit):
            train(*WORDS, folder="killed")
    resumed = whole.parent / "killed"
    assert not (resumed / "heldout" / "step_2.jsonl").exists()
    train(*WORDS, f"resume={resumed}", folder="killed")
    for name in ("heldout/step_1.jsonl", "heldout/step_2.jsonl", "eval/step_2/chartqa.jsonl"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name
    for folder in (whole, resumed):
        assert [row["step"] for row in metrics(folder)] == ["0", "1", "2", "3"]
        assert (folder / "summary.json").exists()
    kept = [json.loads((f / "checkpoints/best/best.json").read_text()) for f in (whole, resumed)]
    assert kept[0] == kept[1]
    values = [[row["val/macro"] for row in metrics(folder)] for folder in (whole, resumed)]
    assert values[0] == values[1]
