"""Sizes of the published Qwen3-VL models, so that an estimate needs neither the Hub nor a download.

They are those of the config.json on the Hub, as far as memory and time depend on them.
"""

from typing import Any

from transformers import Qwen3VLConfig

VOCABULARY = 151_936
LARGE = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "deepstack_visual_indexes": [5, 11, 17],
}
SO400M = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "deepstack_visual_indexes": [8, 16, 24],
}
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "2B": (
        {
            "hidden_size": 2048,
            "intermediate_size": 6144,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
        },
        LARGE,
        True,
    ),
    "4B": (
        {
            "hidden_size": 2560,
            "intermediate_size": 9728,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
        },
        LARGE,
        True,
    ),
    "8B": (
        {
            "hidden_size": 4096,
            "intermediate_size": 12_288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
        },
        SO400M,
        False,
    ),
}
"""Language model, vision tower, and whether the head shares the weight of the embeddings."""


def published_config(path: str) -> Qwen3VLConfig | None:
    """Return the configuration of `Qwen/Qwen3-VL-<size>-Instruct` or `-Thinking`, else None."""
    for size, (text, vision, tied) in SIZES.items():
        if path in (f"Qwen/Qwen3-VL-{size}-Instruct", f"Qwen/Qwen3-VL-{size}-Thinking"):
            language = {
                "vocab_size": VOCABULARY,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "tie_word_embeddings": tied,
            }
            return Qwen3VLConfig(
                text_config=language | text,
                vision_config=vision | {"num_heads": 16, "out_hidden_size": text["hidden_size"]},
                tie_word_embeddings=tied,
            )
    return None
