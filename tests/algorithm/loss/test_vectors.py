"""Losses, gradients and KL estimates against the numbers of the released implementation."""

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

ROOT = Path(__file__).parents[3]
VECTORS = ROOT.parent / "shared" / "vectors" / "losses.jsonl"
ROWS = [json.loads(line) for line in VECTORS.read_text().splitlines()] if VECTORS.exists() else []
OPTIONS = {
    "clip_low": "clip_ratio_low",
    "clip_high": "clip_ratio_high",
    "dual_clip": "dual_clip",
} | {name: name for name in ("tau_positive", "tau_negative", "aggregation")}

pytestmark = pytest.mark.skipif(
    not ROWS,
    reason="needs the reference numbers in ../shared/vectors, which are not part of the repository",
)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['loss']}-{row['id']}")
def test_released_implementation_gives_the_same_loss_gradient_and_kl(
    row: dict, estimator: str
) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose(f"loss/{row['loss']}").loss
    options = {ours: row[theirs] for theirs, ours in OPTIONS.items() if ours in config}
    loss = instantiate(config, _convert_="all", **options, kl_estimator=estimator)
    logprobs = torch.tensor(row["logprobs"], requires_grad=True)
    old, ref = torch.tensor(row["old_logprobs"]), torch.tensor(row["ref_logprobs"])
    value, stats = loss(
        logprobs, old, torch.tensor(row["advantages"]), torch.tensor(row["mask"]), ref_logprobs=ref
    )
    value.backward()
    assert value.item() == pytest.approx(row["expected_loss"], abs=1e-4)
    torch.testing.assert_close(logprobs.grad, torch.tensor(row["expected_grad"]), atol=1e-4, rtol=0)
    assert stats["kl"].item() == pytest.approx(row["expected_kl"][estimator], abs=1e-4)
