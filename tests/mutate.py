"""Plant one bug after another in a copy of the package and see that the tests notice.  `python tests/mutate.py [--only NAME]`

A mutant is a named substitution in one file with the tests that must fail because of it. Exit code 1 if a mutant survives, if a
substitution no longer matches its file exactly once (the code has moved on: adapt the mutant), or if the tests fail without any bug.
Each run is a fork of this process, which has already imported the heavy libraries.
"""

# ruff: noqa: T201

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import hydra.utils  # noqa: F401  imported before forking, to save every child the time
import hypothesis.strategies  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import torch
from mutant import Mutant
from mutants_adapter import ADAPTER_MUTANTS
from mutants_data import DATA_MUTANTS
from mutants_evaluation import EVALUATION_MUTANTS
from mutants_mathematics import MATHEMATICS_MUTANTS
from mutants_model import MODEL_MUTANTS
from mutants_reward import REWARD_MUTANTS
from mutants_sweep import SWEEP_MUTANTS

ROOT = Path(__file__).resolve().parents[1]


GAUSSIAN, G2RPO, DECOUPLED = "advantage/gaussian.py", "advantage/g2rpo.py", "advantage/g2rpo_decoupled.py"
EMA, DIAGNOSTICS, POLICY, KL = "advantage/ema_grpo.py", "advantage/diagnostics.py", "loss/policy.py", "loss/kl.py"
LENGTH, ENTROPY = "shaping/length.py", "shaping/entropy.py"
T_G2RPO, T_EMA, T_DIAGNOSTICS, T_LENGTH = (
    "advantage/test_g2rpo.py",
    "advantage/test_ema_grpo.py",
    "advantage/test_diagnostics.py",
    "shaping/test_length.py",
)
T_GAUSSIAN, T_DECOUPLED, T_ENTROPY = "advantage/test_gaussian.py", "advantage/test_g2rpo_decoupled.py", "shaping/test_entropy.py"
T_CLIP, T_GSPO, T_SAPO, T_POLICY, T_KL = (f"loss/test_{name}.py" for name in ("clip", "gspo", "sapo", "policy", "kl"))

UPDATE, EQUITY, PILOT = "training/update.py", "training/equity.py", "shaping/pilot.py"
T_RANKS, T_MODULE, T_EQUITY = (f"training/test_{name}.py" for name in ("ranks", "module", "equity"))
T_PILOT = "shaping/test_pilot.py"
MISMATCH, PROBE, REQUESTS, SERVER = "training/mismatch.py", *(f"rollout/{n}.py" for n in ("sync_probe", "vllm_requests", "vllm_server"))
T_MISMATCH, T_PROBE, T_REQUESTS, T_SERVER = (
    "training/test_mismatch.py",
    *(f"rollout/test_{n}.py" for n in ("sync_probe", "vllm_requests", "vllm_server")),
)

OPTION, PREDICTION, ARITHMETIC, QUANTITY = (f"scoring/{name}.py" for name in ("option", "prediction", "arithmetic", "quantity"))
T_OPTION, T_PREDICTION, T_ARITHMETIC, T_QUANTITY = (
    f"scoring/test_{name}.py" for name in ("option", "prediction", "arithmetic", "quantity")
)
T_MMBENCH, T_MATHVISTA = "benchmark/test_mmbench.py", "benchmark/test_mathvista.py"
T_TRACKING = "tracking/test_wandb_tracker.py tracking/test_identity.py"

MUTANTS = (
    Mutant("rank offset", GAUSSIAN, "+ sizes - 1", "+ sizes", T_GAUSSIAN),
    Mutant("ties share the sum", GAUSSIAN, "* sums / self.level_sizes", "* sums", T_GAUSSIAN),
    Mutant(
        "only equal floats tie",
        GAUSSIAN,
        "segments, atol=atol)\n        self.segment",
        "segments, atol=0.0)\n        self.segment",
        T_G2RPO,
    ),
    Mutant("no slack for rounding", GAUSSIAN, "ROUNDING = 1.125", "ROUNDING = 1.0", T_GAUSSIAN),
    Mutant("ranks in float32", GAUSSIAN, "torch.erfinv(scaled)", "torch.erfinv(scaled.float()).double()", T_GAUSSIAN),
    Mutant("ranked among the batch", GAUSSIAN, "/ sizes.index_select(0, self.segment)", "/ len(self.order)", T_GAUSSIAN),
    Mutant("sort key without enough digits", GAUSSIAN, "* 2.0**-44 < atol", "* 0 < 1", T_GAUSSIAN),
    Mutant("segments run together", GAUSSIAN, "gaps > width / 2", "gaps > width * 2", T_GAUSSIAN),
    Mutant("levels cross segments", GAUSSIAN, "new_segment | (x.", "(x.", T_GAUSSIAN),
    Mutant("nearly zero is not zero", GAUSSIAN, "EXACT_ZERO = 1e-12", "EXACT_ZERO = 0.0", T_GAUSSIAN),
    Mutant("result in sorted order", GAUSSIAN, "torch.empty_like(values).index_copy_(0, self.order, values)", "values", T_GAUSSIAN),
    Mutant("second pass over groups", G2RPO, "in_group.quantiles(), tasks,", "in_group.quantiles(), groups,", T_G2RPO),
    Mutant("scope task ranks groups", G2RPO, "rank_within_tasks(rewards, tasks,", "rank_within_tasks(rewards, groups,", T_G2RPO),
    Mutant("mask does nothing", G2RPO, 'if self.zero_signal == "mask" else None', 'if self.zero_signal == "" else None', T_G2RPO),
    Mutant(
        "masked groups are ranked",
        G2RPO,
        "    rows = signal",
        "    return gaussian_ranks(values, tasks, atol) * signal\n    rows = signal",
        T_G2RPO,
    ),
    Mutant("reward tolerance on quantiles", G2RPO, "signal, QUANTILE_ATOL)", "signal, self.tie_atol)", T_G2RPO),
    Mutant("tolerance ignored in groups", G2RPO, "groups, atol=self.tie_atol", "groups, atol=QUANTILE_ATOL", T_G2RPO),
    Mutant("masked unless all parts differ", DECOUPLED, ".any(0)", ".all(0)", T_DECOUPLED),
    Mutant("parts averaged by maximum", DECOUPLED, "]).sum(0)", "]).amax(0)", T_DECOUPLED),
    Mutant("decoupled never masks", DECOUPLED, 'if self.zero_signal == "mask"', 'if self.zero_signal == ""', T_DECOUPLED),
    Mutant("total ranked as a part", "advantage/parts.py", 'frozenset({"total"})', "frozenset()", f"{T_DECOUPLED} advantage/test_gdpo.py"),
    Mutant("nan let through", "advantage/segments.py", "torch.isfinite(rewards).all()", "True", T_G2RPO),
    Mutant("grpo with population std", "advantage/grpo.py", "unbiased=True", "unbiased=False", "advantage/test_grpo.py"),
    Mutant("grpo without epsilon", "advantage/grpo.py", "EPS = 1e-6", "EPS = 1e-9", "advantage/test_grpo.py"),
    Mutant("dr_grpo over tasks", "advantage/dr_grpo.py", "Segments(groups)", "Segments(tasks)", "advantage/test_dr_grpo.py"),
    Mutant("rloo counts itself", "advantage/rloo.py", "(factor * (rewards", "((rewards", "advantage/test_rloo.py"),
    Mutant("gdpo ignores tokens", "advantage/gdpo.py", "if completion_tokens is None", "if True", "advantage/test_gdpo.py"),
    Mutant(
        "gdpo mean unweighted", "advantage/gdpo.py", "values - (weights * values).sum()", "values - values.mean()", "advantage/test_gdpo.py"
    ),
    Mutant("ema starts at zero", EMA, "self.moments.get(task, (first, second))", "self.moments.get(task, (0.0, 0.0))", T_EMA),
    Mutant("ema decays the new", EMA, "self.decay * old + (1 - self.decay) * new", "self.decay * new + (1 - self.decay) * old", T_EMA),
    Mutant("ema used before it moves", EMA, "self._moved(old[1], second))", "old[1])", T_EMA),
    Mutant("guard per completion", EMA, "by_group.largest(scaled.abs()) > self.guard", "scaled.abs() > self.guard", T_EMA),
    Mutant("guard with unbiased std", EMA, "unbiased=False", "unbiased=True", T_EMA),
    Mutant("floor not squared", EMA, "self.min_std**2", "self.min_std", T_EMA),
    Mutant("saved state keeps moving", EMA, "dict(self.moments)", "self.moments", T_EMA),
    Mutant("std with n - 1 logged", DIAGNOSTICS, "correction=0", "correction=1", T_DIAGNOSTICS),
    Mutant("pairs are no ties", DIAGNOSTICS, "levels.ties() > 1", "levels.ties() > 2", T_DIAGNOSTICS),
    Mutant("distance on one side", DIAGNOSTICS, "normal - steps[:-1]", "normal - steps[1:]", T_DIAGNOSTICS),
    Mutant("agreeing groups blamed on shaping", DIAGNOSTICS, "differs & ~TieLevels", "~TieLevels", T_DIAGNOSTICS),
    Mutant("groups weighed by size", DIAGNOSTICS, "1.0 / by_group.sizes.double()", "by_group.sizes.double()", T_DIAGNOSTICS),
    Mutant("optimistic clip", "loss/clip.py", "torch.maximum(unclipped", "torch.minimum(unclipped", T_CLIP),
    Mutant("clip bounds swapped", "loss/clip.py", "clamp(1 - low, 1 + high)", "clamp(1 - high, 1 + low)", T_CLIP),
    Mutant("dual clip for good tokens", "loss/clip.py", "advantages < 0", "advantages != 0", T_CLIP),
    Mutant("dual clip as a floor", "loss/clip.py", "torch.minimum(losses", "torch.maximum(losses", T_CLIP),
    Mutant("gspo sums log ratios", "loss/gspo.py", "keepdim=True) / lengths)", "keepdim=True))", T_GSPO),
    Mutant(
        "gspo over padded length", "loss/gspo.py", "mask.sum(1, keepdim=True)", "mask.new_ones(len(mask), 1).mul(mask.shape[1])", T_GSPO
    ),
    Mutant("cispo through the weight", "loss/cispo.py", "log_ratio.detach().exp()", "log_ratio.exp()", "loss/test_cispo.py"),
    Mutant("sapo slopes swapped", "loss/sapo.py", "self.tau_positive, self.tau_negative)", "self.tau_negative, self.tau_positive)", T_SAPO),
    Mutant("sapo not normalised", "loss/sapo.py", "* 4 / tau *", "*", T_SAPO),
    Mutant("seq over padded length", POLICY, "mask.sum(1).clamp(min=1)", "mask.shape[1]", T_POLICY),
    Mutant("micro-batch counts its own tokens", POLICY, "if num_tokens is None else num_tokens", "if True else num_tokens", T_POLICY),
    Mutant(
        "micro-batch counts its own rows", POLICY, "mask.shape[0] if num_completions is None else", "mask.shape[0] if True else", T_POLICY
    ),
    Mutant("constant forgets the length", POLICY, "(self.num_completions * self.max_tokens)", "self.num_completions", T_POLICY),
    Mutant("padding in the loss", POLICY, "losses.where(inside, 0.0)", "losses", T_POLICY),
    Mutant("nan in padding", POLICY, "old_logprobs.detach().where(inside, 0.0)", "old_logprobs.detach()", T_POLICY),
    Mutant("gradient into old_logprobs", POLICY, "old_logprobs.detach().where", "old_logprobs.where", T_POLICY),
    Mutant("kl without its coefficient", POLICY, "policy + self.kl_coef * kl", "policy + kl", T_POLICY),
    Mutant("importance weight not truncated", POLICY, ".exp().clamp(max=self.tis_clip)", ".exp()", T_POLICY),
    Mutant("importance weight inverted", POLICY, "gap.clamp(", "(-gap).clamp(", T_POLICY),
    Mutant("clip_frac counts padding", POLICY, "(cut & inside)", "cut", T_GSPO),
    Mutant("k3 turned round", KL, "(ref_logprobs - logprobs).clamp", "(logprobs - ref_logprobs).clamp", T_KL),
    Mutant("k2 not halved", KL, "0.5 * (logprobs", "(logprobs", T_KL),
    Mutant("k3 unbounded", KL, "MAX_K3 = 10.0", "MAX_K3 = 1e9", T_KL),
    Mutant("penalty counts padding", KL, ".where(mask.bool(), 0.0).sum(1)", ".sum(1)", T_KL),
    Mutant("plateau begins late", LENGTH, "length >= low", "length > low", T_LENGTH),
    Mutant("no fall after the plateau", LENGTH, "torch.minimum(rise, fall)", "rise", T_LENGTH),
    Mutant("short and wrong pays", LENGTH, "accuracy >= self.min_accuracy", "accuracy >= 0", T_LENGTH),
    Mutant("good enough is not enough", LENGTH, "accuracy >= self.min_accuracy", "accuracy > self.min_accuracy", T_LENGTH),
    Mutant(
        "format forgotten in agreement", LENGTH, "differs(accuracy, groups) | differs(total, groups)", "differs(accuracy, groups)", T_LENGTH
    ),
    Mutant(
        "accuracy forgotten in agreement", LENGTH, "differs(accuracy, groups) | differs(total, groups)", "differs(total, groups)", T_LENGTH
    ),
    Mutant("length ranks agreeing groups", LENGTH, "if not self.allow_in_unanimous_groups", "if False", T_LENGTH),
    Mutant(
        "length part weighed twice",
        "shaping/__init__.py",
        "self.length.weight * part",
        "self.length.weight**2 * part",
        "shaping/test_shaping.py",
    ),
    Mutant("absent task pays", ENTROPY, "excess.where(present, 0.0)", "excess", T_ENTROPY),
    Mutant("absent task is pushed", ENTROPY, "0.0)).where(present, 0.0)", "0.0))", T_ENTROPY),
    Mutant("entropy pushed outward", ENTROPY, "mean > high, 1.0,", "mean > high, -1.0,", T_ENTROPY),
    Mutant("low side forgotten", ENTROPY, " + (low - mean).clamp(min=0)", "", T_ENTROPY),
    Mutant("micro-batch counts its own task tokens", ENTROPY, "entropy_sum, _ = task_sums", "entropy_sum, tokens = task_sums", T_ENTROPY),
    Mutant("entropy of padding", ENTROPY, "entropy.where(inside, 0.0)", "entropy", T_ENTROPY),
    Mutant("estimators swapped", ENTROPY, 'if self.estimator == "exact"', 'if self.estimator != "exact"', T_ENTROPY),
    Mutant("entropy weight forgotten", ENTROPY, "return self.weight * (signs", "return (signs", T_ENTROPY),
    # judges
    Mutant("empty thinking block opens", "scoring/extract.py", "text.startswith(opening) and", "", "scoring/test_extract.py"),
    Mutant(
        "last answer instead of first", "scoring/extract.py", "text.partition(_OPEN)", "text.rpartition(_OPEN)", "scoring/test_extract.py"
    ),
    Mutant("letters keep their case", "scoring/choice.py", 'sub("", text)).lower()', 'sub("", text))', "scoring/test_choice.py"),
    Mutant("error at the threshold passes", "scoring/number.py", "error < room", "error <= room", "scoring/test_number.py"),
    Mutant(
        "relative to the guess",
        "scoring/number.py",
        "abs(got - wanted) / abs(wanted)",
        "abs(got - wanted) / abs(got)",
        "scoring/test_number.py",
    ),
    Mutant(
        "edit distance loses its border",
        "scoring/text.py",
        "right, left = (right << 1) | 1, left << 1",
        "right, left = right << 1, left << 1",
        "scoring/test_text.py",
    ),
    Mutant("repeated words count once", "scoring/text.py", "(first & second).total()", "len(first & second)", "scoring/test_text.py"),
    Mutant("overlap counted twice", "scoring/boxes.py", "_area(*a) + _area(*b) - shared", "_area(*a) + _area(*b)", "scoring/test_boxes.py"),
    Mutant(
        "points in their order", "scoring/boxes.py", "for order in permutations(points)", "for order in [points]", "scoring/test_boxes.py"
    ),
    Mutant("beginning of a long answer", "scoring/math.py", "answer[-LONGEST_ANSWER:]", "answer[:LONGEST_ANSWER]", "scoring/test_math.py"),
    Mutant("boxes one pixel off", "data/gym/canvas.py", "round(value * 1000 / SIZE_PX)", "round((value + 1) * 1000 / SIZE_PX)", "data/gym"),
    # model and rollout
    Mutant(
        "position stands still",
        "rollout/hf.py",
        "self.position = self.position + 1",
        "self.position = self.position + 0",
        "rollout/test_hf.py",
    ),
    Mutant("end token left out", "rollout/hf.py", "(ended.cumsum(1) - ended.int()) == 0", "ended.cumsum(1) == 0", "rollout/test_hf.py"),
    Mutant(
        "entropy of impossible tokens",
        "model/head.py",
        'finite = logp.masked_fill(logp == float("-inf"), 0.0)',
        "finite = logp",
        "model/test_head.py",
    ),
    Mutant(
        "image positions forgotten",
        "model/forward.py",
        "batch.attention_mask.sum(1) + deltas[:, 0]",
        "batch.attention_mask.sum(1)",
        "model/test_forward.py",
    ),
    Mutant(
        "group judged by the total",
        "rollout/collect.py",
        'group_means(scored.scores.parts["accuracy"]',
        "group_means(scored.scores.total",
        "rollout/test_collect.py",
    ),
    # steps on several processes
    Mutant("own denominators", UPDATE, "ranks.total(_doubles(counts, 2))", "_doubles(counts, 2)", T_RANKS),
    Mutant("own gradient", UPDATE, "        ranks.add_gradients(policy.parameters())\n", "", T_RANKS),
    Mutant(
        "own entropy decides",
        UPDATE,
        "ranks.total(torch.stack([_doubles(sums, len(TASKS)), _doubles(tokens, len(TASKS))]))",
        "torch.stack([_doubles(sums, len(TASKS)), _doubles(tokens, len(TASKS))])",
        T_RANKS,
    ),
    Mutant("own groups alone are ranked", "ranks.py", "parts = listed([{name:", "parts = ([{name:", T_RANKS),
    Mutant("every rank draws everything", "training/datamodule.py", "prompts[first:behind]", "prompts", T_RANKS),
    Mutant("each rank fills the room", "rollout/collect.py", "ahead = sum(counts[: ranks.rank()])", "ahead = 0", T_RANKS),
    Mutant(
        "minibatches by own row",
        "training/module.py",
        "for row, place in enumerate(collected.places) if place in places",
        "for row, place in enumerate(collected.places) if row in places",
        T_RANKS,
    ),
    # the step
    Mutant("KL rewarded", "training/module.py", "rewards - loss.kl_coef", "rewards + loss.kl_coef", T_MODULE),
    Mutant("KL charged twice", POLICY, 'self.kl_coef > 0 and self.kl_placement == "loss"', "self.kl_coef > 0", T_POLICY),
    Mutant("ratio to the sampler", UPDATE, "sampled if part.trainer_logprobs is None else part.trainer_logprobs", "sampled", T_MODULE),
    Mutant("a probe leaves its gradient", EQUITY, "        policy.zero_grad(set_to_none=True)\n        return", "        return", T_EQUITY),
    Mutant("tasks' gradients pile up", EQUITY, "            policy.zero_grad(set_to_none=True)\n", "", T_EQUITY),
    Mutant("spacing starts anew", EQUITY, "flat[-passed % stride :: stride]", "flat[::stride]", T_EQUITY),
    Mutant("no signal has a direction", EQUITY, "if norm > 0]", "]", T_EQUITY),
    # pilot
    Mutant("few good completions suffice", PILOT, "good if len(good) >= FEWEST else found.tokens", "good", T_PILOT),
    Mutant(
        "mean of mean entropies",
        PILOT,
        "(found.entropy_sum.double().sum() / found.tokens.sum()).item()",
        "(found.entropy_sum.double() / found.tokens).mean().item()",
        T_PILOT,
    ),
    Mutant("agreement is disagreement", PILOT, "(~differs(found.total", "(differs(found.total", T_PILOT),
    Mutant("variance for kurtosis", PILOT, "centred.pow(4).mean()", "centred.pow(2).mean()", T_PILOT),
    # engines with weights of their own
    Mutant("KL the other way round", MISMATCH, "k3(sampler, trainer)", "k3(trainer, sampler)", T_MISMATCH),
    Mutant("sample size of sums", MISMATCH, "weight**2 / (count * square)", "weight / count", T_MISMATCH),
    Mutant(
        "padding has a gap",
        MISMATCH,
        "mask & (experience.task == i)[:, None]",
        "mask.new_ones(mask.shape) & (experience.task == i)[:, None]",
        T_MISMATCH,
    ),
    Mutant("no number passes", PROBE, "if gap.nats <= self.max_gap:", "if not gap.nats > self.max_gap:", T_PROBE),
    Mutant("the probe has a temperature of its own", PROBE, "temperature=self.sampling.temperature", "temperature=1.0", T_PROBE),
    Mutant("every placeholder is an image", REQUESTS, "run[:1] if token == image_token_id else run", "run", T_REQUESTS),
    Mutant("one seed for all prompts", REQUESTS, 'f"{seed}/{row}"', 'f"{seed}"', T_REQUESTS),
    Mutant(
        "a lost server keeps its old weights",
        SERVER,
        "            time.sleep(0.5)\n        self._push(client)",
        "            time.sleep(0.5)",
        T_SERVER,
    ),
    Mutant("answered prompts are asked again", "rollout/vllm_again.py", "if place not in answers]", "]", T_SERVER),
    Mutant("leftovers in use are removed", "rollout/weights_folder.py", " | fcntl.LOCK_NB", " & 0", "rollout/test_weights_folder.py"),
    Mutant("every rank fails alone", "ranks.py", "    if messages:\n", "    if raised:\n", "test_ranks.py"),
    Mutant(
        "a group takes the first gpus", "rollout/vllm_beside.py", "(device.index or 0) // count * count", "0", "rollout/test_vllm_beside.py"
    ),
    Mutant("vision features stay", "rollout/vllm_client.py", '        self._call("POST", "/reset_encoder_cache")\n', "", T_SERVER),
    Mutant("judge: five last words", OPTION, "> len(words) - 5", "> len(words) - 6", T_OPTION),
    Mutant("judge: first of several letters", OPTION, "len(present) == 1 and", "present and", T_OPTION),
    Mutant("judge: texts in long answers", OPTION, "len(text) > 2 * sum", "len(text) > 9 * sum", T_OPTION),
    Mutant("judge: parts of words", OPTION, "(?![\\w]|\\.\\d)", "", T_OPTION),
    Mutant("judge: any letter after answer is", OPTION, "match[2] is not None or", "True or", T_OPTION),
    Mutant("judge: first thinking tag", PREDICTION, "closed = tag.end()", "closed = closed or tag.end()", T_PREDICTION),
    Mutant("judge: first box", PREDICTION, "text.rfind(_BOX)", "text.find(_BOX)", T_PREDICTION),
    Mutant("judge: truncated thinking", PREDICTION, 'answer is not None else ""', "answer is not None else text", T_PREDICTION),
    Mutant(
        "judge: minus binds first",
        ARITHMETIC,
        "return -value if signs % 2 else value\n\n    def atom",
        "return value\n\n    def atom",
        T_ARITHMETIC,
    ),
    Mutant("judge: unbounded powers", ARITHMETIC, "abs(base), 2)) > _MOST_DIGITS", "abs(base), 2)) > 10 * _MOST_DIGITS", T_ARITHMETIC),
    Mutant("judge: one decimal suffices", QUANTITY, "len(decimals) >= 2", "len(decimals) >= 1", T_QUANTITY),
    Mutant("judge: one pass suffices", "benchmark/mmbench.py", "protocol=protocol) == 1)", "protocol=protocol) > 0)", T_MMBENCH),
    Mutant("judge: a right 0 counts", "benchmark/mathvista.py", "(final or bool(value))", "True", T_MATHVISTA),
    Mutant("W&B: any rows of a task", "tracking/rows.py", "(-advantages[row], row)", "row", T_TRACKING),
    Mutant("W&B: pictures as they are", "tracking/rows.py", "copy.thumbnail((longest_px, longest_px))", "pass", T_TRACKING),
    Mutant("W&B: a resumed run is a new one", "tracking/identity.py", "if resumed and", "if not resumed and", T_TRACKING),
    Mutant("W&B: a step ends before its benchmarks", "tracking/wandb_tracker.py", "step=step)\n", "step=step, commit=True)\n", T_TRACKING),
    Mutant(
        "W&B: artifacts in the home folder", "tracking/wandb_tracker.py", 'STAGING = "WANDB_DATA_DIR"', 'STAGING = "ELSEWHERE"', T_TRACKING
    ),
    Mutant("W&B: one summary for all", "tracking/wandb_tracker.py", "summary=metric.summary", 'summary="last"', T_TRACKING),
    Mutant("W&B: bands swapped", "tracking/bands.py", "_, low, high, _ =", "low, _, _, high =", T_TRACKING),
    Mutant(
        "W&B: every rank writes", "tracking/wandb_tracker.py", "    @rank_zero_only\n    def log_metrics", "    def log_metrics", T_TRACKING
    ),
    Mutant("dashboard: metric twice", "dashboard/view.py", "and metric.name not in bounds", "", "dashboard/test_view.py"),
    *DATA_MUTANTS,
    *MODEL_MUTANTS,
    *MATHEMATICS_MUTANTS,
    *ADAPTER_MUTANTS,
    *EVALUATION_MUTANTS,
    *REWARD_MUTANTS,
    *SWEEP_MUTANTS,
)


def run_tests(source: Path, tests: str) -> int:
    """Exit code of pytest over `tests` with the package taken from `source`, in a forked child."""
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        sys.path.insert(0, str(source))
        os.environ["PYTHONPATH"] = str(source)  # for tests that start processes
        files = [str(ROOT / "tests" / name) for name in tests.split()]
        plain = [
            "-o",
            "addopts=",
            "-o",
            f"pythonpath={source} {ROOT / 'perf'}",
            "-p",
            "no:cacheprovider",
            "--import-mode=importlib",
            "-W",
            "ignore",
        ]
        os._exit(pytest.main([*plain, "--hypothesis-seed=0", "--assert=plain", "-x", "-q", *files]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def verdict(mutant: Mutant) -> str:
    """`killed`, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        path = source / "g2rpo" / mutant.file
        text = path.read_text()
        if text.count(mutant.old) != 1:
            return f"STALE: {mutant.old!r} occurs {text.count(mutant.old)} times in {mutant.file}"
        path.write_text(text.replace(mutant.old, mutant.new))
        code = run_tests(source, mutant.tests)
    return {0: "SURVIVED", 1: "killed"}.get(code, f"BROKEN: pytest ended with {code}")


def main() -> int:
    """Run the chosen mutants and report each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run the mutants whose name contains this")
    only = parser.parse_args().only
    chosen = [mutant for mutant in MUTANTS if only in mutant.name]
    if not chosen:
        parser.error(f"no mutant is called {only!r}")
    torch.set_num_threads(1)
    tests = " ".join(sorted({name for mutant in chosen for name in mutant.tests.split()}))
    if run_tests(ROOT / "src", tests) != 0:
        print(f"the tests fail without any mutant: {tests}")
        return 1
    verdicts = []
    for mutant in chosen:
        verdicts.append(verdict(mutant))
        print(f"{verdicts[-1]:8}  {mutant.file}: {mutant.name}", flush=True)
    print(f"{verdicts.count('killed')} of {len(chosen)} mutants killed")
    return int(any(outcome != "killed" for outcome in verdicts))


if __name__ == "__main__":
    sys.exit(main())
