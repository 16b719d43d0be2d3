"""Every estimator against the numbers of the released implementation of its paper."""

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

ROOT = Path(__file__).parents[3]
VECTORS = ROOT.parent / "shared" / "vectors" / "advantages.jsonl"
ROWS = [json.loads(line) for line in VECTORS.read_text().splitlines()] if VECTORS.exists() else []

pytestmark = pytest.mark.skipif(
    not ROWS,
    reason="needs the reference numbers in ../shared/vectors, which are not part of the repository",
)


def labels(names: list[str]) -> Tensor:
    known = sorted(set(names))
    return torch.tensor([known.index(name) for name in names])


def arguments(batch: dict, dtype: torch.dtype) -> dict:
    parts = {
        name: torch.tensor(values, dtype=dtype)
        for name, values in batch.get("components", {}).items()
    }
    lengths = batch.get("completion_lengths")
    return {
        "rewards": torch.tensor(batch["rewards"], dtype=dtype),
        "groups": labels(batch["group_ids"]),
        "tasks": labels(batch["task_ids"]),
        "parts": parts or None,
        "completion_tokens": None if lengths is None else torch.tensor(lengths),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['estimator']}-{row['id']}")
def test_released_implementation_gives_the_same_advantages(row: dict, dtype: torch.dtype) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose(f"advantage/{row['estimator']}").advantage
    as_released = {"zero_signal": "keep"} if row["estimator"].startswith("g2rpo") else {}
    estimator = instantiate(config, _convert_="all", **row["params"], **as_released)
    for batch in row.get("sequence", [row]):
        expected = torch.tensor(batch["expected"], dtype=dtype)
        torch.testing.assert_close(
            estimator(**arguments(batch, dtype)), expected, atol=row.get("tolerance", 1e-3), rtol=0
        )
