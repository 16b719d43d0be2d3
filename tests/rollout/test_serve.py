"""A server that training starts answers only those who know its key, on this machine."""

import asyncio
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from g2rpo.rollout.serve import KEY, SETTINGS, RequireKey
from g2rpo.rollout.vllm_client import VLLMClient


def answered(monkeypatch: pytest.MonkeyPatch, **scope: Any) -> list[Any]:
    """What a request brings: the name of the application, or the messages of a refusal."""
    monkeypatch.setenv(KEY, "secret")
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append("app")

    async def send(message: dict[str, Any]) -> None:
        seen.append(message.get("status") or message.get("code"))

    async def receive() -> None:
        return None

    asyncio.run(RequireKey(app)({"type": "http", "headers": []} | scope, receive, send))
    return seen


def test_requests_need_the_key_on_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/v1/completions", "/collective_rpc", "/pause", "/"):
        assert answered(monkeypatch, path=path) == [401, None]
        wrong = [(b"authorization", b"Bearer secret2")]
        assert answered(monkeypatch, path=path, headers=wrong) == [401, None]
        right = [(b"authorization", b"Bearer secret")]
        assert answered(monkeypatch, path=path, headers=right) == ["app"]
    assert answered(monkeypatch, type="websocket", path="/v1/realtime") == [1008]


def test_whether_it_is_up_may_be_asked_by_anyone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answered(monkeypatch, path="/health") == ["app"]
    assert answered(monkeypatch, type="lifespan") == ["app"]


def test_it_listens_on_this_machine_unless_told_otherwise() -> None:
    assert SETTINGS[:2] == ("--host", "127.0.0.1")


@pytest.fixture
def two_servers() -> Iterator[tuple[str, dict[str, list[str | None]]]]:
    """A server that sends every request on to another one; and the keys that both received."""
    keys: dict[str, list[str | None]] = {"first": [], "second": []}

    def served(name: str, target: str | None) -> http.server.HTTPServer:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys[name].append(self.headers.get("Authorization"))
                self.send_response(200 if target is None else 302)
                if target is not None:
                    self.send_header("Location", target)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    second = served("second", None)
    first = served("first", f"http://127.0.0.1:{second.server_port}/elsewhere")
    yield f"http://127.0.0.1:{first.server_port}", keys
    for server in (first, second):
        server.shutdown()
        server.server_close()


def test_the_client_sends_its_key_and_never_to_another_address(
    two_servers: tuple[str, dict[str, list[str | None]]],
) -> None:
    url, keys = two_servers
    assert VLLMClient(url=url, timeout_s=5, key="secret").is_healthy()
    assert keys == {"first": ["Bearer secret"], "second": [None]}
