"""Rollout engine: the policy itself generates, in the trainer's process.

There is one prefill per prompt. `PrefixCache` holds its keys and values once for the whole group.
Finished completions leave the batch. On a GPU a CUDA graph holds a whole decoding step: the model,
its head and the sampling.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from transformers import DynamicCache

from g2rpo.interfaces import Encoder
from g2rpo.launch import marks
from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.forward import (
    computing,
    encode_images,
    is_sharded,
    masked_logits,
    prompt_positions,
)
from g2rpo.policy.prefix_attention import knows_prefixes
from g2rpo.policy.prefix_cache import PrefixCache, cache_argument
from g2rpo.policy.static_cache import StaticCache
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.ahead import refuse_ahead
from g2rpo.rollout.draw import draw, uniforms
from g2rpo.rollout.step_graph import LEAST_STEPS, LEAVE_FRAC, Recorder, StepGraph, recorder_for
from g2rpo.rollout.tail import RepeatedTail, SharedTail
from g2rpo.stopwatch import timed


class HFEngine:
    """`rollout=hf`. The same seed and position of a prompt give the same completions.

    Args:
        max_new_tokens: Maximum number of tokens per completion.
        temperature: Sampling temperature in training; 0 is greedy.
        top_p: Nucleus sampling: tokens come from the smallest set with at least this probability.
            Log-probabilities stay those of the full distribution.
        leave_frac: Finished completions leave the batch once they are at least this share of it. A
            smaller batch is faster, but removing rows copies the cache. With CUDA graphs it counts
            as at least 0.5, because each number of rows needs a graph.
        enforce_eager: Whether to decode without CUDA graphs on a GPU.
        ahead: Must be 0.
    """

    def __init__(
        self,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        leave_frac: float = 0.25,
        enforce_eager: bool = False,
        ahead: int = 0,
    ) -> None:
        refuse_ahead(ahead, "the policy that learns also writes")
        self.sampling = Sampling(
            group_size=1, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p
        )
        if not 0 < leave_frac <= 1:
            raise ValueError(f"rollout.leave_frac: expected a share in (0, 1], got {leave_frac}")
        self.leave_frac = leave_frac
        self.graphs = not enforce_eager
        """Whether to try CUDA graphs; False once a capture has failed, so that it is told once."""

    def start(self, policy: Any, encoder: Encoder) -> None:
        """Store the policy that generates."""
        self._policy = policy
        self._encoder = encoder

    def load_weights(self, policy: Any, step: int) -> None:
        """Do nothing: the engine uses the trainer's own weights."""

    @torch.no_grad()
    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """Return `sampling.group_size` completions per prompt, grouped by prompt."""
        decoder = _Decoder(self._policy, self._encoder, batch, sampling, seed)
        decoder.leave_frac = self.leave_frac
        decoder.recorder = recorder_for(self._policy) if self.graphs else None
        with computing(self._policy, keep_casts=True):
            written = decoder.run()
        ids, logprobs = decoder.out[:, :written], decoder.logprobs[:, :written]
        if decoder.graph is not None and decoder.graph.failed:
            self.graphs = False
        ended = torch.isin(ids, _ends(self._encoder, ids.device))
        mask = (ended.cumsum(1) - ended.int()) == 0
        ids = torch.where(mask, ids, self._encoder.pad_token_id)
        return Rollouts(
            completion_ids=ids,
            completion_mask=mask,
            old_logprobs=logprobs.masked_fill(~mask, 0.0),
            prompt=torch.arange(len(batch.prompts), device=ids.device).repeat_interleave(
                sampling.group_size
            ),
            finished=(ended & mask).any(1),
            texts=self._encoder.decode(ids, mask),
        )


def _ends(encoder: Encoder, device: torch.device) -> Int[Tensor, " e"]:
    return torch.tensor(list(encoder.end_tokens), device=device)


class _Decoder:
    """State of one `generate`: the cache, the output, and for each completion still in the batch
    its output row, last token and next position.

    A step changes these tensors in place and reads no values from them, so that a CUDA graph can
    hold it. What counts steps changes last, so that a step that was broken off can be repeated.
    """

    def __init__(
        self, policy: Any, encoder: Encoder, batch: PromptBatch, sampling: Sampling, seed: int
    ) -> None:
        self.policy = policy
        self.family = family_of(policy)
        self.batch = batch
        self.sampling = sampling
        self.leave_frac = 1.0
        self.recorder: Recorder | None = None
        self.graph: StepGraph | None = None
        self.eos = encoder.eos_token_id
        device = batch.input_ids.device
        shape = (len(batch.prompts) * sampling.group_size, sampling.max_new_tokens)
        self.uniforms = uniforms(
            seed, batch.position.tolist(), sampling.group_size, sampling.max_new_tokens
        ).to(device)
        self.ends = _ends(encoder, device)
        self.forbidden = torch.tensor(encoder.forbidden_token_ids, dtype=torch.long, device=device)
        self.out = torch.full(shape, self.eos, device=device)
        self.logprobs = torch.zeros(shape, device=device)
        self.rows = torch.arange(shape[0], device=device)
        self.tokens = torch.empty_like(self.rows)
        self.alive = torch.ones_like(self.rows, dtype=torch.bool)
        self.broken = torch.zeros((), dtype=torch.bool, device=device)
        """Whether there was a logit that is NaN."""
        # the index of the next token; as a scalar, torch would read its value to index with it
        self.column = torch.zeros(1, dtype=torch.long, device=device)

    def run(self) -> int:
        """Return the number of tokens that the longest completion has.

        `out` has the token ids, padded with the end token, and `logprobs` their log-probabilities,
        which are meaningless after a row's first end token.
        """
        self._write(self._prefill())
        try:
            with self._quick_mode():
                for written in range(1, self.sampling.max_new_tokens + 1):
                    marks.drop_if_asked()
                    # the only values of a step for which the host waits
                    alive, broken = torch.stack([self.alive.sum(), self.broken.long()]).tolist()
                    if broken:
                        raise FloatingPointError("the policy's logits became nan while sampling")
                    if not alive or written == self.sampling.max_new_tokens:
                        return written
                    self._drop_ended(alive)
                    self._run_step(written)
        finally:
            if self.graph is not None:
                self.graph.release()
        raise AssertionError("max_new_tokens is at least 1")

    def _quick_mode(self) -> AbstractContextManager[Any]:
        """Return torch's inference mode where it can be used.

        It makes small operations faster. But no tensor made in it may be used in training, and
        there are models, with code of their own or sharded, that keep some from call to call.
        """
        keeps_none = isinstance(self.tail, SharedTail) and not is_sharded(self.policy)
        if self.out.device.type == "cpu" and keeps_none and self.graph is None:
            return torch.inference_mode()
        return nullcontext()

    @timed("prefill")
    def _prefill(self) -> Float[Tensor, "b d"]:
        positions, first = prompt_positions(self.policy, self.batch)
        cache = DynamicCache(config=self.policy.config.get_text_config())
        output = self.policy.model(
            input_ids=self.batch.input_ids,
            attention_mask=self.batch.attention_mask,
            position_ids=self.family.position_ids(positions),
            mm_encoder_outputs=encode_images(self.policy, self.batch),
            use_cache=True,
            **cache_argument(self.policy.model, cache),
            **self.family.further_inputs(self.policy, self.batch.input_ids),
        )
        self.axes = len(positions)
        times = self.sampling.group_size
        self.position = first.repeat_interleave(times)
        self.tail = self._tail(cache)
        return output.last_hidden_state[:, -1].repeat_interleave(times, 0)

    def _tail(self, prompts: DynamicCache) -> SharedTail | RepeatedTail:
        """Choose how to decode; `self.graph` is set if it is with CUDA graphs."""
        mask, times = self.batch.attention_mask, self.sampling.group_size
        if not knows_prefixes(self.policy):
            return RepeatedTail(self.policy, prompts, mask, times)
        if self.recorder is None or self.sampling.max_new_tokens <= LEAST_STEPS:
            cache = PrefixCache(prompts=prompts, mask=mask.bool(), group_size=times)
            return SharedTail(self.policy, cache)
        self.graph = StepGraph(self._step, self.recorder)
        self.leave_frac = max(self.leave_frac, LEAVE_FRAC)
        limit = self.sampling.max_new_tokens - 1
        self.static = StaticCache(prompts=prompts, mask=mask.bool(), group_size=times, limit=limit)
        return SharedTail(self.policy, self.static)

    def _drop_ended(self, alive: int) -> None:
        """Remove ended completions if there are enough of them.

        Args:
            alive: Number of completions that have not ended.
        """
        rows = len(self.rows)
        if rows - alive < self.leave_frac * rows:
            return
        keep = self.alive.nonzero()[:, 0]
        self.tail.select(keep)
        self.rows, self.tokens, self.position, self.alive = (
            states[keep] for states in (self.rows, self.tokens, self.position, self.alive)
        )
        if self.graph is not None:
            self.graph.reset()

    def _run_step(self, written: int) -> None:
        """Decode one token per row.

        Args:
            written: Number of tokens that each row has; all but the last are in the cache.
        """
        if self.graph is None:
            self._step()
            return
        if written > self.static.capacity:
            self.static.grow()
            self.graph.reset()
        self.graph.run(left=self.static.capacity + 1 - written)

    def _step(self) -> None:
        positions = self.position.expand(self.axes, -1)[..., None]
        self._write(self.tail.step(self.tokens, self.family.position_ids(positions)))
        self.position.add_(1)
        if self.graph is not None:
            self.static.advance()

    def _write(self, hidden: Float[Tensor, "n d"]) -> None:
        """Sample one token per row and write it to the output."""
        tokens, logprobs = self._sample(hidden, self.uniforms[self.rows, self.column])
        self.out[self.rows, self.column] = tokens.masked_fill(~self.alive, self.eos)
        self.logprobs[self.rows, self.column] = logprobs
        self.alive.logical_and_((tokens[:, None] != self.ends).all(1))
        self.tokens.copy_(tokens)
        self.column.add_(1)

    def _sample(
        self, hidden: Float[Tensor, "n d"], uniform: Float64[Tensor, " n"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """Sample one token per row and return it with its log-probability."""
        head = self.family.head(self.policy)
        logits = masked_logits(head, hidden, self.forbidden, self.sampling.temperature)
        largest = logits.amax(-1, keepdim=True)
        weights = (logits - largest).exp_()
        total = weights.sum(-1, keepdim=True)
        self.broken.logical_or_(total.isnan().any())
        if self.sampling.temperature == 0:
            tokens = logits.argmax(-1, keepdim=True)
        else:
            if self.sampling.top_p < 1:
                weights = weights * (_nucleus(weights / total, self.sampling.top_p) > 0)
            tokens = draw(weights, uniform)
        return tokens[:, 0], (logits.gather(-1, tokens) - largest - total.log())[:, 0]


def _nucleus(probs: Float[Tensor, "n v"], top_p: float) -> Float[Tensor, "n v"]:
    """Set probabilities outside the nucleus of `top_p` to 0; the top token always stays."""
    ordered, order = probs.sort(-1, descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return torch.zeros_like(probs).scatter(-1, order, ordered.masked_fill(outside, 0.0))
