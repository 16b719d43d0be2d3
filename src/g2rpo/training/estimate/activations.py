"""Bytes that a forward pass keeps for its backward pass, counted tensor by tensor in the layers of
transformers' Qwen-VL models.

Widths are those of `Shape`; `b` is the size of a number of the model, and 4 where the layers
compute in float32 whatever the model's dtype. What views share is counted once, biases and
per-token scalars not at all.
"""

from g2rpo.training.estimate.shape import Shape


def text_layer(shape: Shape) -> int:
    """Of one text layer, per token, without gradient checkpointing.

    Two RMSNorms keep their float32 input, the normalized and the scaled states; attention keeps
    queries, keys, values and its output, and before them what the norms of queries and keys need;
    the MLP keeps gate, its activation, the other branch and their product.
    """
    b = shape.number
    norms = 2 * shape.hidden * (4 + 2 * b)
    attention = 2 * (shape.queries + shape.keys) * b
    qk_norms = (shape.queries + shape.keys) * (4 + b) if shape.qk_norm else 0
    return norms + attention + qk_norms + 4 * shape.inner * b


def layer_input(shape: Shape) -> int:
    """What gradient checkpointing keeps of one text layer instead, per token."""
    return shape.hidden * shape.number


def vision_layer(shape: Shape) -> int:
    """Of one layer of the vision tower, per patch; 0 where the tower is frozen.

    Two norms (Qwen2.5's are RMSNorms with a float32 input), queries, keys and values before and
    after they are turned, attention's output image by image and joined, and the MLP.
    """
    if not shape.vision_trained:
        return 0
    b = shape.number
    norms = 2 * shape.width * (4 + 2 * b) if shape.gated else 4 * shape.width * b
    mlp = (4 if shape.gated else 2) * shape.patch_inner * b
    return norms + 7 * shape.width * b + mlp


def vision_input(shape: Shape) -> int:
    """What gradient checkpointing keeps of one vision layer instead, per patch."""
    return shape.width * shape.number if shape.vision_trained else 0


def vision_mergers(shape: Shape) -> int:
    """Norm, first layer, activation and pixel values on the way from patches to tokens, per
    patch.
    """
    if not shape.vision_trained:
        return 0
    return (4 * shape.width * shape.mergers + shape.patch_values) * shape.number


def working(shape: Shape) -> int:
    """What one text layer holds at the same time beyond what it keeps, per token: gradients of its
    widest tensors on the way back.
    """
    return (2 * shape.inner + 2 * shape.queries + 2 * shape.hidden) * shape.number


def backbone(shape: Shape, tokens: int, patches: int, *, checkpointing: bool) -> int:
    """All layers of both towers, the final norm and one layer's work, in bytes."""
    text, vision = (
        (layer_input(shape), vision_input(shape))
        if checkpointing
        else (text_layer(shape), vision_layer(shape))
    )
    kept = tokens * shape.layers * text + patches * (shape.depth * vision + vision_mergers(shape))
    final = tokens * shape.hidden * (4 + 2 * shape.number)
    again = max(tokens * text_layer(shape), patches * vision_layer(shape)) if checkpointing else 0
    return kept + final + again + tokens * working(shape)


def head(shape: Shape, predicted: int, piece: int) -> int:
    """The head in pieces of the vocabulary of `piece` bytes in float32: four of them, and hidden
    states with their gradient.
    """
    return 4 * piece + predicted * shape.hidden * (2 * shape.number + 4)


def inference(shape: Shape, tokens: int, patches: int) -> int:
    """The widest place of a pass without gradients, for whichever tower is wider, in bytes."""
    b = shape.number
    text = tokens * (
        shape.hidden * (2 * b + 4) + max(3 * shape.inner, 2 * (shape.queries + 2 * shape.keys)) * b
    )
    wide = max((3 if shape.gated else 2) * shape.patch_inner, 8 * shape.width)
    return max(text, patches * (wide + 2 * shape.width) * b)


def cache(shape: Shape) -> int:
    """Keys and values of all layers, per token of a sequence."""
    return 2 * shape.keys * shape.layers * shape.number
