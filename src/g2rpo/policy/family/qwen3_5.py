"""Qwen3.5: images as in Qwen3-VL, but most text layers have linear attention.

Such a layer reads a whole row into one state, so rows cannot be packed, and in sampling it needs
transformers' own cache.
"""

from g2rpo.policy.family.qwen_vl import QwenVL


class Qwen35(QwenVL):
    """The family of Qwen-VL without shared prompts."""

    model_types = ("qwen3_5", "qwen3_5_moe")
    shares_prefix = False
    served = "not tried"
    no_vllm = "has no float32 on a CPU and is not tried on a GPU"
    estimated = False
