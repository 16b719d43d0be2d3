"""Keep freed memory in the process instead of returning it to the system, on a CPU.

glibc maps every block of more than 128 KiB by itself at first and returns free memory from the top
of the heap. A training step allocates and frees the same tensors again and again, and the system
fills each new page with zeros: on a CPU that is several percent of a step
(`python perf/step.py --against trl`). Freed blocks of up to 32 MiB stay for the next step instead.
"""

import ctypes
import os

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Numbers of the parameters in glibc's malloc.h."""
SETTINGS = {
    MMAP_THRESHOLD: 32 * 2**20,  # glibc takes no more
    TRIM_THRESHOLD: 2**31 - 1,
    TOP_PAD: 64 * 2**20,
}


def keep_freed_memory() -> bool:
    """Set the thresholds of glibc's malloc; return whether they were set.

    Nothing is set without glibc, or if a `MALLOC_` variable sets the allocator already.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) for name, value in SETTINGS.items())
