"""Mutants of `src/g2rpo/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "copies to a GPU are waited for",
        "host_copy.py",
        ", non_blocking=True",
        "",
        "test_host_copy.py",
    ),
    Mutant(
        "copies to the host are not waited for",
        "host_copy.py",
        "    return value.to(device)\n",
        "    return value.to(device, non_blocking=True)\n",
        "test_host_copy.py",
    ),
    Mutant(
        "entropy of padding",
        "per_task.py",
        "entropy.where(inside, 0.0)",
        "entropy",
        "algorithm/shaping/test_entropy.py",
    ),
    Mutant(
        "padding is stale",
        "records.py",
        "(updates - self.weight_versions).where(self.completion_mask, 0)",
        "updates - self.weight_versions",
        "training/test_sampler_mismatch.py",
    ),
    Mutant(
        "own groups alone are ranked",
        "ranks.py",
        "parts = all_gather_list([{name:",
        "parts = ([{name:",
        "training/test_ranks.py",
    ),
    Mutant(
        "every rank fails alone",
        "ranks.py",
        "    if messages:\n",
        "    if raised:\n",
        "test_ranks.py",
    ),
    Mutant(
        "data: pixels are not counted",
        "image.py",
        "if width * height > max_pixels:",
        "if False:",
        "data/test_loading.py",
    ),
    Mutant(
        "image: photos lie on their side",
        "image.py",
        "_rgb(ImageOps.exif_transpose(image))",
        "_rgb(image)",
        "test_image.py",
    ),
    Mutant(
        "image: black under transparency",
        "image.py",
        'seen.size, "white"',
        'seen.size, "black"',
        "test_image.py",
    ),
    Mutant(
        "image: 16 bits are cut",
        "image.py",
        "low, high = 0.0, float(_INT16)",
        "low, high = 0.0, 255.0",
        "test_image.py",
    ),
    Mutant(
        "image: base64 is a path",
        "image.py",
        "len(text) >= _SHORTEST_BASE64 and",
        "False and",
        "test_image.py",
    ),
    Mutant(
        "image: sizes lie on their side",
        "image.py",
        "return (height, width) if turned",
        "return (width, height) if turned",
        "test_image.py",
    ),
    Mutant(
        "prompt: images first",
        "prompt.py",
        "text.split(MARKER) if count else [text]",
        '[text.replace(MARKER, "")]',
        "test_prompt.py",
    ),
)
