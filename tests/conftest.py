"""What several tests need: the repository's folders, a composed configuration, and the assurance
that nothing asks a server.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers and datasets are imported
os.environ["WANDB_MODE"] = "offline"
# As in a run (`g2rpo/reproducible.py`): it counts at the first product of a process, and a run
# within this process is compared with runs in processes of their own.
os.environ.setdefault("MKL_CBWR", "AUTO")

import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import settings

ROOT = Path(__file__).parents[1]
UNIT_ROOMS = {"algorithm", "benchmark", "data", "image", "metrics", "prompt", "records", "reward"}
UNIT_ROOMS |= {"files", "ranks", "scoring", "stopwatch"}
"""Folders of tests/, and names of the test files beside them, that need no training run."""
NOT_UNIT = {"evaluation", "process", "slow", "gpu", "network", "vllm"}
"""Folders and markers within those rooms that need one, or are slow."""

# A busy machine may make any single example slow.
settings.register_profile("g2rpo", max_examples=50, deadline=None)
settings.load_profile("g2rpo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of `UNIT_ROOMS` as `unit`."""
    for item in items:
        if not item.path.is_relative_to(ROOT / "tests"):
            continue
        parts = item.path.relative_to(ROOT / "tests").with_suffix("").parts
        room = parts[0].removeprefix("test_")
        markers = {marker.name for marker in item.iter_markers()}
        if room in UNIT_ROOMS and not NOT_UNIT & (markers | set(parts)):
            item.add_marker("unit")


JUDGING = ("scoring", "reward", "benchmark")
"""Folders with tests that bound the seconds of a judgment."""


@pytest.fixture(autouse=True)
def no_garbage_is_collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the garbage collector out of bounded seconds: after tests with models, it takes more
    than one of them.
    """
    if request.path.relative_to(Path(__file__).parent).parts[0] not in JUDGING:
        yield
        return
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material beside the repository; a test that needs it is skipped where it is not."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(
            "needs the reference material in ../shared, which is not part of the repository"
        )
    return folder


@pytest.fixture
def composed() -> Callable[..., Any]:
    """`composed("advantage=grpo", "seed=3")`: the configuration that `python train.py
    advantage=grpo seed=3` runs with.
    """

    def compose_with(*overrides: str, config: str = "config") -> Any:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose(config, list(overrides))

    return compose_with


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of the small Qwen3-VL with random weights, whose tokenizer knows the
    gym's words.
    """
    from g2rpo.data.gym.source import TASKS, GymSource
    from g2rpo.data.gym.styles import StyledSolutions
    from g2rpo.policy.tiny import save_tiny

    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    source, solutions = GymSource(), StyledSolutions(shares={"look": 1.0})
    prompts = [source.get(task, index, "train") for index in range(10) for task in TASKS]
    save_tiny(
        folder,
        [text for prompt in prompts for text in (prompt.text, solutions.demonstrate(prompt))],
        seed=3,
    )
    return folder


@pytest.fixture(scope="session")
def config_of_8b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the config.json of Qwen3-VL-8B, whose head is a matrix of its
    own.
    """
    import torch
    from shapes import random_policy

    folder = tmp_path_factory.mktemp("8b")
    config = random_policy("8b", torch.device("meta"), torch.bfloat16).config
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    config.save_pretrained(folder)
    return folder


class ChatServer:
    """Answers chat completions on 127.0.0.1. `reply(prompt, attempt)` is text, or (status, headers,
    body), or a pause in seconds.
    """

    def __init__(self) -> None:
        self.reply: Callable[[str, int], Any] = lambda prompt, attempt: "1"
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    @property
    def prompts(self) -> list[str]:
        return [request["messages"][0]["content"] for request in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][0]["content"]
                with server._lock:
                    server.requests.append(body | {"path": self.path})
                    server.headers.append(dict(self.headers))
                    server.times.append(time.monotonic())
                    attempt = server.prompts.count(prompt)
                    server.at_once += 1
                    server.most_at_once = max(server.most_at_once, server.at_once)
                try:
                    self.answer(server.reply(prompt, attempt))
                except BrokenPipeError:
                    pass  # the client did not wait
                finally:
                    with server._lock:
                        server.at_once -= 1

            def answer(self, reply: Any) -> None:
                if isinstance(reply, float):
                    time.sleep(reply)
                    reply = "slow"
                content = json.dumps(
                    {
                        "choices": [
                            {
                                "message": {"role": "assistant", "content": reply},
                                "finish_reason": "stop",
                            }
                        ]
                    }
                )
                status, headers, text = reply if isinstance(reply, tuple) else (200, {}, content)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """An endpoint that says what a test wants; it remembers what it was asked."""
    server = ChatServer()
    yield server
    server.close()
