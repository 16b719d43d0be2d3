import logging
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from g2rpo.reward.judges.bounded_http import LARGEST_REPLY
from g2rpo.reward.judges.openai import JudgeError, OpenAIJudge

SECRET = "sk-very-secret"


@pytest.fixture
def judge(chat_server: Any) -> Callable[..., OpenAIJudge]:
    """`judge(tries=2)`: asks the local server, and waits only hundredths of a second between
    tries.
    """

    def build(**options: Any) -> OpenAIJudge:
        return OpenAIJudge(
            **{
                "base_url": chat_server.base_url,
                "model": "m-1",
                "backoff_s": 0.01,
                "timeout_s": 5.0,
            }
            | options
        )

    return build


def test_a_prompt_becomes_one_request_at_temperature_zero(
    judge: Callable[..., OpenAIJudge], chat_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    chat_server.reply = lambda prompt, attempt: f"<{prompt}>"
    asked = judge(api_key_env="SOME_KEY", extra={"max_tokens": None, "max_completion_tokens": 9})
    assert asked("Is it? ä \ud800") == "<Is it? ä \ud800>"
    (request,) = chat_server.requests
    assert request == {
        "path": "/v1/chat/completions",
        "model": "m-1",
        "temperature": 0.0,
        "max_completion_tokens": 9,
        "messages": [{"role": "user", "content": "Is it? ä \ud800"}],
    }
    assert chat_server.headers[0]["Authorization"] == f"Bearer {SECRET}"


def test_replies_come_in_the_order_of_the_prompts_and_equal_ones_are_asked_once(
    judge: Callable[..., OpenAIJudge], chat_server: Any
) -> None:
    chat_server.reply = lambda prompt, attempt: prompt.upper()
    assert judge().ask_all(["b", "a", "b", "c"]) == ["B", "A", "B", "C"]
    assert sorted(chat_server.prompts) == ["a", "b", "c"]


def test_no_more_requests_at_a_time_than_allowed_and_not_fewer(
    judge: Callable[..., OpenAIJudge], chat_server: Any
) -> None:
    chat_server.reply = lambda prompt, attempt: 0.2
    begin = time.monotonic()
    judge(max_concurrent=4).ask_all([str(k) for k in range(12)])
    assert chat_server.most_at_once == 4
    assert time.monotonic() - begin < 2.0  # twelve in a row take 2.4 s


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {}, ""),
        (500, {}, "no"),
        (503, {}, ""),
        (200, {}, "<html>"),
        (200, {}, '{"choices": []}'),
        "bad",
    ],
)
def test_trouble_that_passes_is_tried_again(
    trouble: Any, judge: Callable[..., OpenAIJudge], chat_server: Any
) -> None:
    chat_server.reply = lambda prompt, attempt: trouble if attempt < 3 else "good"
    asked = judge()
    assert asked.ask_all(["q"], usable=lambda reply: reply == "good") == ["good"]
    assert (len(chat_server.requests), asked.failed) == (3, 0)


def test_a_reply_without_text_says_what_to_change(
    judge: Callable[..., OpenAIJudge], chat_server: Any
) -> None:
    chat_server.reply = lambda prompt, attempt: None
    with pytest.raises(
        JudgeError,
        match=(
            r"expected text, got None, finish_reason 'stop'; is max_tokens too small\?\), after 2"
            r" tries"
        ),
    ):
        judge(tries=2)("q")


def test_a_slow_reply_is_not_waited_for(
    judge: Callable[..., OpenAIJudge], chat_server: Any
) -> None:
    chat_server.reply = lambda prompt, attempt: 3.0 if attempt == 1 else "quick"
    begin = time.monotonic()
    assert judge(timeout_s=0.3)("q") == "quick"
    assert time.monotonic() - begin < 2.5


def test_an_endpoint_that_is_not_there_is_named(
    judge: Callable[..., OpenAIJudge], chat_server: Any
) -> None:
    chat_server.close()
    asked = judge(tries=3)
    with pytest.raises(
        JudgeError,
        match=(
            rf"{chat_server.base_url}/chat/completions, model m-1: URLError: .*refused.*, after 3"
            r" tries"
        ),
    ):
        asked("q")
    assert asked.failed == 1


def test_a_refusal_is_final_and_named_and_the_key_is_nowhere(
    judge: Callable[..., OpenAIJudge],
    chat_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    chat_server.reply = lambda prompt, attempt: (401, {}, "bad key") if prompt == "b" else "yes"
    asked = judge(api_key_env="SOME_KEY", cache=str(tmp_path))
    with caplog.at_level(logging.DEBUG):
        replies = asked.ask_all(["a", "b", "b"])
    assert replies[0] == "yes"
    assert isinstance(replies[1], JudgeError)
    assert (
        str(replies[1])
        == f"{chat_server.base_url}/chat/completions, model m-1: status 401 Unauthorized: bad key,"
        " after 1 try"
    )
    assert (asked.failed, chat_server.prompts.count("b")) == (1, 1)
    assert "judge: 1 of 2 prompts unanswered; first: http" in caplog.text
    written = "".join(file.read_text() for file in tmp_path.rglob("*.json"))
    assert "yes" in written
    assert SECRET not in caplog.text + written + repr(vars(asked)) + repr(pickle.dumps(asked))


def test_a_redirect_does_not_carry_the_key_elsewhere(
    judge: Callable[..., OpenAIJudge], chat_server: Any
) -> None:
    chat_server.reply = lambda prompt, attempt: (
        302,
        {"Location": "http://127.0.0.1:9/elsewhere"},
        "",
    )
    with pytest.raises(JudgeError, match="status 302 Found"):
        judge()("q")


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_pause_that_the_endpoint_names_is_kept(
    form: str, judge: Callable[..., OpenAIJudge], chat_server: Any
) -> None:
    # a date has whole seconds: two from now is at least one from now
    value = (
        "1"
        if form == "seconds"
        else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    )
    chat_server.reply = lambda prompt, attempt: (
        (429, {"Retry-After": value}, "") if attempt == 1 else "good"
    )
    assert judge()("q") == "good"
    first, second = chat_server.times
    assert 0.9 < second - first < 3.0


def test_the_pause_grows(judge: Callable[..., OpenAIJudge], chat_server: Any) -> None:
    chat_server.reply = lambda prompt, attempt: (500, {}, "")
    with pytest.raises(JudgeError, match="status 500 Internal Server Error: , after 4 tries"):
        judge(tries=4, backoff_s=0.1)("q")
    first, second, third, fourth = chat_server.times
    assert second - first >= 0.05
    assert third - second >= 0.1
    assert fourth - third >= 0.2


def test_what_was_answered_is_never_asked_again(
    judge: Callable[..., OpenAIJudge], chat_server: Any, tmp_path: Path
) -> None:
    chat_server.reply = lambda prompt, attempt: f"{prompt} {attempt}"
    assert judge(cache=str(tmp_path)).ask_all(["a", "b"]) == ["a 1", "b 1"]
    again = judge(cache=str(tmp_path))
    assert again.ask_all(["b", "a", "c"]) == ["b 1", "a 1", "c 1"]
    assert sorted(chat_server.prompts) == ["a", "b", "c"]
    assert judge(cache=str(tmp_path), max_tokens=8)("a") == "a 2"  # another request, another reply
    assert judge(cache=str(tmp_path), model="m-2")("a") == "a 3"
    assert judge()("a") == "a 4"


def test_a_failure_or_an_unusable_reply_is_not_remembered(
    judge: Callable[..., OpenAIJudge], chat_server: Any, tmp_path: Path
) -> None:
    chat_server.reply = lambda prompt, attempt: (
        (500, {}, "") if attempt == 1 else "perhaps" if attempt == 2 else "1"
    )
    asked = judge(cache=str(tmp_path), tries=1)
    assert isinstance(asked.ask_all(["q"])[0], JudgeError)
    (unusable,) = asked.ask_all(["q"], usable=str.isdigit)
    assert str(unusable).endswith("a reply that cannot be used: 'perhaps', after 1 try")
    assert asked.ask_all(["q"], usable=str.isdigit) == ["1"]
    assert asked.ask_all(["q"]) == ["1"]
    assert (asked.failed, len(chat_server.requests)) == (2, 3)


def test_a_damaged_file_of_the_cache_is_asked_anew(
    judge: Callable[..., OpenAIJudge], chat_server: Any, tmp_path: Path
) -> None:
    asked = judge(cache=str(tmp_path))
    asked("q")
    (file,) = tmp_path.rglob("*.json")
    whole = file.read_text()
    file.write_text(whole[:30])
    assert asked("q") == "1"
    assert file.read_text() == whole
    assert len(chat_server.requests) == 2


def test_a_judge_can_be_sent_to_another_process(judge: Callable[..., OpenAIJudge]) -> None:
    assert pickle.loads(pickle.dumps(judge()))("q") == "1"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"base_url": "localhost:8000"}, "judge.base_url: expected http"),
        (
            {"api_key_env": "NO_SUCH_KEY"},
            "judge.api_key_env: the environment variable NO_SUCH_KEY is not set; export it",
        ),
        (
            {"api_key_env": "sk-my-own-key"},
            "judge.api_key_env: expected the name of an environment",
        ),
        (
            {"base_url": "http://me:mine@localhost/v1"},
            "judge.base_url: expected a URL without a key",
        ),
        ({"tries": 0}, "judge.tries: expected at least 1, got 0"),
        ({"max_concurrent": 0}, "judge.max_concurrent: "),
        ({"timeout_s": 0.0}, "timeout_s above 0"),
    ],
)
def test_wrong_settings_are_refused_with_their_key(
    wrong: dict[str, Any], words: str, judge: Callable[..., OpenAIJudge]
) -> None:
    with pytest.raises(ValueError, match=words):
        judge(**wrong)


def test_a_key_with_a_line_break_is_stripped_and_an_echo_of_it_is_not_shown(
    judge: Callable[..., OpenAIJudge], chat_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", SECRET + "\r\n")
    chat_server.reply = lambda prompt, attempt: (401, {}, f"Incorrect: {SECRET}")
    with pytest.raises(JudgeError, match="401 Unauthorized: Incorrect: <MINE>, after 1 try"):
        judge(api_key_env="MINE")("q")
    assert chat_server.headers[0]["Authorization"] == f"Bearer {SECRET}"


def test_an_echoed_key_is_not_written_to_the_cache(
    judge: Callable[..., OpenAIJudge],
    chat_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("MINE", SECRET)
    chat_server.reply = lambda prompt, attempt: f"your key is {SECRET}"
    judge(api_key_env="MINE", cache=str(tmp_path), extra={"user": SECRET})("q")
    (file,) = tmp_path.rglob("*.json")
    assert SECRET not in file.read_text()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x" * (LARGEST_REPLY + 1), "the body has more than 1,048,576 bytes"),
        ("[" * 100_000, "no chat completion"),
    ],
)
def test_a_hostile_body_is_one_failed_prompt(
    body: str, words: str, judge: Callable[..., OpenAIJudge], chat_server: Any
) -> None:
    chat_server.reply = lambda prompt, attempt: (200, {}, body) if prompt == "b" else "fine"
    good, bad = judge(tries=2).ask_all(["a", "b"])
    assert good == "fine"
    assert words in str(bad)


OK = b"HTTP/1.1 200 OK\r\n"
ENOUGH = b'{"choices": [{"message": {"content": "yes"}}]}'


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 ", b"O"),
        (OK, b"X"),
        (OK, b"X: y\r\n"),
        (b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n"),
        (OK + b"\r\n", b" "),
        (OK + b"\r\n" + ENOUGH, b" "),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
)
def test_a_reply_that_drips_has_a_deadline_wherever_it_does(
    first: bytes, drop: bytes, judge: Callable[..., OpenAIJudge]
) -> None:
    with dripping_server(first, drop, pause_s=0.1) as (url, asked):
        begin = time.monotonic()
        ours = judge(base_url=url, timeout_s=0.3, tries=2)
        with pytest.raises(JudgeError, match=r"not complete after 0[.]6 s, after 2 tries"):
            ours("q")
        assert len(asked) == 2
        assert ours.failed == 1
    assert time.monotonic() - begin < 8
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


@contextmanager
def dripping_server(first: bytes, drop: bytes, pause_s: float) -> Iterator[tuple[str, list[bytes]]]:
    """A server that sends a beginning, then one drop after another; the requests it has got."""
    listening = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    def drip(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            asked.append(connection.recv(1 << 16))
            connection.sendall(first)
            while True:
                connection.sendall(drop)
                time.sleep(pause_s)

    threading.Thread(target=serve, daemon=True).start()
    with listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1", asked
