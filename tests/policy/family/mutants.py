"""Mutants of `src/g2rpo/policy/family/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "family: experts keep the layout of transformers",
        "policy/family/qwen_vl.py",
        "return value.transpose(1, 2) if experts else value",
        "return value",
        "policy/family/test_model_family.py",
    ),
    Mutant(
        "family: a prompt's first completion token is counted from its padding",
        "policy/family/model_family.py",
        "return (counted - 1).clamp(min=0)[None], counted[:, -1]",
        "return (counted - 1).clamp(min=0)[None], counted[:, -1] * 0 + counted.shape[1]",
        "policy/family/test_model_family.py",
    ),
    Mutant(
        "family: features of an image go to another",
        "policy/family/processor.py",
        "parts = features.pooler_output.split(counts)",
        "parts = features.pooler_output.split(counts[::-1])",
        "policy/family/test_model_family.py",
    ),
    Mutant(
        "gemma: tokens of an image do not see each other",
        "policy/family/gemma3.py",
        "(input_ids == policy.config.image_token_id).long()",
        "(input_ids < 0).long()",
        "policy/family/test_model_family.py",
    ),
    Mutant(
        "llava: several images of a prompt count as single ones",
        "policy/family/llava_onevision.py",
        "counts = batch.num_images[batch.num_images > 0]",
        "counts = batch.num_images.new_ones(len(batch.images))",
        "policy/family/test_model_family.py",
    ),
    Mutant(
        "processor: placeholders can be sampled",
        "policy/family/processor.py",
        "forbidden=[token for token in vision if token in tokenizer.get_vocab()]",
        "forbidden=[]",
        "policy/family/test_processor.py",
    ),
    Mutant(
        "image positions forgotten",
        "policy/family/qwen_vl.py",
        "batch.attention_mask.sum(1) + deltas[:, 0]",
        "batch.attention_mask.sum(1)",
        "policy/test_forward.py",
    ),
    Mutant(
        "patches: rows and columns of a block change places",
        "policy/family/patches.py",
        "blocks.permute(1, 4, 2, 5, 0, 3, 6)",
        "blocks.permute(1, 4, 5, 2, 0, 3, 6)",
        "policy/family/test_patches.py",
    ),
    Mutant(
        "patches: a changed processor is not noticed",
        "policy/family/patches.py",
        "return patches if same else None",
        "return patches",
        "policy/family/test_patches.py",
    ),
    Mutant(
        "patches: images keep their size",
        "policy/family/qwen_vl.py",
        'own = self.fit(image if image.mode == "RGB" else image.convert("RGB"))',
        'own = image if image.mode == "RGB" else image.convert("RGB")',
        "policy/family/test_patches.py",
    ),
    Mutant(
        "patches: images stay on the CPU",
        "policy/family/qwen_vl.py",
        "self.patches(own, self.device)",
        'self.patches(own, torch.device("cpu"))',
        "policy/family/test_patches.py",
    ),
    Mutant(
        "processor: PIL processors are asked to work on a GPU",
        "policy/family/processor.py",
        'getattr(self.image_processor, "backend", "pil") == "torchvision"',
        "True",
        "policy/family/test_processor.py",
    ),
    Mutant(
        "model: deepstack is dropped",
        "policy/family/qwen_vl.py",
        'if hasattr(features, "deepstack_features"):',
        "if False:",
        "policy/test_stats.py policy/test_forward.py",
    ),
)
