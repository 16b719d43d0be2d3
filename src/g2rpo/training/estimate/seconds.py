"""Seconds of a step from its floating-point operations and its bytes. What judges completions,
reads data or waits is not counted.
"""

from g2rpo.training.estimate.machine import Machine
from g2rpo.training.estimate.shape import Shape
from g2rpo.training.estimate.workload import Workload

STATE_TRAFFIC = 3
"""Times that an update reads or writes weights, gradients and state, all together."""
SCORES = 6
"""Times that decoding reads or writes the scores of a token's attention, in float32."""
BACKWARD = 2.0
"""FLOPs of a backward pass over those of its forward pass; half of them are for the gradients of
weights, which an adapter spares.
"""


def seconds_of(
    shape: Shape, load: Workload, device: Machine, state: int, completion: float | None = None
) -> dict[str, float]:
    """By stage; empty where the speed of the device is not known.

    Args:
        shape: Of the policy.
        load: What there is to do.
        device: How fast it is.
        state: Bytes of the optimizer.
        completion: Tokens of a completion on average; None takes the longest.
    """
    if not device.flops or not device.bandwidth:
        return {}
    tokens = completion or load.completion
    vision, prompt = load.prompts * _vision(shape, load.lengths.mean_patches), _prompts(shape, load)
    passes = (
        -(-load.prompts // load.micro_batch_prompts) * (shape.layers + shape.depth) * device.layer_s
    )
    forward = (vision + _update(shape, load, tokens)) / device.flops + passes
    again = 1.0 if load.checkpointing else 0.0
    changed = shape.adapter or shape.weights * shape.number
    backward = BACKWARD / 2 if shape.adapter else BACKWARD
    return {
        "prefill": (vision + prompt) / device.flops + (shape.layers + shape.depth) * device.layer_s,
        "decode": _decode(shape, load, device, tokens),
        "without gradients": load.extra_passes * forward,
        "forward": forward,
        "backward": (backward + again) * forward,
        "optimizer": load.updates * STATE_TRAFFIC * (2 * changed + state) / device.bandwidth,
    }


def _vision(shape: Shape, patches: float) -> float:
    return shape.cost.patch * patches + shape.cost.patch_pair * patches**2


def _prompts(shape: Shape, load: Workload) -> float:
    """FLOPs of the text layers over all prompts, each once."""
    mean = load.lengths.mean
    return load.prompts * (shape.cost.token * mean + shape.cost.pair * mean**2 / 2)


def _update(shape: Shape, load: Workload, completion: float) -> float:
    """FLOPs of one pass for all groups: prompts once or once per completion, completions, head."""
    rows, cost, mean = load.prompts * load.group_size, shape.cost, load.lengths.mean
    own = (
        cost.token * completion
        + cost.pair * (completion * mean + completion**2 / 2)
        + cost.head * completion
    )
    return _prompts(shape, load) * (1 if load.shared else load.group_size) + rows * own


def _decode(shape: Shape, load: Workload, device: Machine, completion: float) -> float:
    """One token of every completion after the other: bound by reading weights, keys and values, by
    products, or by Python.
    """
    rows, cost = load.prompts * load.group_size, shape.cost
    middle = load.lengths.mean + completion / 2
    held = 2 * shape.keys * shape.layers * shape.number
    cached = held * (
        load.prompts * load.lengths.mean + rows * completion / 2
    )  # a prompt's once for its group
    read = (
        shape.weights * shape.number
        + cached
        + SCORES * 4 * shape.layers * shape.heads * rows * middle
    )
    work = rows * (cost.token + cost.head + cost.pair * middle)
    return completion * (
        max(read / device.bandwidth, work / device.flops) + shape.layers * device.layer_s
    )
