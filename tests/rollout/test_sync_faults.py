"""docs/explanations/sync_probe.md has the differences that the probe finds."""

import math
import re

import pytest
import sync_faults
import torch

from g2rpo.rollout.sync_probe import MAX_GAP, Gap, SyncProbe


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    return sync_faults.gaps()


def test_every_fault_stops_a_run_and_no_fault_does_not(found: dict[str, float]) -> None:
    goes_on = [name for name, nats in found.items() if sync_faults.verdict(nats) == "goes on"]
    assert goes_on == ["none"]
    assert found["none"] < 2e-5
    assert min(nats for name, nats in found.items() if name != "none") > 100 * sync_faults.MAX_NATS
    assert sum(nats < MAX_GAP[torch.bfloat16] for nats in found.values()) > len(found) / 2


def test_the_table_has_these_numbers_but_for_rounding(found: dict[str, float]) -> None:
    text = sync_faults.PAGE.read_text()
    rows = re.findall(r"^\| (.+) \| (\d\.\de-\d\d) \| (stops|goes on) \|$", text, re.M)
    assert [(name, said) for name, _, said in rows] == [
        (name, sync_faults.verdict(nats)) for name, nats in found.items()
    ]
    faults = [(float(nats), found[name]) for name, nats, said in rows if said == "stops"]
    assert all(math.isclose(*pair, rel_tol=0.1) for pair in faults), faults


def test_limits_and_message_of_the_page_are_those_of_the_probe() -> None:
    text = sync_faults.PAGE.read_text()
    rows = dict(re.findall(r"^\| (float32|float16|bfloat16) \| ([\d.e-]+) ", text, re.M))
    assert {f"torch.{name}": float(nats) for name, nats in rows.items()} == {
        str(dtype): nats for dtype, nats in MAX_GAP.items()
    }
    probe = SyncProbe(sampling=sync_faults.SAMPLING, max_gap=2e-4)
    gap = Gap(prompt_id="chart/17", position=5, engine=-0.41213, trainer=-0.90217)
    with pytest.raises(RuntimeError) as raised:
        probe.check(gap, "after step 3")
    assert str(raised.value) in " ".join(text.split())
