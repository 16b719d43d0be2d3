"""What processes listen on, from /proc/net."""

import ipaddress
import os
import struct
from collections.abc import Iterable
from pathlib import Path

LISTEN = "0A"


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    try:
        children = [
            int(child)
            for thread in Path(f"/proc/{pid}/task").iterdir()
            for child in (thread / "children").read_text().split()
        ]
    except FileNotFoundError:
        return []
    return [pid, *(member for child in children for member in family(child))]


def addresses(pids: Iterable[int]) -> dict[str, str]:
    """IP address of every TCP listener of some processes, by its inode."""
    held = {link for pid in pids for link in _descriptors(pid)}
    found = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == LISTEN and f"socket:[{cells[9]}]" in held:
                found[cells[9]] = _ip(cells[1].split(":")[0])
    return found


def _descriptors(pid: int) -> list[str]:
    links = []
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
            except FileNotFoundError:
                continue
    except FileNotFoundError:
        pass
    return links


def _ip(words: str) -> str:
    parts = [int(words[i : i + 8], 16) for i in range(0, len(words), 8)]
    return str(ipaddress.ip_address(struct.pack(f"={len(parts)}I", *parts)))
