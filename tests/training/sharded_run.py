"""One rank of a small sharded run: `python sharded_run.py OUT WORLD HOW KILL`.

It goes on from OUT/last.ckpt if there is one. HOW is `background` or `foreground`.
KILL is `no`, or `SAVE:MOMENT`: rank 0 dies at that moment of that save.
"""

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader

from g2rpo import files, ranks
from g2rpo.policy.forward import full_tensor, local_tensor
from g2rpo.training import checkpoint_folder, sharded_checkpoints
from g2rpo.training.sharded_checkpoints import ShardedCheckpoints

STEPS = 6


class Late(ThreadPoolExecutor):
    """Begins everything so late that the next step would change the weights before."""

    def submit(self, function: Any, *arguments: Any) -> Any:
        def later() -> Any:
            time.sleep(0.1)
            return function(*arguments)

        return super().submit(later)


class Strategy(ShardedCheckpoints):
    def setup_environment(self) -> None:
        self._data_parallel_size, self._tensor_parallel_size = self.num_processes, 1
        super().setup_environment()


class Module(L.LightningModule):
    """The output layer is tied to the first one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(5, 7), nn.Linear(7, 5), nn.Linear(5, 7)
        self.c.weight = self.a.weight
        self.at: dict[int, torch.Tensor] = {}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.at[self.global_step] = full_tensor(self.b.weight).clone()

    def configure_model(self) -> None:
        fully_shard(self, mesh=self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=0.1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(self.global_step))
        self.a.weight  # noqa: B018
        loss = self(x).square().mean()
        self.log("loss", loss.detach())
        return loss

    def forward(self, x: Any) -> Any:
        return self.c(self.b(self.a(x).tanh()))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["mine"] = {"steps": (self.global_step, float("inf")), 3: torch.tensor([2.0])}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert checkpoint["mine"]["steps"] == (checkpoint["global_step"], float("inf"))
        assert torch.equal(checkpoint["mine"][3], torch.tensor([2.0]))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(save: int, moment: str) -> None:
    """Plant a kill into the writing of a checkpoint."""
    saves = 0
    writer: Any = checkpoint_folder._Writer
    write, put, rename = writer.write_data, checkpoint_folder.put_in_place, Path.rename

    def write_data(self: Any, *arguments: Any) -> Any:
        nonlocal saves
        saves += 1
        result = write(self, *arguments)
        if saves == save and moment == "written":
            die()
        return result

    def put_in_place(path: Path) -> None:
        if saves == save and moment == "finish":
            die()
        put(path)
        if saves == save and moment == "renamed":
            die()

    def renamed(own: Path, other: Path) -> Path:
        if (
            saves == save
            and moment == "between"
            and ".new" in own.name
            and files._old(other).exists()
        ):
            die()
        return rename(own, other)

    writer.write_data, Path.rename = write_data, renamed
    checkpoint_folder.put_in_place = put_in_place


def main(out: Path, world: int, how: str, kill: str) -> None:
    torch.set_num_threads(1)
    sharded_checkpoints.ThreadPoolExecutor = Late  # type: ignore[misc]
    if kill != "no" and os.environ["LOCAL_RANK"] == "0":
        kill_at(int(kill.split(":")[0]), kill.split(":")[1])
    callback = ModelCheckpoint(
        dirpath=out,
        filename="{step}",
        every_n_train_steps=1,
        save_last=True,
        save_top_k=2,
        monitor="loss",
        enable_version_counter=False,
    )
    trainer = L.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        devices=world,
        logger=False,
        callbacks=[callback],
        strategy=Strategy(background_saves=how == "background"),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    module, last = Module(), files.finish_replacing(out / "last.ckpt")
    trainer.fit(
        module,
        DataLoader(range(100)),
        ckpt_path=last if last.exists() else None,
        weights_only=True,
    )
    state = {name: full_tensor(value).clone() for name, value in module.state_dict().items()}
    for number, own in trainer.optimizers[0].state_dict()["state"].items():
        state |= {f"{number}.{name}": full_tensor(value).clone() for name, value in own.items()}
    if ranks.rank() == 0:
        torch.save(state, out / "end.pt")
        torch.save(module.at, out / "at.pt")
        kept = {name: float(score) for name, score in callback.best_k_models.items()}
        (out / "kept.json").write_text(json.dumps(kept))
    # after training: the same weights in a further checkpoint, then others at the same step
    trainer.save_checkpoint(out.with_name("after") / "same.ckpt")
    local_tensor(module.b.weight.detach()).add_(1.0)
    trainer.save_checkpoint(out.with_name("after") / "changed.ckpt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
