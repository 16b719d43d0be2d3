"""Blocks that are freed and allocated again cost no page faults."""

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource
from g2rpo.allocator import keep_freed_memory

print(keep_freed_memory())
faults = []
for _ in range(4):
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    block = b"1" * (20 * 2**20)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults[1])
"""


def faults(**variables: str) -> tuple[str, int]:
    """Return whether thresholds were set, and the page faults of three blocks of 20 MiB."""
    inherited = {key: value for key, value in os.environ.items() if "MALLOC" not in key}
    said = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return said[0], int(said[1])


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is the C library of Linux")
def test_a_block_that_was_freed_is_used_again() -> None:
    was_set, few = faults()
    assert was_set == "True"
    kept, many = faults(MALLOC_MMAP_THRESHOLD_="131072")
    assert kept == "False"
    pages = 20 * 2**20 // os.sysconf("SC_PAGE_SIZE")
    assert few < 0.1 * pages
    assert many > 2 * pages
