"""Rollout engine: the policy itself generates, in the trainer's process.

There is one prefill per prompt. `PrefixCache` holds its keys and values once for the whole group.
Finished completions leave the batch.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from transformers import DynamicCache

from g2rpo.interfaces import Encoder
from g2rpo.launch import marks
from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.forward import computing, encode_images, masked_logits, prompt_positions
from g2rpo.policy.prefix_attention import knows_prefixes, use_prefix_attention
from g2rpo.policy.prefix_cache import PrefixCache, cache_argument
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.ahead import refuse_ahead
from g2rpo.rollout.draw import draw, uniforms
from g2rpo.stopwatch import timed


class HFEngine:
    """`rollout=hf`. The same seed and position of a prompt give the same completions.

    Args:
        max_new_tokens: Maximum number of tokens per completion.
        temperature: Sampling temperature in training; 0 is greedy.
        top_p: Nucleus sampling: tokens come from the smallest set with at least this probability.
            Log-probabilities stay those of the full distribution.
        leave_frac: Finished completions leave the batch once they are at least this share of it. A
            smaller batch is faster, but removing rows copies the cache.
        ahead: Must be 0.
    """

    def __init__(
        self,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        leave_frac: float = 0.25,
        ahead: int = 0,
    ) -> None:
        refuse_ahead(ahead, "the policy that learns also writes")
        self.sampling = Sampling(
            group_size=1, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p
        )
        if not 0 < leave_frac <= 1:
            raise ValueError(f"rollout.leave_frac: expected a share in (0, 1], got {leave_frac}")
        self.leave_frac = leave_frac

    def start(self, policy: Any, encoder: Encoder) -> None:
        """Store the policy that generates."""
        self._policy = policy
        self._encoder = encoder

    def load_weights(self, policy: Any, step: int) -> None:
        """Do nothing: the engine uses the trainer's own weights."""

    @torch.no_grad()
    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        """Return `sampling.group_size` completions per prompt, grouped by prompt."""
        decoder = _Decoder(self._policy, self._encoder, batch, sampling, self.leave_frac, seed)
        with computing(self._policy, keep_casts=True):
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
    """State of one `generate`: the cache and, for each completion still in the batch, its output
    row and next position.
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
        self.family = family_of(policy)
        self.encoder = encoder
        self.batch = batch
        self.sampling = sampling
        self.leave_frac = leave_frac
        device = batch.input_ids.device
        self.uniforms = uniforms(
            seed, batch.position.tolist(), sampling.group_size, sampling.max_new_tokens
        ).to(device)
        self.rows = torch.arange(len(batch.prompts) * sampling.group_size, device=device)

    def run(self) -> tuple[Int[Tensor, "b t"], Float[Tensor, "b t"]]:
        """Return token ids, padded with the end token, and log-probabilities.

        Log-probabilities after a row's first end token are meaningless.
        """
        hidden, self.position = self._prefill()
        shape = (len(self.rows), self.sampling.max_new_tokens)
        ends = _ends(self.encoder, self.rows.device)
        out = torch.full(shape, self.encoder.eos_token_id, device=self.rows.device)
        out_logprobs = torch.zeros(shape, device=self.rows.device)
        alive = torch.ones(len(self.rows), dtype=torch.bool, device=self.rows.device)
        for step in range(self.sampling.max_new_tokens):
            marks.drop_if_asked()
            tokens, logprobs = self._sample(hidden, self.uniforms[self.rows, step])
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
            position_ids=self.family.position_ids(positions),
            mm_encoder_outputs=encode_images(self.policy, self.batch),
            use_cache=True,
            **cache_argument(self.policy.model, cache),
            **self.family.further_inputs(self.policy, self.batch.input_ids),
        )
        self.axes = len(positions)
        kind = SharedTail if knows_prefixes(self.policy) else RepeatedTail
        self.tail = kind(self.policy, cache, self.batch.attention_mask, self.sampling.group_size)
        times = self.sampling.group_size
        return output.last_hidden_state[:, -1].repeat_interleave(times, 0), first.repeat_interleave(
            times
        )

    def _sample(
        self, hidden: Float[Tensor, "n d"], uniform: Float64[Tensor, " n"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """Sample one token per row and return it with its log-probability."""
        forbidden = tuple(self.encoder.forbidden_token_ids)
        head = self.family.head(self.policy)
        logits = masked_logits(head, hidden, forbidden, self.sampling.temperature)
        largest, greedy = logits.max(-1, keepdim=True)
        weights = (logits - largest).exp_()
        total = weights.sum(-1, keepdim=True)
        if total.isnan().any():
            raise FloatingPointError("the policy's logits became nan while sampling")
        if self.sampling.temperature == 0:
            tokens = greedy
        else:
            if self.sampling.top_p < 1:
                weights = weights * (_nucleus(weights / total, self.sampling.top_p) > 0)
            tokens = draw(weights, uniform)
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
        positions = self.position.expand(self.axes, -1)[..., None]
        hidden = self.tail.step(tokens, self.family.position_ids(positions))
        self.position = self.position + 1
        return hidden


class SharedTail:
    """Decodes single tokens with one copy of each prompt's keys and values."""

    def __init__(
        self, policy: Any, prompts: DynamicCache, mask: Int[Tensor, "p l"], group_size: int
    ) -> None:
        use_prefix_attention(policy)
        self.policy = policy
        self.cache = PrefixCache(prompts=prompts, mask=mask.bool(), group_size=group_size)
        self.select = self.cache.select

    def step(
        self, tokens: Int[Tensor, " n"], positions: Int[Tensor, "*a n 1"]
    ) -> Float[Tensor, "n d"]:
        """Return the last hidden state of one more token per row."""
        output = self.policy.model(
            input_ids=tokens[:, None],
            position_ids=positions,
            behind=self.cache,
            use_cache=True,
            **cache_argument(self.policy.model, self.cache),
        )
        return output.last_hidden_state[:, -1]


class RepeatedTail:
    """Decodes single tokens with a prompt's keys and values repeated for its group.

    Used for policies whose attention `PrefixCache` does not support.
    """

    def __init__(
        self, policy: Any, prompts: DynamicCache, mask: Int[Tensor, "p l"], group_size: int
    ) -> None:
        # `reorder_cache` is what every kind of layer has; states of linear attention have no other.
        rows = torch.arange(len(mask), device=mask.device).repeat_interleave(group_size)
        prompts.reorder_cache(rows)
        self.policy, self.cache, self.mask = policy, prompts, mask.repeat_interleave(group_size, 0)

    def select(self, rows: Int[Tensor, " m"]) -> None:
        """Keep only these rows."""
        self.cache.reorder_cache(rows)
        self.mask = self.mask[rows]

    def step(
        self, tokens: Int[Tensor, " n"], positions: Int[Tensor, "*a n 1"]
    ) -> Float[Tensor, "n d"]:
        """Return the last hidden state of one more token per row."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], 1)
        output = self.policy.model(
            input_ids=tokens[:, None],
            attention_mask=self.mask,
            position_ids=positions,
            use_cache=True,
            **cache_argument(self.policy.model, self.cache),
        )
        return output.last_hidden_state[:, -1]


def _nucleus(probs: Float[Tensor, "n v"], top_p: float) -> Float[Tensor, "n v"]:
    """Set probabilities outside the nucleus of `top_p` to 0; the top token always stays."""
    ordered, order = probs.sort(-1, descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return torch.zeros_like(probs).scatter(-1, order, ordered.masked_fill(outside, 0.0))
