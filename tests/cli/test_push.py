"""Uploading a checkpoint, against a server that answers as the Hugging Face Hub does."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from g2rpo.cli.command import main
from g2rpo.cli.push import uploaded

pytestmark = pytest.mark.process


class Hub(ThreadingHTTPServer):
    """Keeps what is uploaded to it. Files of 40 bytes or more take the way of large files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.tokens.add(self.headers.get("Authorization"))
        if "refused" in self.path or b"refused" in text:
            self._answer({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/repos/create":
            self.server.created.append(json.loads(text))
            self._answer({"url": f"{self.server.url}/me/tiny", "name": "me/tiny"})
        elif "/preupload/" in self.path:
            self._answer(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "lfs" if file["size"] >= 40 else "regular",
                            "shouldIgnore": False,
                        }
                        for file in json.loads(text)["files"]
                    ]
                }
            )
        elif self.path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(text)["objects"]
            found = [
                own | {"actions": {"upload": {"href": f"{self.server.url}/blob/{own['oid']}"}}}
                for own in wanted
            ]
            self._answer({"transfer": "basic", "objects": found})
        elif "/commit/" in self.path:
            self._commit([json.loads(line) for line in text.splitlines()])
        else:  # such as /api/validate-yaml
            self._answer({"errors": [], "warnings": []})

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.blobs[self.path.rpartition("/")[2]] = self.rfile.read(length)
        self._answer({})

    def do_GET(self) -> None:
        self._answer({"name": "me", "sha": "0" * 40, "siblings": [], "id": "me/tiny"})

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                self.server.files[value["path"]] = self.server.blobs[value["oid"]]
        url = f"{self.server.url}/me/tiny/commit/{'0' * 40}"
        self._answer({"commitUrl": url, "commitOid": "0" * 40, "hookOutput": ""})

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a checkpoint."""
    final = tmp_path / "run" / "checkpoints" / "final"
    final.mkdir(parents=True)
    (final / "config.json").write_text("{}")
    (final / "README.md").write_text("---\nlibrary_name: transformers\n---\n")
    (final / "model.safetensors").write_bytes(bytes(range(256)))
    return tmp_path / "run"


def push(hub: Hub, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_secret_0"}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-m", "g2rpo", "push", *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_is_uploaded_file_by_file(hub: Hub, run: Path) -> None:
    done = push(hub, str(run), "me/tiny", "--private")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.url}/me/tiny\n"
    final = run / "checkpoints" / "final"
    assert hub.files == {path.name: path.read_bytes() for path in final.iterdir()}
    (created,) = hub.created
    assert (created["name"], created["organization"]) == ("tiny", "me")
    assert created.get("private") is True or created.get("visibility") == "private"
    assert hub.tokens == {"Bearer hf_secret_0"}


def test_a_refusal_is_one_sentence(hub: Hub, run: Path) -> None:
    done = push(hub, str(run / "checkpoints" / "final"), "me/refused")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("g2rpo push: me/refused: the Hub answered 401; log in with `hf auth")
    assert "hf_secret_0" not in done.stderr


@pytest.mark.parametrize(
    ("folder", "repo", "words"),
    [
        ("nowhere", "me/tiny", "got .*nowhere, which does not exist"),
        (".", "me/tiny", "expected a run folder with checkpoints/final, or a folder with config"),
        ("run", "tiny", "expected a repository as <owner>/<name>, got 'tiny'"),
    ],
)
def test_what_cannot_be_uploaded_is_said(run: Path, folder: str, repo: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        uploaded(run.parent / folder, repo)


def test_wrong_words_show_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"g2rpo push: expected g2rpo push <run folder or"):
        main(["push", "run"])
    main(["push", "--help"])
    assert capsys.readouterr().out.startswith("g2rpo push <run folder")
