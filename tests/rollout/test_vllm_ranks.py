"""Engines of vLLM beside two trainer processes, for real: one for each, or one that both share.
`make test-vllm` runs it.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from rank_processes import run_ranks

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]
SCRIPT = Path(__file__).parent / "vllm_ranks.py"
ALLOWED = 2e-4


@pytest.fixture(
    scope="module",
    params=[(1, "ddp"), (1, "fsdp"), (2, "fsdp"), (1, "lora")],
    ids=[
        "an engine each",
        "an engine each, sharded weights",
        "one engine, sharded weights",
        "an engine each, sharded weights, an adapter",
    ],
)
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What each of two ranks wrote down."""
    pytest.importorskip("vllm")
    out = tmp_path_factory.mktemp("ranks")
    run_ranks(SCRIPT, out, *request.param, timeout_s=900)
    found = [torch.load(out / f"rank{rank}.pt", weights_only=False) for rank in range(2)]
    assert {one["num_engines"] for one in found} == {2 // request.param[0]}
    return found


@pytest.mark.process
def test_log_probabilities_are_the_trainers_before_and_after_a_sync_and_after_a_restart(
    outcomes: list[dict[str, Any]],
) -> None:
    for one in outcomes:
        assert 0 < max(*one["gaps"], one["gap_after_death"]) <= ALLOWED
        assert 0 < one["row"]["rollout/sync_logprob_gap"] <= ALLOWED
        assert one["texts"][0] != one["texts"][1]


@pytest.mark.process
def test_every_prompt_has_its_whole_group_and_ranks_draw_differently(
    outcomes: list[dict[str, Any]],
) -> None:
    for one in outcomes:
        assert one["prompt"] == [row for row in range(5) for _ in range(3)]
        assert [len(texts) for texts in one["texts"]] == [15, 15]
    assert outcomes[0]["texts"] != outcomes[1]["texts"]


@pytest.mark.process
def test_a_killed_engine_is_restarted_and_writes_what_was_missing(
    outcomes: list[dict[str, Any]],
) -> None:
    first, second = outcomes
    died = first["num_engines"] == 2  # one that is shared is not killed: starting takes long
    assert first["same_after_death"]
    assert second["same_after_death"]
    assert first["row"] == second["row"]
    assert first["disturbed"] == second["disturbed"]
    assert (first["row"]["rollout/num_restarts"], first["row"]["rollout/num_regenerated"]) == (0, 0)
    assert first["disturbed"]["rollout/num_restarts"] == died
    assert first["disturbed"]["rollout/num_regenerated"] == 3 * died


@pytest.mark.process
def test_an_engine_without_the_new_weights_stops_every_rank_and_is_named(
    outcomes: list[dict[str, Any]],
) -> None:
    assert outcomes[0]["said"] == outcomes[1]["said"]
    assert outcomes[0]["said"].startswith("rank ")
    assert (
        "rollout.max_sync_gap: after step 2, engine and trainer give token" in outcomes[0]["said"]
    )
