"""Models with random weights in the shapes of published ones, and batches of random prompts."""

import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from g2rpo.records import Prompt, PromptBatch

IMAGE, START, END, PAD = 4, 5, 6, 0
SHAPES = {
    # text: hidden, intermediate, layers, heads, kv heads, head size, vocabulary; vision: depth,
    # hidden, intermediate, heads, patch px
    "tiny": ((128, 320, 4, 4, 2, 32, 512), (3, 96, 256, 3, 8), (0, 1)),
    "small": ((512, 1536, 8, 8, 4, 64, 8192), (4, 192, 768, 3, 16), (0, 1)),
    "250m": ((1024, 4096, 12, 16, 8, 64, 32_768), (6, 384, 1536, 6, 16), (0, 2, 4)),
    "2b": ((2048, 6144, 28, 16, 8, 128, 151_936), (24, 1024, 4096, 16, 16), (5, 11, 17)),
    "8b": ((4096, 12288, 36, 32, 8, 128, 151_936), (27, 1152, 4304, 16, 16), (8, 16, 24)),
}
"""`2b` and `8b` are the shapes of Qwen3-VL-2B and -8B; `tiny` is the model that ships; `250m`
has 250 million weights, a quarter of them outside of the text layers.
"""


def random_policy(
    shape: str, device: torch.device, dtype: torch.dtype
) -> Qwen3VLForConditionalGeneration:
    """Return a policy of this shape, in evaluation mode."""
    (
        (hidden, inner, layers, heads, kv_heads, size, words),
        (depth, width, wide, v_heads, patch),
        deepstack,
    ) = SHAPES[shape]
    third = size // 6
    text = {
        "vocab_size": words,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": size,
        "tie_word_embeddings": True,
        "max_position_embeddings": 65536,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [size // 2 - 2 * third, third, third],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": depth,
        "hidden_size": width,
        "intermediate_size": wide,
        "num_heads": v_heads,
        "patch_size": patch,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": hidden,
        "deepstack_visual_indexes": list(deepstack),
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=IMAGE,
        vision_start_token_id=START,
        vision_end_token_id=END,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    with device:
        return Qwen3VLForConditionalGeneration(config).to(dtype).eval()


def random_batch(
    policy: Qwen3VLForConditionalGeneration,
    prompts: int,
    tokens: int,
    images: int,
    image_frac: float,
    device: torch.device,
    dtype: torch.dtype,
) -> PromptBatch:
    """Return prompts of exactly `tokens` tokens, about `image_frac` of them image tokens.

    Each prompt has `images` nearly square images.
    """
    rows = max(1, int((tokens * image_frac / max(1, images)) ** 0.5))
    columns = max(1, int(tokens * image_frac / max(1, images) / rows))
    block = [START, *[IMAGE] * (rows * columns), END] * images
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(10, 500, (prompts, tokens - len(block)), generator=generator)
    ids = torch.cat(
        [text[:, :3], torch.tensor(block, dtype=torch.long).expand(prompts, -1), text[:, 3:]], 1
    )
    vision = policy.config.vision_config
    count, channels = (
        prompts * images,
        vision.in_channels * vision.temporal_patch_size * vision.patch_size**2,
    )
    return PromptBatch(
        prompts=tuple(
            Prompt(id=f"random/{i}", task="math", text="", images=(), answer="", answer_type="text")
            for i in range(prompts)
        ),
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        num_images=torch.full((prompts,), images),
        position=torch.arange(prompts),
        images=tuple(
            {
                "pixel_values": torch.randn(4 * rows * columns, channels, generator=generator).to(
                    dtype
                ),
                "image_grid_thw": torch.tensor([[1, 2 * rows, 2 * columns]]),
            }
            for _ in range(count)
        ),
    ).to(device)
