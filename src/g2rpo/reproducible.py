"""Same seed, same machine, same numbers: settings that keep a run's arithmetic from depending on
the moment.

Three things change the last bits of a sum from one run to the next, and training turns a last bit
into another completion:

- On a CPU with several threads, the backward pass of `x[rows]` adds in the order in which threads
arrive, if `rows` repeats.
- MKL may use fewer threads than it was given (`MKL_DYNAMIC`), and so cut a sum into other parts.
- MKL may hand out parts of a matrix product as threads become free.

`perf/reproducible.py` measures what the settings cost.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def reproducible() -> Iterator[None]:
    """Make the arithmetic inside the block a function of its inputs, the machine and the number of
    threads.

    On a machine with a GPU, PyTorch's deterministic mode stays off because some CUDA operations
    have no deterministic form: `+trainer.deterministic=true` turns it on. The variable `MKL_CBWR`
    has an effect only before the first call of MKL; a value that is already set is kept. It does
    not change which instructions MKL uses.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO")
    import torch  # here: its import takes a second, which `--help` should not wait for

    deterministic: Any = (
        torch.utils.deterministic
    )  # its attributes are set by name, which type checkers do not see

    torch.set_num_threads(torch.get_num_threads())  # a fixed number, and with it MKL_DYNAMIC=FALSE
    before = torch.are_deterministic_algorithms_enabled(), deterministic.fill_uninitialized_memory
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(True)
        deterministic.fill_uninitialized_memory = (
            False  # a help in debugging that costs time; nothing here reads such memory
        )
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        deterministic.fill_uninitialized_memory = before[1]
