"""Where memory goes and when: one row per part, in bytes, for the three places of a step where most
is held.

    rollout     completions are written           weights, state, reference, cache of keys and values
    backward    the largest micro-batch           weights, state, reference, gradients so far, what layers keep
    optimizer   an update                         weights, state, reference, gradients, copies that the optimizer makes

What is not here: fragmentation, the CUDA context (about half a GiB), buffers of NCCL, workers that
judge completions.
"""

from dataclasses import dataclass

from g2rpo.policy.prefix_cache import ROOM
from g2rpo.training.estimate import activations
from g2rpo.training.estimate.machine import Machine
from g2rpo.training.estimate.shape import Shape
from g2rpo.training.estimate.workload import Workload

PHASES = ("rollout", "backward", "optimizer")
PIXEL_BYTES = 4
"""`pixel_values` are float32 whatever the model's dtype is."""
SAMPLING_COPIES = 5
"""Float32 rows of the vocabulary that sampling a token holds: logits, scaled, blocked,
log-probabilities, probabilities.
"""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Bytes of one part in each of `PHASES`."""

    name: str
    rollout: int = 0
    backward: int = 0
    optimizer: int = 0
    lower: str
    """Settings that make it smaller."""


def parts_of(shape: Shape, load: Workload, device: Machine, state: int, copies: int) -> list[Part]:
    """All of them. `state` and `copies`: see `optimizer_bytes`."""
    weights, gradients = (
        shape.weights * shape.number + shape.adapter,
        shape.trained * shape.number + shape.adapter,
    )
    pixels = load.lengths.most_patches * shape.patch_values * PIXEL_BYTES * load.prompts
    engine = round(load.engine_frac * device.memory)
    always = {"rollout": 1, "backward": 1, "optimizer": 1}
    rows = [
        Part(name="process before the model", **_times(device.baseline, always), lower="nothing"),
        Part(
            name="weights", **_times(weights, always), lower="model.dtype=bfloat16, a smaller model"
        ),
        Part(
            name="optimizer state",
            **_times(state, always),
            lower="model.dtype=bfloat16, model.freeze_vision=true, another optimizer",
        ),
        Part(
            name="reference policy",
            **_times(weights if load.reference and not shape.adapter else 0, always),
            lower="loss.kl_coef=0",
        ),
        Part(
            name="gradients",
            backward=_gradients(shape, load, gradients),
            optimizer=gradients,
            lower="model.freeze_vision=true",
        ),
        Part(
            name="optimizer's copies",
            optimizer=copies if device.copies else 0,
            lower="+optimizer.foreach=false",
        ),
        Part(
            name="pixels",
            rollout=pixels * (2 if load.redraws else 1),
            backward=pixels,
            optimizer=pixels,
            lower="model.max_pixels",
        ),
        Part(
            name="prefill",
            rollout=_prefill(shape, load),
            lower="batch.prompts_per_step, rollout=vllm_server",
        ),
        Part(
            name="keys and values",
            rollout=_cache(shape, load),
            lower="rollout=vllm_server, batch.prompts_per_step, group_size or max_new_tokens",
        ),
        Part(
            name="sampling",
            rollout=_sampling(shape, load),
            lower="rollout=vllm_server, batch.prompts_per_step or group_size",
        ),
        Part(
            name="engine",
            rollout=engine,
            backward=engine if load.engine_stays else 0,
            optimizer=engine if load.engine_stays else 0,
            lower="rollout.gpu_memory_utilization, rollout.sleep=true",
        ),
        Part(name="what layers keep", backward=_backbone(shape, load), lower=_cuts(load)),
        Part(
            name="head",
            backward=activations.head(shape, load.predicted, device.piece),
            lower=_cuts(load),
        ),
    ]
    return [part for part in rows if any(getattr(part, phase) for phase in PHASES)]


def totals(parts: list[Part]) -> dict[str, int]:
    """Bytes of each phase."""
    return {phase: sum(getattr(part, phase) for part in parts) for phase in PHASES}


def _times(size: int, phases: dict[str, int]) -> dict[str, int]:
    return {phase: size * times for phase, times in phases.items()}


def _gradients(shape: Shape, load: Workload, whole: int) -> int:
    """During a backward pass.

    Of one micro-batch alone, gradients come as what layers keep goes, and only the head's meets all
    of that. With checkpointing little is kept, so that most is held at the end of the pass. Of
    several micro-batches, the gradients of those before are there.
    """
    head = (
        0 if shape.adapter else shape.words * shape.hidden * shape.number * (2 if shape.tied else 1)
    )
    if load.micro_batches > 1:
        return whole + head
    return max(whole, head) if load.checkpointing else head


def _backbone(shape: Shape, load: Workload) -> int:
    patches = load.micro_batch_prompts * load.lengths.most_patches
    return activations.backbone(shape, load.tokens, patches, checkpointing=load.checkpointing)


def _prefill(shape: Shape, load: Workload) -> int:
    """One pass over all prompts, padded to the longest, and its mask: a byte a pair of tokens, and
    a number where it is added to scores.
    """
    if not load.sampled_here:
        return 0
    longest = load.lengths.longest
    mask = load.prompts * longest**2 * (1 + shape.number)
    return (
        activations.inference(
            shape, load.prompts * longest, load.prompts * load.lengths.most_patches
        )
        + mask
    )


def _cache(shape: Shape, load: Workload) -> int:
    """Of prompts once for their group, of completions in the room they are given; and one layer's
    scores of a token, in float32.
    """
    if not load.sampled_here:
        return 0
    rows, room = load.prompts * load.group_size, ROOM
    while room < load.completion:
        room *= 2
    scores = (
        rows * shape.heads * load.lengths.longest * (4 + shape.number % 4)
    )  # and a copy in the model's dtype, if that is another
    return (load.prompts * load.lengths.longest + rows * room) * activations.cache(shape) + scores


def _sampling(shape: Shape, load: Workload) -> int:
    return (
        load.prompts * load.group_size * shape.words * 4 * SAMPLING_COPIES
        if load.sampled_here
        else 0
    )


def _cuts(load: Workload) -> str:
    cuts = (
        "batch.micro_batch_prompts"
        if load.micro_batch_prompts > 1
        else "rollout.max_new_tokens, data.loading.max_prompt_tokens"
    )
    return cuts if load.checkpointing else f"model.gradient_checkpointing=true, {cuts}"
