"""perf/sharded_memory.py measures what its tables say, on a model that needs seconds."""

import pytest
import sharded_memory
from sharded_memory import Held, Rank, Stage

pytestmark = [pytest.mark.process]


def test_a_peak_counts_from_before_the_stage_and_only_within_it() -> None:
    stages = [Stage(name="load", begin=1.0, end=2.0), Stage(name="step", begin=3.0, end=4.0)]
    mibs = {0.5: 10.0, 1.5: 70.0, 2.5: 40.0, 3.5: 90.0, 4.5: 500.0, 7.0: 80.0}
    held = [Held(at=at, uss=mib, pss=3 * mib) for at, mib in mibs.items()]
    rank = Rank(stages=[*stages, Stage(name="step", begin=6.0, end=9.0)], held=held)
    assert rank.peak("load") == 60.0
    assert rank.peak("load", size="pss") == 180.0
    assert rank.peak("step") == 50.0
    assert rank.peak("step", before="load") == 80.0
    assert rank.seconds("step") == 2.0


def test_a_stage_that_nobody_saw_counts_with_its_end() -> None:
    stage = Stage(name="load", begin=1.0, end=1.1, uss=70.0, pss=75.0)
    rank = Rank(stages=[stage], held=[Held(at=0.5, uss=10.0, pss=10.0)])
    assert (rank.peak("load"), rank.peak("load", size="pss")) == (60.0, 65.0)


@pytest.mark.slow
def test_a_sharded_model_needs_less_than_a_whole_one_and_its_export_little() -> None:
    words = ["--shape=small", "--ranks=2", "--repeats=1"]
    measured = sharded_memory.measure_all(sharded_memory.parser().parse_args(words))
    whole, sharded = measured.ranks["ddp", 2], measured.ranks["fsdp", 2]
    peaks = [max(one.peak("step", before="load") for one in ranks) for ranks in (whole, sharded)]
    # weights, gradients and moments of DDP; activations and gathered weights come on top
    assert peaks[0] > 4 * measured.weights
    assert 2 * measured.weights < peaks[1] < 0.9 * peaks[0]
    for rank in sharded:
        for size in ("uss", "pss"):
            assert rank.peak("load", size=size) < measured.weights / 2 + 200
    assert sharded[1].peak("export") <= 2 * measured.largest
    sharded_memory.show(measured)
