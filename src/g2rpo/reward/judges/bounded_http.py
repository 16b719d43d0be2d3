"""POST requests whose reply is bounded in size and time, and that follow no redirect."""

import http.client
import io
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

LARGEST_REPLY = 1 << 20
"""Bytes of a reply that are read; a chat completion of a judge has a few thousand."""


class _NoRedirect(HTTPRedirectHandler):
    """Refuses redirects, because a redirect would send the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Deadline:
    """Ends the connections of a request after some seconds, even if bytes still drip from them.

    Leaving the context raises `TimeoutError` if the time was up.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.passed = seconds, False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        for own in self._sockets:
            own.close()
        if self.passed:
            raise TimeoutError(f"the reply was not complete after {self.seconds:g} s")

    def connect(self, *address: Any, **options: Any) -> socket.socket:
        """Return a new connection, and remember it by a duplicate, which TLS does not replace."""
        made = socket.create_connection(*address, **options)
        self._sockets.append(made.dup())
        if self.passed:
            self._end()
        return made

    def _end(self) -> None:
        self.passed = True
        for own in self._sockets:
            with suppress(OSError):  # closed meanwhile
                own.shutdown(socket.SHUT_RDWR)


class _Http(HTTPHandler, HTTPSHandler):
    """Opens connections that end at a deadline."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self.deadline = deadline

    def http_open(self, request: Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connection, http.client.HTTPConnection), request)

    def https_open(self, request: Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connection, http.client.HTTPSConnection), request)

    def _connection(self, kind: Any, host: str, **options: Any) -> Any:
        made = kind(host, **options)
        made._create_connection = self.deadline.connect
        return made


def post(url: str, content: bytes, headers: Mapping[str, str], timeout_s: float) -> bytes:
    """Return the body of the reply.

    Args:
        url: An http or https URL; the caller checks it.
        content: The body of the request.
        headers: The headers of the request.
        timeout_s: Longest pause in seconds without data; the whole exchange, from the connection
            to the last byte, may take twice as long.

    Raises:
        HTTPError: The status is not 2xx; a redirect counts as an error.
        OSError: There is no connection, or no data in time.
        ValueError: The body has more than `LARGEST_REPLY` bytes.
    """
    request = Request(url, data=content, headers=dict(headers))  # noqa: S310  checked by the caller
    with _Deadline(2 * timeout_s) as deadline:
        try:
            with build_opener(_NoRedirect, _Http(deadline)).open(
                request, timeout=timeout_s
            ) as response:
                return _whole(response)
        except HTTPError as error:  # its body is read here, where the deadline holds
            body = io.BytesIO(_first(error))
            raise HTTPError(error.url, error.code, error.reason, error.headers, body) from None


def _whole(response: http.client.HTTPResponse) -> bytes:
    """Read a body. Raises `ValueError` if it has more than `LARGEST_REPLY` bytes."""
    body = bytearray()
    while piece := response.read1(1 << 16):
        body += piece
        if len(body) > LARGEST_REPLY:
            raise ValueError(f"the body has more than {LARGEST_REPLY:,} bytes")
    return bytes(body)


def _first(error: HTTPError) -> bytes:
    try:
        return error.read1(300)
    except (OSError, http.client.HTTPException):
        return b""


def retry_after_s(value: str | None) -> float:
    """Return the seconds that a Retry-After header asks for, as a number or as a date."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value or "").timestamp() - time.time())
    except ValueError:
        return 0.0


def beginning(error: HTTPError) -> str:
    """Return the first 300 bytes of the body of an HTTP error as text."""
    return error.read1(300).decode(errors="replace").strip()
