"""Messages over sockets: what arrives is what was sent, and nothing else is believed."""

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.wire import Wire


@pytest.fixture
def pair() -> Iterator[tuple[Wire, Wire]]:
    one, two = (Wire(end) for end in socket.socketpair())
    yield one, two
    one.close()
    two.close()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(PLAIN, st.lists(st.binary(max_size=99), max_size=3))
def test_a_message_arrives_as_it_was_sent(message: object, buffers: list[bytes]) -> None:
    one, two = (Wire(end) for end in socket.socketpair())
    one.send(message, buffers)
    one.send("next")
    assert two.receive() == (message, buffers)
    assert two.receive() == ("next", [])
    one.close()
    with pytest.raises(EOFError):
        two.receive()
    two.close()


def test_a_large_buffer_arrives_whole(pair: tuple[Wire, Wire]) -> None:
    one, two = pair
    large = bytes(range(256)) * 40_000
    sending = threading.Thread(target=one.send, args=({"a": 1}, [large, b"", b"x"]))
    sending.start()
    assert two.poll(5)
    assert two.receive() == ({"a": 1}, [large, b"", b"x"])
    sending.join()
    assert not two.poll(0)
    two.close()
    with pytest.raises(OSError, match="is closed"):
        two.poll(0)


@pytest.mark.parametrize(
    "data",
    [
        b"[1]",
        b"{}",
        b"[1, 2]",
        b"[1, [-1]]",
        b"[1, [2.5]]",
        b'[1, ["2"]]',
        b"[1, [99999999999999]]",
        b"\xff\xfe",
        b"[" * 4000,
    ],
)
def test_what_is_no_message_is_refused(data: bytes, pair: tuple[Wire, Wire]) -> None:
    one, two = pair
    one._socket.sendall(struct.pack("!I", len(data)) + data)
    with pytest.raises(OSError, match="expected"):
        two.receive(4096)
    one._socket.sendall(struct.pack("!I", 5000))
    two = pair[1]
    with pytest.raises(OSError, match="expected at most 4096 bytes, got 5000"):
        two.receive(4096)


def test_a_listener_admits_only_who_knows_the_key(tmp_path: Path) -> None:
    admitted: list[str] = []

    def admit(listener: socket.socket, count: int) -> None:
        for _ in range(count):
            wire = Wire(listener.accept()[0])
            try:
                wire.admit(b"key", 5.0)
                admitted.append(str(wire.receive()[0]))
            except (OSError, EOFError) as error:
                admitted.append(type(error).__name__)
            wire.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=admit, args=(listener, 3))
        serving.start()
        place = listener.getsockname()
        right = Wire.connect(place, b"key")
        right.send("hello")
        right.close()
        with pytest.raises((OSError, EOFError)):
            Wire.connect(place, b"wrong")
        without = Wire.connect(place)
        assert without.receive()[0].keys() == {"nonce"}
        without.send("hello")
        without.close()
        serving.join()
    assert admitted == ["hello", "ConnectionRefusedError", "ConnectionRefusedError"]


def test_nobody_at_a_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Wire.connect(str(tmp_path / "engine"))
