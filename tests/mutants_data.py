"""Bugs in the way of the prompts: order, resume, files, images."""

from mutant import Mutant
from mutants_gold import GOLD_MUTANTS

STREAM, MIX, CURRICULUM, ROWS = "data/stream.py", "data/mixture.py", "data/curriculum.py", "data/rows.py"
FILES, THINKER, LOADING, SKIPS = "data/file_source.py", "data/onethinker.py", "data/loading.py", "data/skips.py"
MODULE, GROUPS, COLLECT, HUB = "training/datamodule.py", "rollout/groups.py", "rollout/collect.py", "data/hub_stream.py"
T_STREAM, T_MIX, T_CURRICULUM, T_ROWS = (f"data/test_{name}.py" for name in ("stream", "mixture", "curriculum", "rows"))
T_FILES, T_THINKER, T_LOADING, T_SKIPS = (f"data/test_{name}.py" for name in ("file_source", "onethinker", "loading", "skips"))
T_MODULE, T_GROUPS, T_COLLECT, T_HUB = (
    "training/test_datamodule.py", "rollout/test_groups.py", "rollout/test_collect.py", "data/test_hub_source.py",
)  # fmt: skip
IMAGE, T_IMAGE = "image.py", "test_image.py"
RECORD_IMAGES, ARROW, OPTIONS, GOLD, CONVERSATION, FIELDS = (
    f"data/{name}.py" for name in ("record_images", "arrow_rows", "options", "gold", "conversation", "fields")
)
T_RECORD_IMAGES, T_ARROW, T_OPTIONS, T_GOLD, T_CONVERSATION, T_FIELDS = (
    f"data/test_{name}.py" for name in ("record_images", "arrow_rows", "options", "gold", "conversation", "fields")
)

DATA_MUTANTS = (
    *GOLD_MUTANTS,
    Mutant("data: one order for all epochs", STREAM, "{self.seed}/{task}/{epoch}", "{self.seed}/{task}", T_STREAM),
    Mutant("data: places are lost at a resume", STREAM, "dict(state[\"places\"])", "{}", T_STREAM),
    Mutant("data: curriculum is lost at a resume", STREAM, "self.curriculum.load_state_dict(state[\"curriculum\"])", "pass", T_STREAM),
    Mutant("data: peeking moves the stream", STREAM, "dict(self.counts), dict(self.places)", "self.counts, self.places", T_STREAM),
    Mutant("data: a replacement takes a turn", STREAM, "return self._served(self._next(task, self.places))",
           "self.counts[task] = self.counts.get(task, 0) + 1\n        return self._served(self._next(task, self.places))", T_STREAM),
    Mutant("data: nothing rests", STREAM, "if self.curriculum.admits(*turn):", "if True:", T_STREAM),
    Mutant("data: temperature the other way", MIX, "task: weight ** (1 / temperature) for", "task: weight**temperature for", T_MIX),
    Mutant("data: sizes count without weights", MIX, "weight * (sizes[task] or 0)", "(sizes[task] or 0)", T_MIX),
    Mutant("data: rest ends an epoch early", CURRICULUM, "epoch + 1 + rest", "epoch + rest", T_CURRICULUM),
    Mutant("data: hard and easy swapped", CURRICULUM, "self.hard_epochs if accuracy <= self.low",
           "self.easy_epochs if accuracy <= self.low", T_CURRICULUM),
    Mutant("data: places count characters", ROWS, "len(passed.encode())", "len(passed)", T_ROWS),
    Mutant("data: lines do not add up", ROWS, 'self.line += passed.count("\\n")', "pass", T_ROWS),
    Mutant("data: UTF-16 is guessed", ROWS, 'json.loads(line.decode("utf-8-sig"))', "json.loads(line)", T_ROWS),
    Mutant("data: all errors read on", ROWS, "if cut and self._more():", "if self._more():", T_ROWS),
    Mutant("data: held-out rows are trained", FILES, "if row not in chosen", "", T_FILES),
    Mutant("data: a seed of no effect", FILES, 'f"{seed}/{task}"', 'f"{task}"', T_FILES),
    Mutant("data: ids clash between files", FILES, "str(path) if stems.count(path.stem) > 1 else path.stem", "path.stem", T_FILES),
    Mutant("data: boxes may leave the image", THINKER, "0 <= x0 < x1 <= GRID", "0 <= x0 < x1", T_FILES),
    Mutant("data: markers vanish", THINKER, "return question if any", "return rest if any", T_THINKER),
    Mutant("data: the vaguest field decides", THINKER, 'KINDS = ("task_type", "task", "data_source", "problem_type")',
           'KINDS = ("problem_type", "data_source", "task", "task_type")', T_THINKER),
    Mutant("data: images keep their size", LOADING, "fit(self._open(image))", "self._open(image)", T_LOADING),
    Mutant("data: no bound on images ahead", LOADING, "prompts[: self.prefetch]", "prompts", T_LOADING),
    Mutant("data: pixels are not counted", IMAGE, "if width * height > max_pixels:", "if False:", T_LOADING),
    Mutant("image: photos lie on their side", IMAGE, "_rgb(ImageOps.exif_transpose(image))", "_rgb(image)", T_IMAGE),
    Mutant("image: black under transparency", IMAGE, 'seen.size, "white"', 'seen.size, "black"', T_IMAGE),
    Mutant("image: 16 bits are cut", IMAGE, "low, high = 0.0, float(_INT16)", "low, high = 0.0, 255.0", T_IMAGE),
    Mutant("image: base64 is a path", IMAGE, "return len(text) >= _SHORTEST_BASE64 and", "return False and", T_IMAGE),
    Mutant("image: sizes lie on their side", IMAGE, "return (height, width) if turned", "return (width, height) if turned", T_IMAGE),
    Mutant("data: empty images pass", RECORD_IMAGES, "            check_source(item)\n", "            pass\n", T_RECORD_IMAGES),
    Mutant("data: bytes under root", RECORD_IMAGES, "inline_bytes(item) if is_inline(item) else ", "", T_RECORD_IMAGES),
    Mutant("data: empty bytes look full", ARROW, "SOME if length else b", "SOME if True else b", T_ARROW),
    Mutant("data: plain options without letters", OPTIONS, "_lettered(list(zip(ascii_uppercase, plain, strict=False)))",
           "Options(tuple(plain), {})", T_OPTIONS),
    Mutant("data: E. coli is option E", OPTIONS, 'and letters[0] == "A" and', "and", T_OPTIONS),
    Mutant("data: a text is no gold", OPTIONS, "if len(same) == 1:", "if False:", T_OPTIONS),
    Mutant("data: options of a question are not seen", THINKER, "options_in(question)", "{}", T_OPTIONS),
    Mutant("data: true is an answer", GOLD, "isinstance(gold, bool) or not", "not", T_GOLD),
    Mutant("data: one gold of several", GOLD, "    return filled", "    return filled[:1]", T_GOLD),
    Mutant("data: the first question is asked", CONVERSATION, "last = max((", "last = min((", T_CONVERSATION),
    Mutant("data: videos pass", FIELDS, "        if is_media(name):", "        if False:", T_FIELDS),
    Mutant("data: misspelled fields pass", FIELDS, "        if near:", "        if False:", T_FIELDS),
    Mutant("prompt: images first", "prompt.py", "text.split(MARKER) if count else [text]", '[text.replace(MARKER, "")]', "test_prompt.py"),
    Mutant("encoder: control tokens steer", "model/encoder.py", "split_special_tokens=True", "split_special_tokens=False",
           "model/test_encoder.py"),
    Mutant("data: too long is an error", SKIPS, "self._note(self.long_prompts, task, reason)", "self.unusable(task, reason)", T_SKIPS),
    Mutant("data: skips are forgotten", MODULE, "self.skips.load_summary(state_dict[\"skips\"])", "pass", T_MODULE),
    Mutant("data: long prompts pass", MODULE, "if tokens > most", "if tokens > most + 1", T_MODULE),
    Mutant("data: groups in the order of their size", GROUPS, "joined.prompt.argsort(stable=True)",
           "torch.arange(len(joined.prompt))", T_GROUPS),
    Mutant("data: one seed for all sizes", GROUPS, "seed + call * SEEDS_APART", "seed", T_GROUPS),
    Mutant("data: an empty step keeps the first draw's room", COLLECT, "room = wanted - sum(counts)", "room = wanted", T_COLLECT),
    Mutant("data: a stream forgets at once", HUB, "if index < self._gone[task]:", "if False:", T_HUB),
)  # fmt: skip
