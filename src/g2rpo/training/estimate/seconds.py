"""Seconds of a step, from its FLOPs and memory traffic.

Scoring of completions, data loading and waiting are not counted.
"""

from g2rpo.training.estimate.machine import Machine
from g2rpo.training.estimate.shape import Shape
from g2rpo.training.estimate.workload import Workload

STATE_TRAFFIC = 3
"""Number of times that an update reads or writes weights, gradients and optimizer state."""
SCORES = 6
"""Number of times that decoding reads or writes the float32 attention scores of a token."""
WITHIN_NODE, BETWEEN_NODES = 300e9, 50e9
"""Bytes per second that a GPU sends to others: usual figures of NVLink, and of InfiniBand at 400
Gbit/s per GPU; not measured.
"""
BACKWARD = 2.0
"""FLOPs of a backward pass relative to its forward pass. Half of them are for the gradients of
weights, which are not needed with an adapter.
"""


def seconds_of(
    shape: Shape, load: Workload, device: Machine, state: int, completion: float | None = None
) -> dict[str, float]:
    """Return the seconds of each stage; empty if the speed of the device is not known.

    Args:
        shape: Sizes of the policy.
        load: Work of one process in a step.
        device: Its speed.
        state: Bytes of the optimizer state.
        completion: Mean tokens of a completion; None assumes the longest.
    """
    if not device.flops or not device.bandwidth:
        return {}
    tokens = completion or load.completion
    vision, prompt = load.prompts * _vision(shape, load.lengths.mean_patches), _prompts(shape, load)
    passes = load.passes(tokens)
    overhead = passes * (shape.layers + shape.depth) * device.layer_s
    forward = (vision + _update(shape, load, tokens)) / device.flops + overhead
    again = 1.0 if load.checkpointing else 0.0
    changed = shape.adapter or shape.weights * shape.number // load.shards
    backward = BACKWARD / 2 if shape.adapter else BACKWARD
    state = state if shape.adapter else state // load.shards
    updates = forward * (1 + load.extra_passes + backward + again)
    return {
        "prefill": (vision + prompt) / device.flops + (shape.layers + shape.depth) * device.layer_s,
        "decode": _decode(shape, load, device, tokens),
        "without gradients": load.extra_passes * forward,
        "forward": forward,
        "backward": (backward + again) * forward,
        "optimizer": load.updates * STATE_TRAFFIC * (2 * changed + state) / device.bandwidth,
        "communication": max(0.0, _communication(shape, load, device, passes) - updates),
    }


def _communication(shape: Shape, load: Workload, device: Machine, passes: int) -> float:
    """Return the seconds in which sharded weights are gathered and gradients are summed.

    Weights are gathered in the compute dtype for every forward and backward pass, gradients are
    summed in float32. It runs beside the computation, so only what is longer counts.
    """
    link = BETWEEN_NODES if load.across_nodes and load.nodes > 1 else WITHIN_NODE
    if load.shards == 1 or not device.copies:
        return 0.0
    gathered = shape.weights * shape.compute * (2 + load.extra_passes)
    within = (gathered + 4 * shape.trained) * (1 - 1 / load.shards) / link
    copies = 1 if load.across_nodes else load.nodes
    # every node has all weights: only the shards of gradients are summed between nodes
    between = 2 * 4 * shape.trained / load.shards * (1 - 1 / copies) / BETWEEN_NODES
    return passes * (within + between)


def _vision(shape: Shape, patches: float) -> float:
    return shape.cost.patch * patches + shape.cost.patch_pair * patches**2


def _prompts(shape: Shape, load: Workload) -> float:
    """Return the FLOPs of the text layers for all prompts, each once."""
    mean = load.lengths.mean
    return load.prompts * (shape.cost.token * mean + shape.cost.pair * mean**2 / 2)


def _update(shape: Shape, load: Workload, completion: float) -> float:
    """Return the FLOPs of one pass for all groups: prompts, completions and head."""
    rows, cost, mean = load.prompts * load.group_size, shape.cost, load.lengths.mean
    own = (
        cost.token * completion
        + cost.pair * (completion * mean + completion**2 / 2)
        + cost.head * completion
    )
    return _prompts(shape, load) * (1 if load.shared else load.group_size) + rows * own


def _decode(shape: Shape, load: Workload, device: Machine, completion: float) -> float:
    """Return the seconds to sample all completions token by token.

    Memory traffic or FLOPs limit the speed. Sampling by the policy itself has Python overhead and
    writes attention scores; an engine has neither, but generates only so many at the same time.
    """
    rows, cost = load.prompts * load.group_size, shape.cost
    turns = -(-rows // min(rows, load.concurrency or rows))
    middle = load.lengths.mean + completion / 2
    held = 2 * shape.keys * shape.layers * shape.compute
    # a prompt is cached once for its group
    cached = held * (load.prompts * load.lengths.mean + rows * completion / 2)
    scores = SCORES * 4 * shape.layers * shape.heads * rows * middle if load.sampled_here else 0.0
    read = turns * shape.weights * shape.compute + cached + scores
    work = rows * (cost.token + cost.head + cost.pair * middle)
    overhead = shape.layers * device.layer_s if load.sampled_here else 0.0
    return completion * (max(read / device.bandwidth, work / device.flops) + overhead)
