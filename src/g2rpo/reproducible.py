"""Settings that make runs with the same seed on the same machine give the same numbers.

Three things change the last bits of a sum between runs, and such a bit can change a completion:

- On a CPU with several threads, the backward pass of `x[rows]` adds in thread order if `rows` has
  duplicates.
- MKL may use fewer threads than it is given (`MKL_DYNAMIC`), which splits a sum differently.
- MKL may distribute parts of a matrix product to threads dynamically.

`perf/reproducible.py` measures the cost of these settings.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def reproducible() -> Iterator[None]:
    """Make results depend only on inputs, machine and number of threads inside this block.

    On a machine with a GPU, PyTorch's deterministic mode stays off, because some CUDA operations
    have no deterministic implementation; `+trainer.deterministic=true` turns it on. `MKL_CBWR` only
    has an effect before the first MKL call. A value that is already set is kept.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO")
    import torch  # here: its import takes a second, which `--help` should not wait for

    deterministic: Any = torch.utils.deterministic  # type checkers do not see its attributes

    torch.set_num_threads(torch.get_num_threads())  # a fixed number, and with it MKL_DYNAMIC=FALSE
    before = torch.are_deterministic_algorithms_enabled(), deterministic.fill_uninitialized_memory
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(True)
        deterministic.fill_uninitialized_memory = False  # a slow debugging help
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        deterministic.fill_uninitialized_memory = before[1]
