"""Mutants of `src/g2rpo/algorithm/loss/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "optimistic clip", "algorithm/loss/clip.py", "torch.maximum(unclipped", "torch.minimum(unclipped", "algorithm/loss/test_clip.py"
    ),
    Mutant(
        "clip bounds swapped",
        "algorithm/loss/clip.py",
        "clamp(1 - low, 1 + high)",
        "clamp(1 - high, 1 + low)",
        "algorithm/loss/test_clip.py",
    ),
    Mutant("dual clip for good tokens", "algorithm/loss/clip.py", "advantages < 0", "advantages != 0", "algorithm/loss/test_clip.py"),
    Mutant("dual clip as a floor", "algorithm/loss/clip.py", "torch.minimum(losses", "torch.maximum(losses", "algorithm/loss/test_clip.py"),
    Mutant("gspo sums log ratios", "algorithm/loss/gspo.py", "keepdim=True) / lengths)", "keepdim=True))", "algorithm/loss/test_gspo.py"),
    Mutant(
        "gspo over padded length",
        "algorithm/loss/gspo.py",
        "mask.sum(1, keepdim=True)",
        "mask.new_ones(len(mask), 1).mul(mask.shape[1])",
        "algorithm/loss/test_gspo.py",
    ),
    Mutant(
        "cispo through the weight", "algorithm/loss/cispo.py", "log_ratio.detach().exp()", "log_ratio.exp()", "algorithm/loss/test_cispo.py"
    ),
    Mutant(
        "sapo slopes swapped",
        "algorithm/loss/sapo.py",
        "self.tau_positive, self.tau_negative)",
        "self.tau_negative, self.tau_positive)",
        "algorithm/loss/test_sapo.py",
    ),
    Mutant("sapo not normalized", "algorithm/loss/sapo.py", "* 4 / tau *", "*", "algorithm/loss/test_sapo.py"),
    Mutant(
        "seq over padded length", "algorithm/loss/policy.py", "mask.sum(1).clamp(min=1)", "mask.shape[1]", "algorithm/loss/test_policy.py"
    ),
    Mutant(
        "micro-batch counts its own tokens",
        "algorithm/loss/policy.py",
        "if num_tokens is None else num_tokens",
        "if True else num_tokens",
        "algorithm/loss/test_policy.py",
    ),
    Mutant(
        "micro-batch counts its own rows",
        "algorithm/loss/policy.py",
        "mask.shape[0] if num_completions is None else",
        "mask.shape[0] if True else",
        "algorithm/loss/test_policy.py",
    ),
    Mutant(
        "constant forgets the length",
        "algorithm/loss/policy.py",
        "(self.num_completions * self.max_tokens)",
        "self.num_completions",
        "algorithm/loss/test_policy.py",
    ),
    Mutant("padding in the loss", "algorithm/loss/policy.py", "losses.where(inside, 0.0)", "losses", "algorithm/loss/test_policy.py"),
    Mutant(
        "nan in padding",
        "algorithm/loss/policy.py",
        "old_logprobs.detach().where(inside, 0.0)",
        "old_logprobs.detach()",
        "algorithm/loss/test_policy.py",
    ),
    Mutant(
        "gradient into old_logprobs",
        "algorithm/loss/policy.py",
        "old_logprobs.detach().where",
        "old_logprobs.where",
        "algorithm/loss/test_policy.py",
    ),
    Mutant(
        "kl without its coefficient",
        "algorithm/loss/policy.py",
        "policy + self.kl_coef * kl",
        "policy + kl",
        "algorithm/loss/test_policy.py",
    ),
    Mutant(
        "importance weight not truncated",
        "algorithm/loss/policy.py",
        ".exp().clamp(max=self.tis_clip)",
        ".exp()",
        "algorithm/loss/test_policy.py",
    ),
    Mutant("importance weight inverted", "algorithm/loss/policy.py", "gap.clamp(", "(-gap).clamp(", "algorithm/loss/test_policy.py"),
    Mutant("clip_frac counts padding", "algorithm/loss/policy.py", "(cut & inside)", "cut", "algorithm/loss/test_gspo.py"),
    Mutant(
        "k3 turned round",
        "algorithm/loss/kl.py",
        "(ref_logprobs - logprobs).clamp",
        "(logprobs - ref_logprobs).clamp",
        "algorithm/loss/test_kl.py",
    ),
    Mutant("k2 not halved", "algorithm/loss/kl.py", "0.5 * (logprobs", "(logprobs", "algorithm/loss/test_kl.py"),
    Mutant("k3 unbounded", "algorithm/loss/kl.py", "MAX_K3 = 10.0", "MAX_K3 = 1e9", "algorithm/loss/test_kl.py"),
    Mutant("penalty counts padding", "algorithm/loss/kl.py", ".where(mask.bool(), 0.0).sum(1)", ".sum(1)", "algorithm/loss/test_kl.py"),
    Mutant(
        "KL charged twice",
        "algorithm/loss/policy.py",
        'self.kl_coef > 0 and self.kl_placement == "loss"',
        "self.kl_coef > 0",
        "algorithm/loss/test_policy.py",
    ),
)
