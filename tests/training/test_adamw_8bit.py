"""The sentence where torchao is not installed; `perf/precision.py` measures it where it is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from g2rpo.training import adamw_8bit
from g2rpo.training.parts import build_algorithm


def test_without_torchao_the_choice_says_what_to_install(
    composed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adamw_8bit, "find_spec", lambda name: None)
    make = build_algorithm(composed("optimizer=adamw_8bit"), ("math",)).optimizer
    with pytest.raises(ValueError, match=r"optimizer=adamw_8bit: expected torchao.*-e \.\[8bit\]"):
        make([torch.nn.Parameter(torch.ones(1))])
