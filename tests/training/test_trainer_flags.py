"""Flags of Lightning's Trainer that could not have their effect end the run by name, before
anything is loaded.
"""

from collections.abc import Callable
from typing import Any

import pytest

from g2rpo.training.parts import build_parts
from g2rpo.training.trainer_flags import check_trainer


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+trainer.gradient_clip_val=1.0", r"trainer\.gradient_clip_val=1\.0: .*set max_grad_norm"),
        (
            "+trainer.gradient_clip_algorithm=norm",
            r"trainer\.gradient_clip_algorithm=norm: .*max_grad_norm",
        ),
        (
            "+trainer.accumulate_grad_batches=4",
            r"trainer\.accumulate_grad_batches=4: .*batch\.micro_",
        ),
        (
            "+trainer.callbacks=[{_target_: x.Y}]",
            r"trainer\.callbacks=.*use \+callbacks\.<name>\._target_",
        ),
        ("+trainer.logger=false", r"trainer\.logger=False: .*logger=\[csv,tensorboard\]"),
        ("+trainer.barebones=true", r"trainer\.barebones=True: .*fast_dev_run"),
        ("+trainer.overfit_batches=1", r"trainer\.overfit_batches=1: .*endless stream"),
        (
            "trainer.precision=bf16-true",
            r"trainer\.precision: .*got bf16-true; .*bf16-mixed .*optimizer=adamw_kahan",
        ),
        ("trainer.precision=16-mixed", r"trainer\.precision: expected one of .*, got 16-mixed"),
        (
            "+trainer.strategy=fsdp",
            r"trainer\.strategy: expected one of auto, ddp, single_device, got fsdp",
        ),
    ],
)
def test_a_flag_without_effect_is_refused_with_what_to_use_instead(
    composed: Callable[..., Any], override: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_parts(composed("run_dir=somewhere", override))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("optimizer=adamw_8bit",),
            r"optimizer=adamw_8bit: expected trainer=auto or trainer=ddp, got trainer=fsdp",
        ),
        (
            ("optimizer=adamw_kahan", "optimizer.triton=true"),
            r"optimizer\.triton: expected false with trainer=fsdp, got true",
        ),
    ],
)
def test_an_optimizer_that_cannot_update_shards_is_refused_only_with_them(
    composed: Callable[..., Any], overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_parts(composed("run_dir=somewhere", "trainer=fsdp", *overrides))
    build_parts(composed("run_dir=somewhere", "trainer=ddp", *overrides))
    build_parts(composed("run_dir=somewhere", "trainer=fsdp", "optimizer=adamw_kahan"))


def test_flags_that_work_pass() -> None:
    check_trainer(
        {
            "max_steps": 3,
            "precision": "32-true",
            "strategy": "ddp",
            "accumulate_grad_batches": 1,
            "gradient_clip_val": None,
        }
    )
    check_trainer({"precision": "bf16-mixed"})
    check_trainer(
        {
            "max_time": "00:01:00",
            "fast_dev_run": True,
            "limit_val_batches": 1,
            "val_check_interval": 0.25,
        }
    )
