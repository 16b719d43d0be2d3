"""Write a small model and rows for trying the paper's recipe on two CPU processes.

    python perf/recipe_small.py FOLDER [--rows onethinker.json]     # see examples/recipe_small.sh

The model has the structure of Qwen3-VL-8B with small widths, few layers, random weights and as many
tokens. Random tokens never answer a question, so the head prefers some tokens that are whole
answers: groups are then of mixed accuracy, as the recipe's filter wants. The rows are in the format
of the release, made up or from a file of it, and every image is a drawn one.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from g2rpo.policy.tiny import build_tokenizer

VOCABULARY = 151_936
ANSWERS = tuple(
    f"<thinking>I look.</thinking><answer>{answer}</answer>"
    for answer in ("A", "B", "C", "D", "3", '{"boxes": [100, 100, 600, 600]}', "total")
)
HIDDEN, PREFERENCE = 128, 14.0
TASKS = (
    "spatial_grounding",
    "general_vqa_science_stem",
    "ocr",
    "math_reasoning",
    "chart_figure_qa",
)


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of `VOCABULARY` tokens; most of them are in no text."""
    small = build_tokenizer(["What is the answer to this question? Choose A, B, C or D."])
    state = json.loads(small.backend_tokenizer.to_str())
    words, added = state["model"]["vocab"], state["added_tokens"]
    unused = VOCABULARY - len(words) - len(added) - len(ANSWERS)
    words |= {f"unused{number}": len(words) + number for number in range(unused)}
    contents = [entry["content"] for entry in added] + list(ANSWERS)
    plain = added[-1] | {"special": False, "normalized": False}
    state["added_tokens"] = [
        (added[i] if i < len(added) else plain) | {"id": len(words) + i, "content": content}
        for i, content in enumerate(contents)
    ]
    backend = type(small.backend_tokenizer).from_str(json.dumps(state))
    full = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=small.eos_token, pad_token=small.pad_token
    )
    full.chat_template = small.chat_template
    assert len(full) == VOCABULARY
    return full


def config(words: PreTrainedTokenizerFast) -> Qwen3VLConfig:
    """Return the structure of Qwen3-VL-8B with small widths and few layers."""
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": 3 * HIDDEN,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "tie_word_embeddings": False,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": 4,
        "hidden_size": 64,
        "intermediate_size": 240,
        "num_heads": 2,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 2304,
        "out_hidden_size": HIDDEN,
        "deepstack_visual_indexes": [1, 2, 3],
    }
    ids = {
        f"{name}_token_id": words.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in {
            "image": "image_pad",
            "video": "video_pad",
            "vision_start": "vision_start",
            "vision_end": "vision_end",
        }.items()
    }
    return Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **ids)


def write_model(folder: Path) -> None:
    """Write model, tokenizer and image processor."""
    words = tokenizer()
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config(words)).eval()
    # A common direction in all embeddings passes through the layers. Rows of the head along it
    # prefer their tokens whatever the prompt is.
    liked = words.convert_tokens_to_ids([*ANSWERS, words.eos_token])
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] += 4.0
        model.lm_head.weight[:, 0] = 0.0
        model.lm_head.weight[liked, 0] = PREFERENCE / HIDDEN**0.5
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        min_pixels=3136,
        max_pixels=1_048_576,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    ).save_pretrained(folder)


def made_up_rows(count: int) -> list[dict[str, Any]]:
    """Return rows of five tasks in the format of the release."""
    rng = random.Random(0)
    kinds = {
        "spatial_grounding": ("spatial grounding", '{"boxes": [120, 120, 560, 580]}'),
        "ocr": ("OCR", "total"),
    }
    rows = []
    for number in range(count):
        task = TASKS[number % len(TASKS)]
        kind, answer = kinds.get(task, ("multiple choice", rng.choice("ABCD")))
        rows.append(
            {
                "problem_id": number,
                "problem": f"<image> What does picture {number} show?",
                "data_type": "image",
                "problem_type": kind,
                "options": ["A. one", "B. two", "C. three", "D. four"] * (kind[0] == "m"),
                "data_source": "made up",
                "answer": f"<answer>{answer}</answer>",
                "images": [f"pictures/{number}.png"],
                "problem_reserved_text": f"What does picture {number} show?",
                "task_type": task,
            }
        )
    return rows


def draw(path: Path, number: int) -> None:
    """Draw an image that is unlike those of other numbers."""
    image = Image.new("RGB", (160 + 8 * (number % 9), 120 + 8 * (number % 5)), (240, 240, 230))
    pen, rng = ImageDraw.Draw(image), random.Random(number)
    for _ in range(4):
        x, y = rng.randrange(120), rng.randrange(90)
        color = tuple(rng.randrange(256) for _ in range(3))
        pen.rectangle((x, y, x + 30, y + 20), fill=color)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path.with_suffix(".png"), format="png")
    path.with_suffix(".png").rename(path)


def main(arguments: list[str] | None = None) -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=Path, help="a file of the release; its images are drawn")
    options = parser.parse_args(arguments)
    folder = options.folder
    rows = json.loads(options.rows.read_text()) if options.rows else made_up_rows(60)
    for number, row in enumerate(rows):
        for image in row["images"]:
            draw(folder / image, number)
    (folder / "rows.json").write_text(json.dumps(rows, indent=1))
    write_model(folder / "model")


if __name__ == "__main__":
    main()
