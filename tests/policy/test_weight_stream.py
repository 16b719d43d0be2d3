"""The policy's whole weights, one tensor at a time, and the folders that two ranks write."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_processes import move_adapter, run_ranks
from safetensors.torch import load_file

from g2rpo.policy.adapter import LoRA
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.export import save_adapter, save_checkpoint
from g2rpo.policy.weight_stream import full_tensor, full_tensors

pytestmark = pytest.mark.process


@pytest.fixture(scope="module", params=["whole", pytest.param("adapter", marks=pytest.mark.slow)])
def exported(
    request: pytest.FixtureRequest, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path]:
    """The policy in one process, and the folder that two ranks with its shards wrote to."""
    out = tmp_path_factory.mktemp("exported")
    run_ranks(Path(__file__).parent / "sharded_export.py", tiny_folder, out, request.param)
    policy = Checkpoint(path=str(tiny_folder)).policy()
    if request.param == "adapter":
        LoRA(rank=4, alpha=6).attach(policy)
        move_adapter(policy)
    return policy, out


def test_every_rank_sees_the_whole_weights_of_a_sharded_policy(exported: tuple[Any, Path]) -> None:
    policy, out = exported
    own = dict(full_tensors(policy))
    for rank in (0, 1):
        seen = torch.load(out / f"rank{rank}.pt")
        assert list(seen) == list(own)
        assert all(torch.equal(value, own[name]) for name, value in seen.items())


def test_two_ranks_write_the_folder_that_one_process_writes(
    exported: tuple[Any, Path], tiny_folder: Path, tmp_path: Path
) -> None:
    policy, out = exported
    encoder = Checkpoint(path=str(tiny_folder)).encoder()
    for dtype, shard_bytes in (("float32", 2**40), ("bfloat16", 400_000)):
        save_checkpoint(policy, encoder, tmp_path / dtype, dtype, shard_bytes=shard_bytes)
        mine, theirs = (
            {file.name: file.read_bytes() for file in (folder / dtype).iterdir()}
            for folder in (tmp_path, out)
        )
        assert mine == theirs
    if (out / "adapter").exists():
        save_adapter(policy, tmp_path / "adapter", base=str(tiny_folder))
        name = "adapter_model.safetensors"
        mine, theirs = (load_file(folder / "adapter" / name) for folder in (tmp_path, out))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[key]) for key, value in mine.items())
        configs = [
            json.loads((folder / "adapter" / "adapter_config.json").read_text())
            for folder in (tmp_path, out)
        ]
        assert configs[0] == configs[1] | {"target_modules": configs[0]["target_modules"]}


def test_an_error_of_the_writing_rank_is_one_on_both(exported: tuple[Any, Path]) -> None:
    for rank in (0, 1):
        assert json.loads((exported[1] / f"rank{rank}.json").read_text()).startswith("rank 0: ")


def test_weights_are_converted_one_at_a_time_and_those_of_the_policy_stay(policy: Any) -> None:
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    for name, value in full_tensors(policy, torch.bfloat16):
        assert value.dtype == torch.bfloat16
        assert torch.equal(value, before[name].bfloat16())
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    own = policy.lm_head.weight
    assert full_tensor(own) is own
