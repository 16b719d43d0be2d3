"""Checkpoints of a run whose weights are sharded (`trainer=fsdp`), as Lightning asks for them."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor

from g2rpo import ranks
from g2rpo.files import finish_replacing
from g2rpo.policy.adapter import is_adapter
from g2rpo.policy.forward import local_tensor
from g2rpo.training.checkpoint_folder import (
    BackgroundSave,
    FolderReader,
    is_checkpoint_folder,
    link_folder,
    save_folder,
)
from g2rpo.training.plain_values import split_tensors

WEIGHTS, OPTIMIZERS = "state_dict.", "optimizer_states."
"""How the names of these tensors begin in a checkpoint folder."""


def save_at_once(trainer: L.Trainer, path: Path | str, ready: dict[str, Any] | None = None) -> None:
    """Write a checkpoint as Lightning's `save_checkpoint` does, and wait until it is in place.

    All ranks call this, such as before they end the run.

    Args:
        trainer: The trainer.
        path: Path of the checkpoint.
        ready: Its content; the present state if None.
    """
    if ready is None:
        trainer.save_checkpoint(path)
    else:
        trainer.strategy.save_checkpoint(ready, path)
        trainer.strategy.barrier("save_at_once")
    if isinstance(trainer.strategy, ShardedCheckpoints):
        trainer.strategy.finish_saving()


class ShardedCheckpoints(ModelParallelStrategy):
    """A strategy that saves every checkpoint as a folder (`checkpoint_folder`).

    Lightning's own strategy overwrites a folder in place: a kill in between leaves shards of two
    steps, which load as a mixture.

    Args:
        background_saves: Whether checkpoints of a training run are copied to CPU memory and written
            while training goes on. Only the next optimizer step waits for the copies. A checkpoint
            appears at the beginning of the first rollout batch after the last rank has written it,
            and older ones are removed only then.
        **kwargs: Arguments of Lightning's `ModelParallelStrategy`.
    """

    def __init__(self, *, background_saves: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.background_saves = background_saves
        self._threads: ThreadPoolExecutor | None = None
        """Writes in the background while batches are trained on."""
        self._saving: BackgroundSave | None = None
        self._afterwards: list[Callable[[], None]] = []
        """What rank 0 does when the save in progress is complete."""
        self._saved: tuple[list[int], Path] | None = None
        """Version of the weights in the latest checkpoint, and its folder."""
        self._reader: FolderReader | None = None

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Let Lightning call `load_optimizer_state_dict`."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Tensor]:
        """Return this rank's shards; tied weights are the same object."""
        module = self.lightning_module
        assert module is not None
        state, first = module.state_dict(), dict[int, str]()
        for name, parameter in module.named_parameters(remove_duplicate=False):
            state[name] = state[first.setdefault(id(parameter), name)]
        return state

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Return this rank's shards of the optimizer state."""
        own = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        state: dict[str, Any] = own.state_dict()
        return state

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint folder, or begin to; all ranks call this.

        A second checkpoint of the same weights, such as `last.ckpt`, shares the files of the first.
        """
        path = Path(self.broadcast(str(filepath)))
        version = self._version()
        if self._saved is not None and self._saved[0] == version and self._saved[1] != path:
            source, text = self._saved[1], split_tensors(checkpoint)[0]
            self._when_saved(lambda: link_folder(path, source, text))
            return
        self.finish_saving()
        self._saving = save_folder(path, checkpoint, self._threads)
        self._saved = (version, path)

    def remove_checkpoint(self, filepath: Any) -> None:
        """Remove a checkpoint, after the save in progress; all ranks call this."""
        path = Path(filepath)
        if self._saved is not None and self._saved[1] == path:
            self._saved = None
        self._when_saved(lambda: shutil.rmtree(finish_replacing(path), ignore_errors=True))

    def finish_saving(self) -> None:
        """Wait for the save in progress, if there is one; all ranks call this.

        Raises:
            RuntimeError: if a rank could not write the checkpoint.
        """
        saving, self._saving = self._saving, None
        later, self._afterwards = self._afterwards, []
        if saving is None:
            return
        saving.complete()
        with ranks.raise_on_all_ranks():
            if self.is_global_zero:
                for act in later:
                    act()

    def on_train_start(self) -> None:
        """Save in the background from now on, if that is wanted."""
        super().on_train_start()
        if self.background_saves:
            self._threads = ThreadPoolExecutor(1, "checkpoint")

    def optimizer_step(self, *args: Any, **kwargs: Any) -> Any:
        """Change weights and optimizer state once the save in progress has copied them."""
        if self._saving is not None:
            self._saving.wait_until_copied()
        return super().optimizer_step(*args, **kwargs)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Complete a save that all ranks have written meanwhile."""
        super().on_train_batch_start(batch, batch_idx)
        if self._saving is not None and self._saving.is_written():
            self.finish_saving()

    def on_train_end(self) -> None:
        """Wait for the last save; later ones are not in the background."""
        super().on_train_end()
        self._threads = None
        self.finish_saving()

    def _when_saved(self, act: Callable[[], None]) -> None:
        """Let rank 0 act after the save in progress, or now if there is none."""
        if self._saving is not None:
            self._afterwards.append(act)
            return
        with ranks.raise_on_all_ranks():
            if self.is_global_zero:
                act()

    def load_checkpoint(
        self, checkpoint_path: Any, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Return the plain values of a checkpoint; the hooks below read weights and optimizers.

        Raises:
            ValueError: if it is not a folder that a sharded run wrote.
        """
        path = finish_replacing(Path(self.broadcast(str(checkpoint_path))))
        if not is_checkpoint_folder(path):
            raise ValueError(
                f"{path}: expected a checkpoint folder of a run with trainer=fsdp, got"
                f" {'a file' if path.is_file() else 'none'}; resume with the trainer of that run"
            )
        self._reader = FolderReader(path)
        rest = tuple(n for n in self._reader.shapes if not n.startswith((WEIGHTS, OPTIMIZERS)))
        checkpoint: dict[str, Any] = self._reader.read(rest) if rest else self._reader.state
        return checkpoint

    def load_model_state_dict(self, checkpoint: Any, strict: bool = True) -> None:
        """Read the weights into the model; of LoRA, the adapter's."""
        assert self._reader is not None
        only_adapter = bool(checkpoint.get("adapter"))
        wanted = {
            name: value
            for name, value in self.lightning_module_state_dict().items()
            if is_adapter(name) or not only_adapter
        }
        once = {id(value): name for name, value in reversed(wanted.items())}
        self._reader.read_into({WEIGHTS + name: wanted[name] for name in once.values()})

    def load_optimizer_state_dict(self, checkpoint: Any) -> None:
        """Read the optimizer states, sharded like the parameters."""
        assert self._reader is not None
        like = dict(self._parameters(self._reader))
        states = self._reader.read((OPTIMIZERS,), like)["optimizer_states"]
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)

    def _version(self) -> list[int]:
        """Return numbers that change when weights do, the same on all ranks."""
        module = self.lightning_module
        assert module is not None
        shards = [local_tensor(value.detach()) for value in module.parameters()]
        hashes = [torch.hash_tensor(shard).item() for shard in shards if shard.numel()]
        return ranks.all_gather_list([module.global_step, *hashes])

    def _parameters(self, reader: FolderReader) -> Iterator[tuple[str, Tensor]]:
        """Yield, for every sharded optimizer state of a checkpoint, the parameter it belongs to."""
        for number, optimizer in enumerate(self.optimizers):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            for name, (shape, _) in reader.shapes.items():
                start = f"{OPTIMIZERS}{number}.state."
                if not name.startswith(start):
                    continue
                parameter = parameters[int(name.removeprefix(start).split(".")[0])]
                if isinstance(parameter, DTensor) and parameter.shape == shape:
                    yield name, parameter.detach()
