"""One family in vLLM, in a process of its own: a second engine in a process is a risk.

    python vllm_family.py final|engine MODEL_TYPE FOLDER DTYPE

It writes FOLDER/found.json: whether prompts and greedy completions are those of transformers, and
the largest difference of log-probabilities in nats.
"""

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tiny_families import BUILDERS

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.export import save_checkpoint
from g2rpo.policy.family.choose_family import family_of
from g2rpo.policy.stats import token_stats
from g2rpo.records import Prompt, PromptBatch, Rollouts, Sampling
from g2rpo.rollout.hf import HFEngine
from g2rpo.rollout.vllm import VLLMEngine

GREEDY = Sampling(group_size=1, max_new_tokens=8, temperature=0.0)


def noise(seed: int, width: int, height: int) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator)
    return Image.fromarray(pixels.to(torch.uint8).numpy())


def prompts() -> list[Prompt]:
    """No image, one of a size that is not scaled, and one that is."""
    images = [(), (noise(0, 64, 64),), (noise(1, 20, 60),)]
    texts = [{"text": "how many? " * (i + 1), "images": own} for i, own in enumerate(images)]
    more = {"task": "math", "answer": "1", "answer_type": "numerical"}
    return [Prompt(id=f"t/{i}", **own, **more) for i, own in enumerate(texts)]


def moved(policy: Any) -> Any:
    """A copy after a step of training that changed every matrix."""
    newer = copy.deepcopy(policy)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in newer.parameters():
            if parameter.ndim > 1:
                change = torch.randn(parameter.shape, generator=generator) * 0.1 * parameter.std()
                parameter.add_(change.to(parameter.dtype))
    return newer


def largest_gap(policy: Any, encoder: Any, batch: PromptBatch, rollouts: Rollouts) -> float:
    with torch.no_grad():
        stats = token_stats(
            policy,
            batch,
            rollouts.completion_ids,
            rollouts.completion_mask,
            forbidden=encoder.forbidden_token_ids,
        )
    return float((stats.logprobs - rollouts.old_logprobs).abs().max())


def own_completions(policy: Any, encoder: Any, batch: PromptBatch) -> Rollouts:
    engine = HFEngine(max_new_tokens=8)
    engine.start(policy, encoder)
    return engine.generate(batch, GREEDY, seed=1)


def token_rows(rollouts: Rollouts) -> list[list[int]]:
    """Token ids: of bytes that are no text, decoders make different replacement characters."""
    rows = zip(rollouts.completion_ids, rollouts.completion_mask, strict=True)
    return [ids[mask].tolist() for ids, mask in rows]


def final(checkpoint: Checkpoint, folder: Path, dtype: str) -> dict[str, Any]:
    """`checkpoints/final` in vLLM with settings of its own, asked in text and images."""
    policy, encoder = moved(checkpoint.policy()), checkpoint.encoder()
    save_checkpoint(policy, encoder, folder / "final", dtype)
    batch = encoder.encode(prompts())
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "TORCHDYNAMO_DISABLE": "1"}
    from vllm import LLM, SamplingParams

    llm = LLM(
        str(folder / "final"),
        dtype=dtype,
        enforce_eager=True,
        max_model_len=512,
        max_num_seqs=8,
        kv_cache_memory_bytes=2**26,
        limit_mm_per_prompt={"image": 2, "video": 0},
        **family_of(policy).engine_options,  # images scaled with PIL, as here
    )
    asked = [
        {"prompt": encoder.chat_text(prompt)}
        | (
            {"multi_modal_data": {"image": [encoder.fit(image) for image in prompt.images]}}
            if prompt.images
            else {}
        )
        for prompt in batch.prompts
    ]
    banned = dict.fromkeys(encoder.forbidden_token_ids, -100.0)
    settings = SamplingParams(
        max_tokens=8,
        temperature=0,
        stop_token_ids=list(encoder.end_tokens),
        logit_bias=banned,
    )
    answers = llm.generate(asked, settings, use_tqdm=False)
    rows = zip(batch.input_ids, batch.attention_mask.bool(), strict=True)
    read = [ids[mask].tolist() for ids, mask in rows]
    own = token_rows(own_completions(policy, encoder, batch))
    given = [list(answer.outputs[0].token_ids) for answer in answers]
    return {
        "prompts": [list(answer.prompt_token_ids) for answer in answers] == read,
        "equal": [a == b for a, b in zip(given, own, strict=True)],
    }


def engine(checkpoint: Checkpoint, dtype: str) -> dict[str, Any]:
    """`rollout=vllm` before and after a step; the sync probe raises if it finds other weights."""
    policy, encoder = checkpoint.policy(), checkpoint.encoder()
    batch, found = encoder.encode(prompts()), {}
    vllm = VLLMEngine(max_new_tokens=8, max_model_len=512, temperature=1.0)
    vllm.start(policy, encoder)
    gaps = []
    for step, now in enumerate((policy, moved(policy))):
        vllm.load_weights(now, step)
        sampled = vllm.generate(batch, Sampling(group_size=3, max_new_tokens=8), seed=step)
        gaps.append(largest_gap(now, encoder, batch, sampled))
        given = token_rows(vllm.generate(batch, GREEDY, seed=0))
        own = token_rows(own_completions(now, encoder, batch))
        found["equal"] = [a == b for a, b in zip(given, own, strict=True)]
    return found | {"gap": max(gaps), "probe": vllm.metrics()["rollout/sync_logprob_gap"]}


def main(what: str, kind: str, place: str, dtype: str) -> None:
    folder = Path(place)
    BUILDERS[kind](folder / "base")
    checkpoint = Checkpoint(path=str(folder / "base"), dtype=dtype)
    found = final(checkpoint, folder, dtype) if what == "final" else engine(checkpoint, dtype)
    (folder / "found.json").write_text(json.dumps(found))
    os._exit(0)  # vLLM's threads need not end in order


if __name__ == "__main__":
    main(*sys.argv[1:])
