import math
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from g2rpo.reward.judges.bounded_http import post, retry_after_s

DRIP_S = 0.2
HELLO = b"\x16\x03\x03\x3f\xff" + b"\x02" * 10_000
"""The beginning of a TLS handshake that does not end."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost that it has signed itself, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    words += ["-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path)]
    words += ["-out", str(path.with_suffix(".crt"))]
    subprocess.run(words, check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def dripping(certificate: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of https whose handshake, head or body comes in single bytes."""
    listener = socket.create_server(("localhost", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve() -> None:
        with suppress(OSError):
            plain, _ = listener.accept()
            if request.param == "handshake":
                _drip(plain, HELLO)
                return
            secure = context.wrap_socket(plain, server_side=True)
            secure.recv(1 << 16)
            if request.param == "body":
                secure.sendall(HEAD)
            _drip(secure, HEAD if request.param == "head" else b" " * 10_000)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://localhost:{listener.getsockname()[1]}/chat/completions"
    listener.close()
    thread.join(5.0)
    assert not thread.is_alive()  # the connection was closed


def _drip(connection: socket.socket, data: bytes) -> None:
    with connection:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(DRIP_S)


@pytest.mark.parametrize("dripping", ["handshake", "head", "body"], indirect=True)
def test_an_https_judge_that_drips_is_left_at_the_deadline(
    dripping: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    begun_s = time.monotonic()
    with pytest.raises(OSError, match=r"not complete after 1 s|timed out"):
        post(dripping, b"{}", {}, timeout_s=0.5)
    assert time.monotonic() - begun_s < 5.0


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, 0.0), ("2.5", 2.5), ("-3", 0.0), ("nan", 0.0), ("inf", math.inf), ("soon", 0.0)],
)
def test_a_retry_after_header_is_seconds_or_nothing(header: str | None, expected: float) -> None:
    assert retry_after_s(header) == expected


def test_a_date_in_the_past_asks_for_no_pause() -> None:
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
