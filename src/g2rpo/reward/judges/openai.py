"""Client of an OpenAI-compatible endpoint, with concurrent requests, retries and a cache.

A try that fails for a reason that may pass (429, 408, 5xx, no connection, no reply in time, a reply
that cannot be used) is repeated after a pause that doubles, or that the endpoint names. Replies are
kept on disk under the hash of all that decides them.
"""

import hashlib
import http.client
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.error import HTTPError, URLError

from g2rpo.files import write_whole
from g2rpo.launch import marks
from g2rpo.redaction import redacted
from g2rpo.reward.judges.bounded_http import beginning, post, retry_after_s

log = logging.getLogger("g2rpo")
LONGEST_PAUSE_S = 120.0
TICK_S = 0.2
"""Longest time in seconds until a wait for replies notices that a signal has come."""
PASSING = {408, 409, 425, 429}
"""Status codes below 500 that are worth another try."""
_JITTER = random.Random()  # noqa: S311  its own, so that no seed of the run is used up
_WRITING = threading.Lock()


class JudgeError(RuntimeError):
    """The judge did not answer a prompt."""


class OpenAIJudge:
    """Client of an OpenAI-compatible endpoint that answers prompts at temperature 0.

    Pickling leaves out the threads and the key, which stays in the environment.

    Args:
        base_url: URL of the endpoint without `/chat/completions`.
        model: Name of the model at the endpoint.
        api_key_env: Environment variable with the key; None if the endpoint needs no key.
        max_tokens: Maximum number of tokens of a reply.
        extra: Further keys of the request body; keys that are None are removed from it.
        timeout_s: A try fails after this many seconds without a byte, and after twice as many in
            all.
        tries: Maximum number of tries for one prompt, at least 1.
        backoff_s: Pause in seconds before the second try, with a jitter of one half; it doubles
            before each further try.
        max_concurrent: Maximum number of concurrent requests.
        cache: Folder where replies are kept; None to ask every time.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key_env: str | None = None,
        max_tokens: int = 64,
        extra: Mapping[str, Any] | None = None,
        timeout_s: float = 60.0,
        tries: int = 5,
        backoff_s: float = 1.0,
        max_concurrent: int = 16,
        cache: str | None = None,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(
                f"judge.base_url: expected http://... or https://..., got {base_url!r}"
            )
        if redacted(base_url) != base_url:
            raise ValueError(
                "judge.base_url: expected a URL without a key or password in it, because the URL is"
                " written to files; put the key into the environment variable that"
                " judge.api_key_env names"
            )
        if api_key_env is not None and not api_key_env.isidentifier():
            raise ValueError(
                "judge.api_key_env: expected the name of an environment variable, such as"
                " OPENAI_API_KEY, and got something else (not shown, it may be the key itself)"
            )
        if api_key_env is not None and not _key(api_key_env):
            raise ValueError(
                f"judge.api_key_env: the environment variable {api_key_env} is not set; export it,"
                " or set judge.api_key_env=null for an endpoint without keys"
            )
        for name, count in {
            "max_tokens": max_tokens,
            "tries": tries,
            "max_concurrent": max_concurrent,
        }.items():
            if count < 1:
                raise ValueError(f"judge.{name}: expected at least 1, got {count}")
        if timeout_s <= 0 or backoff_s < 0:
            raise ValueError(
                f"judge: expected timeout_s above 0 and backoff_s of at least 0, got {timeout_s}"
                f" and {backoff_s}"
            )
        self.url = base_url.rstrip("/") + "/chat/completions"
        self.api_key_env = api_key_env
        body = {"model": model, "temperature": 0.0, "max_tokens": max_tokens} | dict(extra or {})
        self.body = {key: value for key, value in body.items() if value is not None}
        self.timeout_s, self.tries, self.backoff_s = timeout_s, tries, backoff_s
        self.max_concurrent = max_concurrent
        self.cache = Path(cache) if cache is not None else None
        self.failed = 0
        """Number of prompts without an answer so far."""
        self.__setstate__({})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_slots"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._slots = threading.BoundedSemaphore(self.max_concurrent)

    def __call__(self, prompt: str) -> str:
        """Return the reply to one prompt. Raises `JudgeError` if there is none."""
        (reply,) = self.ask_all([prompt])
        if isinstance(reply, JudgeError):
            raise reply
        return reply

    def ask_all(
        self, prompts: Sequence[str], *, usable: Callable[[str], bool] = bool
    ) -> list[str | JudgeError]:
        """Return the replies in the order of the prompts. Equal prompts are asked once.

        Args:
            prompts: Any number.
            usable: What a reply must be. One that is not counts as a failed try, and is not
                remembered.
        """
        replies: dict[str, str | JudgeError] = {}
        open_prompts: SimpleQueue[str] = SimpleQueue()
        for prompt in dict.fromkeys(prompts):
            known = self._remembered(prompt)
            if known is not None and usable(known):
                replies[prompt] = known
            else:
                open_prompts.put(prompt)
        done: SimpleQueue[tuple[str, str | JudgeError | Exception]] = SimpleQueue()
        waiting = open_prompts.qsize()
        for _ in range(
            min(waiting, self.max_concurrent)
        ):  # daemons: Ctrl-C does not wait for an endpoint
            threading.Thread(
                target=self._serve, args=(open_prompts, done, usable), daemon=True, name="judge"
            ).start()
        while waiting:
            marks.drop_if_asked()
            try:
                prompt, reply = done.get(timeout=TICK_S)
            except Empty:
                continue
            waiting -= 1
            if isinstance(reply, Exception) and not isinstance(reply, JudgeError):
                raise reply
            replies[prompt] = reply
        failures = [reply for reply in replies.values() if isinstance(reply, JudgeError)]
        if failures:
            self.failed += len(failures)
            log.warning(
                "judge: %d of %d prompts unanswered; first: %s",
                len(failures),
                len(replies),
                failures[0],
            )
        return [replies[prompt] for prompt in prompts]

    def _serve(
        self, prompts: SimpleQueue[str], done: SimpleQueue[Any], usable: Callable[[str], bool]
    ) -> None:
        while True:
            try:
                prompt = prompts.get_nowait()
            except Empty:
                return
            try:
                done.put((prompt, self._answer(prompt, usable)))
            except Exception as error:  # noqa: BLE001  raised again by whoever waits
                done.put((prompt, error))

    def _answer(self, prompt: str, usable: Callable[[str], bool]) -> str | JudgeError:
        trouble, used = "", 0
        for used in range(1, self.tries + 1):
            pause_s = self.backoff_s * 2 ** (used - 1) * _JITTER.uniform(0.5, 1.5)
            try:
                with self._slots:
                    reply = self._requested(prompt)
            except HTTPError as error:
                trouble = f"status {error.code} {error.reason}: {beginning(error)}"
                if error.code not in PASSING and error.code < 500:
                    break
                pause_s = max(pause_s, retry_after_s(error.headers.get("Retry-After")))
            except (URLError, OSError, http.client.HTTPException) as error:
                trouble = f"{type(error).__name__}: {error}"
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                trouble = f"a reply that is no chat completion ({type(error).__name__}: {error})"
            else:
                if usable(reply):
                    self._remember(prompt, reply)
                    return reply
                trouble = f"a reply that cannot be used: {reply[:100]!r}"
            if used < self.tries:
                time.sleep(min(pause_s, LONGEST_PAUSE_S))
        return JudgeError(
            self._without_key(
                f"{self.url}, model {self.body.get('model')}: {trouble}, after {used}"
                f" {'try' if used == 1 else 'tries'}"
            )
        )

    def _without_key(self, text: str) -> str:
        """Redact the key, whatever its variable is called: endpoints repeat it in their replies."""
        if self.api_key_env is not None and (key := _key(self.api_key_env)):
            text = text.replace(key, f"<{self.api_key_env}>")
        return redacted(text)

    def _requested(self, prompt: str) -> str:
        headers = {"Content-Type": "application/json"}
        if self.api_key_env is not None:
            headers["Authorization"] = f"Bearer {_key(self.api_key_env)}"
        content = json.dumps(
            self.body | {"messages": [{"role": "user", "content": prompt}]}
        ).encode()
        choice = json.loads(post(self.url, content, headers, self.timeout_s))["choices"][0]
        reply = choice["message"]["content"]
        if not isinstance(reply, str):
            raise TypeError(
                f"expected text, got {reply!r}, finish_reason {choice.get('finish_reason')!r}; is"
                " max_tokens too small?"
            )
        return reply

    def _file(self, prompt: str) -> Path | None:
        if self.cache is None:
            return None
        digest = hashlib.sha256(
            json.dumps([self.body, prompt], sort_keys=True).encode()
        ).hexdigest()
        return self.cache / digest[:2] / f"{digest[2:]}.json"

    def _remembered(self, prompt: str) -> str | None:
        file = self._file(prompt)
        if file is None or not file.exists():
            return None
        try:
            reply = json.loads(file.read_text(encoding="utf-8"))["reply"]
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            RecursionError,
        ):  # damaged on disk: asked again and written anew
            return None
        return reply if isinstance(reply, str) else None

    def _remember(self, prompt: str, reply: str) -> None:
        file = self._file(prompt)
        if file is not None:
            with _WRITING:
                write_whole(
                    file,
                    self._without_key(
                        json.dumps(
                            {"request": self.body, "prompt": prompt, "reply": reply}, indent=1
                        )
                    )
                    + "\n",
                )


def _key(variable: str) -> str:
    """Return the key without the line break that files of secrets end with."""
    return os.environ.get(variable, "").strip()
