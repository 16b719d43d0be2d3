"""Messages between processes over a socket: JSON and raw bytes, nothing that runs code when read.

A message is one frame:

    4 bytes   length of the header, big-endian
    header    JSON in UTF-8: [message, [n1, n2, ...]]
    n1 bytes, n2 bytes, ...   buffers, such as the pixels of images

Whoever connects proves that it knows the listener's key: the listener sends `{"nonce": ...}`, and
the other side answers `{"proof": HMAC-SHA256 of the nonce}` before anything else.
"""

import hmac
import json
import operator
import os
import secrets
import socket
import struct
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any, Self

LENGTH = struct.Struct("!I")
HEADER_BYTES, BUFFER_BYTES = 2**30, 2**33
"""Largest header and largest buffers of a message, in bytes."""
STRANGER_BYTES = 2**12
"""Largest message in bytes of somebody who has not proven the key."""


def private_listener(path: str) -> socket.socket:
    """Listen at a path that only this user can connect to (mode 0600)."""
    before = os.umask(0o177)
    try:
        return socket.create_server(path, family=socket.AF_UNIX)
    finally:
        os.umask(before)


class Wire:
    """One end of a connection.

    `send` may be called by one thread at a time, and so may `receive`.

    Args:
        connected: A connected socket.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    @classmethod
    def connect(
        cls, address: str | tuple[str, int], key: bytes | None = None, timeout_s: float = 10.0
    ) -> Self:
        """Connect to a listener.

        Args:
            address: Path of a socket of this machine, or host and port.
            key: The listener's key; None if the system protects the path.
            timeout_s: Seconds in which it must answer. With a key, later messages must also
                come whole within this time once they have begun.

        Raises:
            OSError: if nobody listens there, or the listener refuses.
        """
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if isinstance(address, tuple):
            connected = socket.create_connection(address, timeout_s)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            connected = socket.socket(family, socket.SOCK_STREAM)
        wire = cls(connected)
        try:
            connected.settimeout(timeout_s)
            if isinstance(address, str):
                connected.connect(address)
            if key is not None:
                challenge, _ = wire.receive(STRANGER_BYTES)
                wire.send({"proof": _proof(key, challenge["nonce"])})
                welcome, _ = wire.receive(STRANGER_BYTES)
                if welcome != "welcome":
                    raise ConnectionRefusedError("the listener has another key")
            else:
                connected.settimeout(None)
        except BaseException:
            wire.close()
            raise
        return wire

    def admit(self, key: bytes, timeout_s: float) -> None:
        """Let the other side prove that it knows the key.

        Later messages must also come whole within this time once they have begun.

        Raises:
            OSError: if it does not in time.
        """
        self._socket.settimeout(timeout_s)
        nonce = secrets.token_hex(32)
        self.send({"nonce": nonce})
        answer, _ = self.receive(STRANGER_BYTES)
        proof = answer.get("proof") if isinstance(answer, dict) else None
        if not isinstance(proof, str) or not hmac.compare_digest(
            proof.encode(), _proof(key, nonce).encode()
        ):
            raise ConnectionRefusedError("the other side does not know the key")
        self.send("welcome")

    def fileno(self) -> int:
        """Return the file descriptor, for `select`."""
        return self._socket.fileno()

    def poll(self, timeout_s: float) -> bool:
        """Return whether something can be received within so many seconds.

        Raises:
            OSError: if this end is closed.
        """
        if self.fileno() < 0:
            raise ConnectionError("this end of the connection is closed")
        return bool(wait([self._socket], timeout_s))

    def send(self, message: Any, buffers: Sequence[bytes] = ()) -> None:
        """Send a message.

        Args:
            message: Anything that JSON knows.
            buffers: Raw bytes that belong to it.

        Raises:
            OSError: if the other side is gone.
        """
        header = json.dumps([message, [len(buffer) for buffer in buffers]]).encode()
        self._socket.sendall(LENGTH.pack(len(header)) + header)
        for buffer in buffers:
            self._socket.sendall(buffer)

    def receive(self, most_bytes: int = HEADER_BYTES) -> tuple[Any, list[bytes]]:
        """Return the next message and its buffers.

        Args:
            most_bytes: Largest header to accept.

        Raises:
            EOFError: if the other side has closed the connection.
            OSError: if the connection is lost, or if what comes is no message.
        """
        (length,) = LENGTH.unpack(self._bytes(LENGTH.size))
        if length > most_bytes:
            raise ConnectionAbortedError(f"expected at most {most_bytes} bytes, got {length}")
        try:
            message, sizes = json.loads(self._bytes(length))
            buffers = [operator.index(size) for size in sizes]
        except (ValueError, TypeError, RecursionError) as error:
            raise ConnectionAbortedError(f"expected a message, got {error}") from error
        if min(buffers, default=0) < 0 or sum(buffers) > min(BUFFER_BYTES, 8 * most_bytes):
            raise ConnectionAbortedError("expected buffers of a usual size")
        return message, [self._bytes(size) for size in buffers]

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def keep_alive(self) -> None:
        """Let the system notice within 30 s that the other machine is lost."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def _bytes(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._socket.recv(min(count - len(data), 2**20))
            if not part:
                raise EOFError("the other side has closed the connection")
            data += part
        return bytes(data)


def _proof(key: bytes, nonce: str) -> str:
    return hmac.new(key, nonce.encode(), "sha256").hexdigest()
