"""Tiny checkpoints with random weights, one for each family, built from transformers' classes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.conversion_mapping import get_model_conversion_mapping

from g2rpo.policy.encoder import ChatEncoder
from g2rpo.records import Prompt, PromptBatch, Rollouts

VOCABULARY = 320
LIVELINESS = 12.0
"""Factor on all weight matrices: freshly drawn ones predict almost evenly, whatever they read."""
TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 1024,
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 5, 5]}
INTERLEAVED = {**ROPE, "mrope_interleaved": True}
"""Said for vLLM; transformers interleaves the axes of Qwen3's positions in any case."""
VISION: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}

SMALL = (
    "model=folder",
    "rollout=hf",
    "filter=none",
    "heldout=none",
    "reward._target_=tiny_families.LetterSum",
    "reward_workers=inline",
    "rollout.max_new_tokens=4",
    "batch.prompts_per_step=2",
    "batch.group_size=2",
    "batch.micro_batch_prompts=1",
    "task_mix=math",
    "optimizer.lr=1e-3",
    "trainer.accelerator=cpu",
    "callbacks.checkpoint.every_n_train_steps=1",
)
"""Overrides of a run of a few seconds."""


@dataclass(frozen=True)
class Case:
    """A policy with completions of its own, three to each of four prompts."""

    kind: str
    folder: Path
    policy: Any
    encoder: ChatEncoder
    batch: PromptBatch
    rollouts: Rollouts


class LetterSum:
    """A reward that differs between the random texts of an untrained model."""

    def __init__(self, **_: Any) -> None:
        """Ignore the settings of the reward in whose place it stands."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        total = sum(map(ord, completion)) % 7 / 7
        return {"accuracy": total, "format": 1.0, "structure": 1.0, "total": total}


def tokenizer(
    placeholder: str, special: tuple[str, ...], plain: tuple[str, ...] = (), **named: str
) -> PreTrainedTokenizerFast:
    """Bytes and special tokens, with a chat template that writes the placeholder per image.

    Args:
        placeholder: What the template writes per image.
        special: Further special tokens.
        plain: Further tokens of ordinary text.
        named: Special tokens by the names that processors look for.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokens = ("<pad>", "<|im_start|>", "<|im_end|>", *special)
    inner.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in tokens])
    inner.add_tokens([AddedToken(t, special=False, normalized=False) for t in plain])
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}"
        "{{ m.content }}{% else %}{% for c in m.content %}{% if c.type == 'image' %}"
        + placeholder
        + "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|im_end|>",
        pad_token="<pad>",
        chat_template=template,
        extra_special_tokens=named,
    )


def save(
    folder: Path,
    *,
    config: Any,
    words: PreTrainedTokenizerFast,
    image_processor: Any,
    processor: Mapping[str, Any],
) -> None:
    """Write a checkpoint with random weights; `processor` is its processor_config.json."""
    torch.manual_seed(5)
    kind = transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
    model = kind(config)
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and not parameter.any():  # Gemma's projector
                parameter.normal_(std=0.02)
            parameter.mul_(LIVELINESS if parameter.ndim > 1 else 1.0)
    # The names of published checkpoints, which transformers knows but leaves out for new models.
    model._weight_conversions = get_model_conversion_mapping(model, add_legacy=False) or None
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps(dict(processor)))


def smolvlm(folder: Path, name: str = "SmolVLM") -> None:
    """Crops of 32 x 32 pixels with 16 patches, of which 2 x 2 become a token."""
    words = tokenizer(
        "<image>",
        (
            "<image>",
            "<fake_token_around_image>",
            "<global-img>",
            "<end_of_utterance>",
            *(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)),
        ),
    )
    config = getattr(transformers, f"{name}Config")(
        text_config={"model_type": "llama", **TEXT, "pad_token_id": words.pad_token_id},
        vision_config=VISION,
        scale_factor=2,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        pad_token_id=words.pad_token_id,
    )
    save(
        folder,
        config=config,
        words=words,
        image_processor=getattr(transformers, f"{name}ImageProcessorPil")(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
        ),
        processor={"processor_class": f"{name}Processor", "image_seq_len": 4},
    )


def gemma3(folder: Path) -> None:
    """Images of 32 x 32 pixels, 16 patches, pooled to 4 tokens; a window of 16 tokens."""
    words = tokenizer(
        "<start_of_image>",
        ("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
        tuple("\n" * count for count in (1, 2, 3, 4)),  # vLLM looks for them
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    text = {
        **TEXT,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
        "initializer_range": 0.014,  # its embedding is its head too
    }
    config = transformers.Gemma3Config(
        text_config={**text, "pad_token_id": words.pad_token_id, "query_pre_attn_scalar": 32},
        vision_config=VISION,
        mm_tokens_per_image=4,
        image_token_index=words.convert_tokens_to_ids("<image_soft_token>"),
        boi_token_index=words.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=words.convert_tokens_to_ids("<end_of_image>"),
    )
    save(
        folder,
        config=config,
        words=words,
        image_processor=transformers.Gemma3ImageProcessorPil(size={"height": 32, "width": 32}),
        processor={"processor_class": "Gemma3Processor", "image_seq_length": 4},
    )


def internvl(folder: Path) -> None:
    """Tiles of 32 x 32 pixels with 16 patches, of which 2 x 2 become a token."""
    words = tokenizer(
        "<IMG_CONTEXT>",
        ("<IMG_CONTEXT>", "<img>", "</img>", "<video>"),
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = transformers.InternVLConfig(
        text_config={"model_type": "qwen2", **TEXT, "pad_token_id": words.pad_token_id},
        vision_config={**VISION, "model_type": "internvl_vision"},
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    save(
        folder,
        config=config,
        words=words,
        image_processor=transformers.GotOcr2ImageProcessorPil(
            size={"height": 32, "width": 32}, max_patches=4
        ),
        processor={"processor_class": "InternVLProcessor", "image_seq_length": 4},
    )


def llava_onevision(folder: Path) -> None:
    """Tiles of 32 x 32 pixels with 16 patches, each a token."""
    words = tokenizer("<image>", ("<image>", "<video>"))
    grids = [[32, 64], [64, 32], [64, 64]]
    config = transformers.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **TEXT, "pad_token_id": words.pad_token_id},
        vision_config={**VISION, "model_type": "siglip_vision_model", "vision_use_head": False},
        image_token_index=words.convert_tokens_to_ids("<image>"),
        video_token_index=words.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grids,
    )
    save(
        folder,
        config=config,
        words=words,
        image_processor=transformers.LlavaOnevisionImageProcessorPil(
            size={"height": 32, "width": 32}, image_grid_pinpoints=grids
        ),
        processor={
            "processor_class": "LlavaOnevisionProcessor",
            "num_image_tokens": 16,
            "vision_feature_select_strategy": "full",
        },
    )


def qwen(folder: Path, name: str, text: Mapping[str, Any], vision: Mapping[str, Any]) -> None:
    """Patches of 8 x 8 pixels, of which 2 x 2 become a token."""
    processor = "Qwen3VLProcessor" if name.startswith("Qwen3") else f"{name}Processor"
    special = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    words = tokenizer("<|vision_start|><|image_pad|><|vision_end|>", special)
    config = getattr(transformers, f"{name}Config")(
        text_config={
            **TEXT,
            "pad_token_id": words.pad_token_id,
            "rope_parameters": ROPE,
            **text,
        },
        vision_config={
            "depth": 2,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            **vision,
        },
        image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=words.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=words.convert_tokens_to_ids("<|vision_end|>"),
    )
    save(
        folder,
        config=config,
        words=words,
        image_processor=transformers.Qwen2VLImageProcessorPil(
            patch_size=8, merge_size=2, size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
        ),
        processor={"processor_class": processor},
    )


QWEN3_VISION = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "out_hidden_size": 64,
    "num_position_embeddings": 16,
}
QWEN3_VL_VISION = {**QWEN3_VISION, "deepstack_visual_indexes": [0, 1]}
QWEN3_VL_TEXT = {"rope_parameters": INTERLEAVED}
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "norm_topk_prob": True,  # said for vLLM, as above
}


def qwen3_vl_moe(folder: Path) -> None:
    """Two of four experts per token."""
    qwen(folder, "Qwen3VLMoe", {**QWEN3_VL_TEXT, **EXPERTS}, QWEN3_VL_VISION)


def qwen2_5_vl(folder: Path) -> None:
    """A vision tower with windows, and a text model without norms of queries and keys."""
    vision = {
        "hidden_size": 24,
        "intermediate_size": 32,
        "out_hidden_size": 64,
        "window_size": 32,
        "fullatt_block_indexes": [1],
    }
    qwen(folder, "Qwen2_5_VL", {}, vision)


def qwen3_5(folder: Path) -> None:
    """One layer with linear attention, one with full attention."""
    text = {
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 32,
        "linear_value_head_dim": 32,
        "rope_parameters": {
            **INTERLEAVED,
            "mrope_section": [2, 1, 1],
            "partial_rotary_factor": 0.25,
        },
    }
    qwen(folder, "Qwen3_5", text, QWEN3_VISION)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "smolvlm": smolvlm,
    "idefics3": lambda folder: smolvlm(folder, "Idefics3"),
    "gemma3": gemma3,
    "internvl": internvl,
    "llava_onevision": llava_onevision,
    "qwen2_vl": lambda folder: qwen(folder, "Qwen2VL", {}, {"embed_dim": 24, "hidden_size": 64}),
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": lambda folder: qwen(folder, "Qwen3VL", QWEN3_VL_TEXT, QWEN3_VL_VISION),
    "qwen3_vl_moe": qwen3_vl_moe,
    "qwen3_5": qwen3_5,
}
"""How to build the checkpoint of each family, by `model_type`."""
