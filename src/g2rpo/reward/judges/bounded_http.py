"""POST requests whose reply is bounded in size and time, and that follow no redirect."""

import http.client
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

LARGEST_REPLY = 1 << 20
"""Bytes of a reply that are read; a chat completion of a judge has a few thousand."""


class _NoRedirect(HTTPRedirectHandler):
    """Refuses redirects, because a redirect would send the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(url: str, content: bytes, headers: Mapping[str, str], timeout_s: float) -> bytes:
    """Return the body of the reply.

    Args:
        url: An http or https URL; the caller checks it.
        content: The body of the request.
        headers: The headers of the request.
        timeout_s: Longest pause in seconds without data; the whole body may take twice as long.

    Raises:
        HTTPError: The status is not 2xx; a redirect counts as an error.
        OSError: There is no connection, or no data in time.
        ValueError: The body has more than `LARGEST_REPLY` bytes.
    """
    request = Request(url, data=content, headers=dict(headers))  # noqa: S310  checked by the caller
    with build_opener(_NoRedirect).open(request, timeout=timeout_s) as response:
        return _whole(response, 2 * timeout_s)


def _whole(response: http.client.HTTPResponse, deadline_s: float) -> bytes:
    """Read a body of bounded size in bounded time.

    Raises:
        ValueError: The body has more than `LARGEST_REPLY` bytes.
        TimeoutError: It is not complete after `deadline_s` seconds.
    """
    end_s, body = time.monotonic() + deadline_s, bytearray()
    while piece := response.read1(1 << 16):
        body += piece
        if len(body) > LARGEST_REPLY:
            raise ValueError(f"the body has more than {LARGEST_REPLY:,} bytes")
        if time.monotonic() > end_s:
            raise TimeoutError(f"the body was not complete after {deadline_s:g} s")
    return bytes(body)


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
    """Return the first 300 bytes of the body of a refusal as text."""
    try:
        return error.read1(300).decode(errors="replace").strip()
    except OSError:
        return ""
