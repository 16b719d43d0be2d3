"""Bytes of activations, counted tensor by tensor in the layers of transformers' Qwen-VL models.

Widths are those of `Shape`. `b` is the size in bytes of a number in the dtype that the model
computes in; layers that compute in float32 for any dtype use 4. Shared views count once,
biases and per-token scalars not.
"""

from g2rpo.training.estimate.shape import Shape


def text_layer(shape: Shape) -> int:
    """Return the bytes that a text layer keeps per token, without gradient checkpointing.

    Two RMSNorms keep their float32 input, the normalized and the scaled states. Attention keeps
    queries, keys, values, its output, and the inputs of the norms of queries and keys. The MLP
    keeps the gate, its activation, the other branch and their product. Experts keep copies of the
    states that they get, and their outputs with and without weight.
    """
    b = shape.compute
    norms = 2 * shape.hidden * (4 + 2 * b)
    attention = 2 * (shape.queries + shape.keys) * b
    qk_norms = (shape.queries + shape.keys) * (4 + b) if shape.qk_norm else 0
    return norms + attention + qk_norms + (4 * shape.inner + shape.routed) * b


def layer_input(shape: Shape) -> int:
    """Return the bytes that a text layer keeps per token with gradient checkpointing."""
    return shape.hidden * shape.compute


def vision_layer(shape: Shape) -> int:
    """Return the bytes that a layer of the vision tower keeps per patch; 0 if it is frozen.

    These are two norms (Qwen2.5's are RMSNorms with a float32 input), queries, keys and values
    before and after rotation, the output of attention by image and joined, and the MLP.
    """
    if not shape.vision_trained:
        return 0
    b = shape.compute
    norms = 2 * shape.width * (4 + 2 * b) if shape.gated else 4 * shape.width * b
    mlp = (4 if shape.gated else 2) * shape.patch_inner * b
    return norms + 7 * shape.width * b + mlp


def vision_input(shape: Shape) -> int:
    """Return the bytes that a vision layer keeps per patch with gradient checkpointing."""
    return shape.width * shape.compute if shape.vision_trained else 0


def vision_mergers(shape: Shape) -> int:
    """Return the bytes that the patch mergers keep per patch.

    These are norm, first layer, activation and pixel values.
    """
    if not shape.vision_trained:
        return 0
    return (4 * shape.width * shape.mergers + shape.patch_values) * shape.compute


def working(shape: Shape) -> int:
    """Return the temporary bytes of a text layer per token: gradients of its widest tensors."""
    return (2 * shape.inner + 2 * shape.queries + 2 * shape.hidden) * shape.compute


def backbone(shape: Shape, tokens: int, patches: int, *, checkpointing: bool) -> int:
    """Return the bytes of all layers of both towers, the final norm and temporary tensors."""
    text, vision = (
        (layer_input(shape), vision_input(shape))
        if checkpointing
        else (text_layer(shape), vision_layer(shape))
    )
    kept = tokens * shape.layers * text + patches * (shape.depth * vision + vision_mergers(shape))
    final = tokens * shape.hidden * (4 + 2 * shape.compute)
    again = max(tokens * text_layer(shape), patches * vision_layer(shape)) if checkpointing else 0
    return kept + final + again + tokens * working(shape)


def head(shape: Shape, predicted: int, piece: int) -> int:
    """Return the bytes of the head, which is computed in pieces of `piece` bytes of logits.

    Four pieces exist at the same time, besides the hidden states and their gradient.
    """
    return 4 * piece + predicted * shape.hidden * (2 * shape.compute + 4)


def inference(shape: Shape, tokens: int, patches: int) -> int:
    """Return the peak bytes of a pass without gradients, for the tower that needs more."""
    b = shape.compute
    text = tokens * (
        shape.hidden * (2 * b + 4) + max(3 * shape.inner, 2 * (shape.queries + 2 * shape.keys)) * b
    )
    wide = max((3 if shape.gated else 2) * shape.patch_inner, 8 * shape.width)
    return max(text, patches * (wide + 2 * shape.width) * b)


def cache(shape: Shape) -> int:
    """Return the bytes of keys and values of all layers per token of a sequence."""
    return 2 * shape.keys * shape.layers * shape.compute
