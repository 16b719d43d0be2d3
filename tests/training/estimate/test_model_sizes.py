"""The published sizes, by the number of parameters that their model cards name."""

import pytest
import torch

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.training.estimate.model_sizes import published_config
from g2rpo.training.estimate.shape import blank_policy, shape_of


@pytest.mark.parametrize(
    ("size", "billions", "tied"), [("2B", 2.13, True), ("4B", 4.44, True), ("8B", 8.77, False)]
)
def test_a_published_model_needs_no_download(size: str, billions: float, tied: bool) -> None:
    path = f"Qwen/Qwen3-VL-{size}-Instruct"
    shape = shape_of(blank_policy(Checkpoint(path=path)), torch.bfloat16)
    assert shape.weights / 1e9 == pytest.approx(billions, abs=0.005)
    assert (shape.number, shape.compute, shape.tied) == (4, 2, tied)
    # embeddings, head, vision tower and final norm are what is not in a layer
    outside = shape.weights - shape.layers * shape.layer
    embeddings = 151_936 * shape.hidden * (1 if tied else 2)
    assert outside == embeddings + shape.vision + shape.hidden


def test_other_models_have_no_published_size() -> None:
    assert published_config("Qwen/Qwen3-VL-3B-Instruct") is None
    assert published_config("/models/Qwen3-VL-8B-Instruct") is None
