"""Checkpoints of a run whose weights are sharded (`trainer=fsdp`), as Lightning asks for them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor

from g2rpo import ranks
from g2rpo.files import finish_replacing
from g2rpo.policy.adapter import is_adapter
from g2rpo.training.checkpoint_folder import (
    FolderReader,
    is_checkpoint_folder,
    link_folder,
    save_folder,
)
from g2rpo.training.plain_values import split_tensors

WEIGHTS, OPTIMIZERS = "state_dict.", "optimizer_states."
"""How the names of these tensors begin in a checkpoint folder."""


class ShardedCheckpoints(ModelParallelStrategy):
    """A strategy that saves every checkpoint as a folder (`checkpoint_folder`).

    Lightning's own strategy overwrites a folder in place: a kill in between leaves shards of two
    steps, which load as a mixture.

    Args:
        **kwargs: Arguments of Lightning's `ModelParallelStrategy`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._saved: tuple[tuple[int, int], Path] | None = None
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
        """Write a checkpoint folder; all ranks call this.

        A second checkpoint of the same weights, such as `last.ckpt`, shares the files of the first.
        """
        path = Path(self.broadcast(str(filepath)))
        version = self._version()
        if self._saved is not None and self._saved[0] == version and self._saved[1] != path:
            source, text = self._saved[1], split_tensors(checkpoint)[0]
            with ranks.raise_on_all_ranks():
                if self.is_global_zero:
                    link_folder(path, source, text)
            return
        save_folder(path, checkpoint)
        self._saved = (version, path)

    def remove_checkpoint(self, filepath: Any) -> None:
        """Remove a checkpoint; all ranks call this."""
        path = Path(filepath)
        if self._saved is not None and self._saved[1] == path:
            self._saved = None
        with ranks.raise_on_all_ranks():
            if self.is_global_zero:
                shutil.rmtree(finish_replacing(path), ignore_errors=True)

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

    def _version(self) -> tuple[int, int]:
        """Return two numbers that change when weights do."""
        module = self.lightning_module
        assert module is not None
        locals_ = (p.to_local() if isinstance(p, DTensor) else p for p in module.parameters())
        return module.global_step, sum(value._version for value in locals_)

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
