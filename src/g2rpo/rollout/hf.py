"""Completions written by the policy itself, in the trainer's process: one prefill per prompt,
shared by its group.

The prompt runs once through vision tower and network. Its keys and values are held once for the
whole group (`PrefixCache`), and only single tokens follow. Rows that have ended leave the batch.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from g2rpo.interfaces import Encoder
from g2rpo.policy.forward import encode_images, masked_logits, prompt_positions
from g2rpo.policy.prefix_attention import knows_prefixes, use_prefix_attention
from g2rpo.policy.prefix_cache import PrefixCache
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.stopwatch import timed


class HFEngine:
    """`rollout=hf`. Same seed, same batch, same completions.

    Args:
        max_new_tokens: A completion is cut here.
        temperature: Of sampling in training; 0 is greedy.
        top_p: Smallest set of tokens with at least this probability is sampled from;
            log-probabilities stay those of the full distribution.
        leave_frac: Ended rows leave the batch once they are this share of it: a smaller batch is
            faster, copying the cache is not free.
    """

    def __init__(
        self,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        leave_frac: float = 0.25,
    ) -> None:
        self.sampling = Sampling(
            group_size=1, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p
        )
        if not 0 < leave_frac <= 1:
            raise ValueError(f"rollout.leave_frac: expected a share in (0, 1], got {leave_frac}")
        self.leave_frac = leave_frac

    def start(self, policy: Any, encoder: Encoder) -> None:
        """Takes the policy that will be sampled from; there is nothing to copy."""
        self._policy = policy
        self._encoder = encoder

    def load_weights(self, policy: Any, step: int) -> None:
        """Nothing to do: the engine samples from the trainer's own weights."""

    @torch.no_grad()
    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """`sampling.group_size` completions per prompt, rows of one prompt together."""
        decoder = _Decoder(self._policy, self._encoder, batch, sampling, self.leave_frac, seed)
        ids, logprobs = decoder.run()
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
    """One call's state: what has been read and written so far and, per live row, its place in the
    output and its next position.
    """

    def __init__(
        self,
        policy: Any,
        encoder: Encoder,
        batch: PromptBatch,
        sampling: Sampling,
        leave_frac: float,
        seed: int,
    ) -> None:
        self.policy = policy
        self.encoder = encoder
        self.batch = batch
        self.sampling = sampling
        self.leave_frac = leave_frac
        device = batch.input_ids.device
        self.generator = torch.Generator(device=device).manual_seed(seed)
        self.rows = torch.arange(len(batch.prompts) * sampling.group_size, device=device)

    def run(self) -> tuple[Int[Tensor, "b t"], Float[Tensor, "b t"]]:
        """Token ids, filled up with the end token, and their log-probabilities (of no meaning
        behind a row's first end token).
        """
        hidden, self.position = self._prefill()
        shape = (len(self.rows), self.sampling.max_new_tokens)
        ends = _ends(self.encoder, self.rows.device)
        out = torch.full(shape, self.encoder.eos_token_id, device=self.rows.device)
        out_logprobs = torch.zeros(shape, device=self.rows.device)
        alive = torch.ones(len(self.rows), dtype=torch.bool, device=self.rows.device)
        for step in range(self.sampling.max_new_tokens):
            tokens, logprobs = self._sample(hidden)
            out[self.rows, step] = torch.where(alive, tokens, self.encoder.eos_token_id)
            out_logprobs[self.rows, step] = logprobs
            alive = alive & ~torch.isin(tokens, ends)
            if not alive.any() or step + 1 == self.sampling.max_new_tokens:
                return out[:, : step + 1], out_logprobs[:, : step + 1]
            tokens, alive = self._drop_ended(tokens, alive)
            hidden = self._step(tokens)
        raise AssertionError("max_new_tokens is at least 1")

    @timed("prefill")
    def _prefill(self) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]:
        positions, first = prompt_positions(self.policy, self.batch)
        cache = DynamicCache(config=self.policy.config.get_text_config())
        output = self.policy.model(
            input_ids=self.batch.input_ids,
            attention_mask=self.batch.attention_mask,
            position_ids=positions,
            mm_encoder_outputs=encode_images(self.policy, self.batch),
            past_key_values=cache,
            use_cache=True,
        )
        kind = SharedTail if knows_prefixes(self.policy) else RepeatedTail
        self.tail = kind(self.policy, cache, self.batch.attention_mask, self.sampling.group_size)
        times = self.sampling.group_size
        return output.last_hidden_state[:, -1].repeat_interleave(times, 0), first.repeat_interleave(
            times
        )

    def _sample(
        self, hidden: Float[Tensor, "n d"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """One exponential over the vocabulary: drawing needs no normalized weights, and a
        log-probability only their sum.
        """
        forbidden = tuple(self.encoder.forbidden_token_ids)
        logits = masked_logits(self.policy.lm_head, hidden, forbidden, self.sampling.temperature)
        largest, greedy = logits.max(-1, keepdim=True)
        weights = (logits - largest).exp_()
        total = weights.sum(-1, keepdim=True)
        if total.isnan().any():
            raise FloatingPointError("the policy's logits became nan while sampling")
        if self.sampling.temperature == 0:
            tokens = greedy
        else:
            if self.sampling.top_p < 1:
                weights = _nucleus(weights / total, self.sampling.top_p)
            tokens = torch.multinomial(weights, 1, generator=self.generator)
        return tokens[:, 0], (logits.gather(-1, tokens) - largest - total.log())[:, 0]

    def _drop_ended(
        self, tokens: Int[Tensor, " n"], alive: Bool[Tensor, " n"]
    ) -> tuple[Int[Tensor, " m"], Bool[Tensor, " m"]]:
        if (~alive).sum() < self.leave_frac * len(alive):
            return tokens, alive
        keep = alive.nonzero()[:, 0]
        self.tail.select(keep)
        self.rows, self.position = self.rows[keep], self.position[keep]
        return tokens[keep], alive[keep]

    def _step(self, tokens: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        hidden = self.tail.step(tokens, self.position.expand(3, -1)[..., None])
        self.position = self.position + 1
        return hidden


class SharedTail:
    """Single tokens behind prompts whose keys and values are held once."""

    def __init__(
        self, policy: Any, prompts: DynamicCache, mask: Int[Tensor, "p l"], group_size: int
    ) -> None:
        use_prefix_attention(policy)
        self.policy = policy
        self.cache = PrefixCache(prompts=prompts, mask=mask.bool(), group_size=group_size)
        self.select = self.cache.select

    def step(
        self, tokens: Int[Tensor, " n"], positions: Int[Tensor, "3 n 1"]
    ) -> Float[Tensor, "n d"]:
        """Last hidden state of one more token of every row."""
        output = self.policy.model(
            input_ids=tokens[:, None],
            position_ids=positions,
            past_key_values=self.cache,
            behind=self.cache,
            use_cache=True,
        )
        return output.last_hidden_state[:, -1]


class RepeatedTail:
    """The same for a policy whose attention is not known: keys and values of a prompt are repeated
    for its group.
    """

    def __init__(
        self, policy: Any, prompts: DynamicCache, mask: Int[Tensor, "p l"], group_size: int
    ) -> None:
        prompts.batch_repeat_interleave(group_size)
        self.policy, self.cache, self.mask = policy, prompts, mask.repeat_interleave(group_size, 0)

    def select(self, rows: Int[Tensor, " m"]) -> None:
        """Keeps some rows."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]

    def step(
        self, tokens: Int[Tensor, " n"], positions: Int[Tensor, "3 n 1"]
    ) -> Float[Tensor, "n d"]:
        """Last hidden state of one more token of every row."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], 1)
        output = self.policy.model(
            input_ids=tokens[:, None],
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        return output.last_hidden_state[:, -1]


def _nucleus(probs: Float[Tensor, "n v"], top_p: float) -> Float[Tensor, "n v"]:
    """Probabilities outside the smallest set that holds `top_p` set to 0; the most probable token
    always stays.
    """
    ordered, order = probs.sort(-1, descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return torch.zeros_like(probs).scatter(-1, order, ordered.masked_fill(outside, 0.0))
