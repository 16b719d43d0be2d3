"""Memory by part, in bytes, for the three phases of a step that need the most.

All phases hold weights, optimizer state and reference policy. Besides, they hold:

    rollout     while completions are generated: cache of keys and values
    backward    in the largest micro-batch: gradients so far, activations
    optimizer   in an update: gradients, copies that the optimizer makes

With sharding, weights, gradients and optimizer state are spread over processes.

Not counted: fragmentation, the CUDA context (about half a GiB), NCCL buffers, reward workers, and
what an engine keeps while it sleeps (CUDA graphs).
"""

from dataclasses import dataclass

from g2rpo.policy.prefix_cache import ROOM
from g2rpo.training.estimate import activations
from g2rpo.training.estimate.machine import Machine
from g2rpo.training.estimate.shape import Shape
from g2rpo.training.estimate.workload import Workload

PHASES = ("rollout", "backward", "optimizer")
PIXEL_BYTES = 4
"""Bytes of a number in `pixel_values`, which are float32 for any dtype of the model."""
SAMPLING_COPIES = 5
"""Number of float32 tensors of vocabulary size that sampling a token needs at the same time:
logits, scaled, masked, log-probabilities, probabilities.
"""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Bytes of one part in each of `PHASES`."""

    name: str
    rollout: int = 0
    backward: int = 0
    optimizer: int = 0


def parts_of(shape: Shape, load: Workload, device: Machine, state: int, copies: int) -> list[Part]:
    """Return all parts that need memory; `optimizer_bytes` returns `state` and `copies`."""
    engine = round(load.engine_frac * device.memory)
    pixels = load.lengths.most_patches * shape.patch_values * PIXEL_BYTES * load.prompts
    rows = [
        *_permanent(shape, load, device, state),
        Part(
            name="pixels",
            rollout=pixels * (2 if load.redraws else 1),
            backward=pixels,
            optimizer=pixels,
        ),
        *_of_rollouts(shape, load),
        Part(
            name="engine",
            rollout=engine,
            backward=engine if load.engine_stays else 0,
            optimizer=engine if load.engine_stays else 0,
        ),
        *_of_updates(shape, load, device, copies),
    ]
    return [part for part in rows if any(getattr(part, phase) for phase in PHASES)]


def _permanent(shape: Shape, load: Workload, device: Machine, state: int) -> list[Part]:
    weights = shape.weights * shape.number // load.shards + shape.adapter
    sizes = {
        "process before the model": device.baseline,
        "weights": weights,
        # adapters are small: every process has all of them
        "optimizer state": state if shape.adapter else state // load.shards,
        "reference policy": weights if load.reference and not shape.adapter else 0,
    }
    return [
        Part(name=name, rollout=size, backward=size, optimizer=size) for name, size in sizes.items()
    ]


def _of_rollouts(shape: Shape, load: Workload) -> list[Part]:
    return [
        Part(name="prefill", rollout=_prefill(shape, load)),
        Part(name="keys and values", rollout=_cache(shape, load)),
        Part(name="sampling", rollout=_sampling(shape, load)),
    ]


def _of_updates(shape: Shape, load: Workload, device: Machine, copies: int) -> list[Part]:
    gradients = shape.trained * shape.number // load.shards + shape.adapter
    computed, computed_backward = _computed_weights(shape, load)
    return [
        Part(
            name="gathered weights" if load.shards > 1 else "weights in the compute dtype",
            rollout=computed if load.sampled_here else 0,
            backward=computed_backward,
        ),
        Part(
            name="gradients",
            backward=_gradients(shape, load, gradients),
            optimizer=gradients,
        ),
        Part(name="gradients of other tasks", backward=(load.task_gradients - 1) * gradients),
        Part(name="optimizer's copies", optimizer=copies // load.shards if device.copies else 0),
        Part(name="activations", backward=_backbone(shape, load)),
        Part(name="head", backward=activations.head(shape, load.predicted, device.piece)),
    ]


def _computed_weights(shape: Shape, load: Workload) -> tuple[int, int]:
    """Return the bytes of weights as they are computed with, in sampling and in a backward pass.

    Sharded, all outside of the layers is gathered, and two layers at a time; in a backward pass,
    the gradients of a layer (also in float32, to be summed) and of the rest besides. Float32
    weights that are computed in bfloat16 without sharding are cast layer by layer, and the casts
    stay until the backward pass unless layers are recomputed.
    """
    root = shape.weights - shape.layers * shape.layer
    if load.shards > 1:
        gathered = (root + 2 * shape.layer) * shape.compute
        summed = shape.layer * (shape.compute + 4) + root * shape.compute
        return gathered, gathered + (summed if shape.trained else 0)
    if shape.compute == shape.number:
        return 0, 0
    whole = shape.weights * shape.compute
    once = max(shape.layer, shape.words * shape.hidden) * shape.compute
    return whole, once if load.checkpointing else whole


def totals(parts: list[Part]) -> dict[str, int]:
    """Return the bytes of each phase."""
    return {phase: sum(getattr(part, phase) for part in parts) for phase in PHASES}


def _gradients(shape: Shape, load: Workload, whole: int) -> int:
    """Return the bytes of gradients at the peak of a backward pass.

    With one micro-batch, gradients appear as activations are freed, so only the head's gradient
    coexists with all of them. With checkpointing, activations are few, so the peak is at the end of
    the pass. With several micro-batches, the gradients of earlier ones exist already. Sharded
    gradients appear layer by layer, and count as a whole.
    """
    head = (
        0
        if shape.adapter or load.shards > 1  # sharded, it counts as a gathered one
        else shape.words * shape.hidden * shape.number * (2 if shape.tied else 1)
    )
    if load.micro_batches > 1 or load.shards > 1:
        return whole + head
    return max(whole, head) if load.checkpointing else head


def _backbone(shape: Shape, load: Workload) -> int:
    patches = load.micro_batch_prompts * load.lengths.most_patches
    return activations.backbone(shape, load.tokens, patches, checkpointing=load.checkpointing)


def _prefill(shape: Shape, load: Workload) -> int:
    """Return the bytes of one pass over all prompts, padded to the longest, with its mask.

    The mask takes one byte per pair of tokens, and one number when it is added to the scores.
    """
    if not load.sampled_here:
        return 0
    longest = load.lengths.longest
    mask = load.asked * longest**2 * (1 + shape.compute)
    return (
        activations.inference(shape, load.asked * longest, load.asked * load.lengths.most_patches)
        + mask
    )


def _cache(shape: Shape, load: Workload) -> int:
    """Return the bytes of the cache and of one layer's attention scores for a token.

    Each prompt is cached once for its group, completions in the room that sampling allocates.
    """
    if not load.sampled_here:
        return 0
    rows, room = load.asked * load.group_size, ROOM
    while room < load.completion:
        room *= 2
    # float32, and a copy in the model's dtype if that is another
    scores = rows * shape.heads * load.lengths.longest * (4 + shape.compute % 4)
    return (load.asked * load.lengths.longest + rows * room) * activations.cache(shape) + scores


def _sampling(shape: Shape, load: Workload) -> int:
    return (
        load.asked * load.group_size * shape.words * 4 * SAMPLING_COPIES if load.sampled_here else 0
    )
