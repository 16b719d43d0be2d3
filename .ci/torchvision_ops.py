"""Lets a torchvision built for CUDA be imported beside a torch built for the CPU. `make test-vllm`
puts it into its environment.

pip finds torchvision on PyPI, where it is built for CUDA. Its compiled operators cannot be loaded
beside a CPU build of torch, and torchvision, which describes two of them when it is imported,
fails. Both are declared just before, so that it finds what it describes; nothing that prepares
images calls them. A torchvision that fits torch is left alone.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class BeforeTorchvision:
    """An import hook that finds nothing itself: it acts when torchvision is asked for, and
    leaves.
    """

    kept: object = None
    """The declarations live as long as this."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        """Called by Python for every import."""
        if name != "torchvision":
            return
        sys.meta_path.remove(self)
        import torch

        files = [
            file
            for folder in sys.path
            if (file := Path(folder or ".") / "torchvision" / "version.py").is_file()
        ]
        if (
            files
            and torch.version.cuda is None
            and re.search(r"__version__ = '[^']*\+cu", files[0].read_text())
        ):
            library = torch.library.Library("torchvision", "FRAGMENT")
            for schema in SCHEMAS:
                library.define(schema)
            BeforeTorchvision.kept = library


sys.meta_path.insert(0, BeforeTorchvision())
