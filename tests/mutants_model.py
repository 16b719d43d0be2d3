"""Bugs in the one pass of a prompt for its group, in the head's pieces, in packed sequences, and in the estimate."""

from mutant import Mutant

ATTENTION, SHARED, STATS = (f"model/{name}.py" for name in ("prefix_attention", "shared_prefix", "stats"))
HEAD, PACKING, FORWARD = (f"model/{name}.py" for name in ("head", "packing", "forward"))
T_ATTENTION, T_SHARED, T_STATS, T_HEAD, T_PACKING, T_FORWARD = (
    f"model/test_{name}.py" for name in ("prefix_attention", "shared_prefix", "stats", "head", "packing", "forward")
)
KEPT, SHAPE, PARTS, SECONDS, LOAD = (f"estimate/{name}.py" for name in ("activations", "shape", "parts", "seconds", "workload"))
T_KEPT, T_SHAPE, T_PARTS, T_SECONDS, T_LOAD = (
    f"estimate/test_{name}.py" for name in ("activations", "shape", "parts", "seconds", "workload")
)

CACHE, T_CACHE = "model/prefix_cache.py", "model/test_prefix_cache.py"

MODEL_MUTANTS = (
    Mutant("cache: padding is seen", CACHE, "None if mask.all() else ~mask[:, None, None]", "None", T_CACHE),
    Mutant("cache: shares swapped", CACHE, "(far_lse - near_lse).sigmoid()", "(near_lse - far_lse).sigmoid()", T_CACHE),
    Mutant("cache: rows of a ragged group misplaced", CACHE, "+ self.owner * self.width", "+ first[self.owner]", T_CACHE),
    Mutant("cache: room is not grown", CACHE, "_room(own[1], 2 * self.written))", "_room(own[1].mul(0), 2 * self.written))", T_CACHE),
    Mutant("model: a completion sees its siblings", ATTENTION, "((completion[key] == completion[query]) & (key <= query))",
           "((completion[key] >= 0) & (key <= query))", T_ATTENTION),
    Mutant("model: a completion sees every prompt", ATTENTION, "(prompt[key] == prompt[query])\n", "(key >= 0)\n", T_ATTENTION),
    Mutant("model: a completion sees its own future", ATTENTION, "near, near_lse = flash(*parts.completions, 0.0, True,",
           "near, near_lse = flash(*parts.completions, 0.0, False,", T_ATTENTION),
    Mutant("model: a completion sees half of its prompt", ATTENTION, "flash(parts.far_query, *parts.prompts[1:], 0.0, False,",
           "flash(parts.far_query, *parts.prompts[1:], 0.0, True,", T_ATTENTION),
    Mutant("model: parts of a softmax are averaged", ATTENTION, "merged_lse = torch.logaddexp(far_lse, near_lse)",
           "merged_lse = torch.logaddexp(far_lse, near_lse) + 0.6931472", T_ATTENTION),
    Mutant("model: a softmax is merged without its maximum", ATTENTION, "torch.logaddexp(far_lse, near_lse)",
           "(far_lse.exp() + near_lse.exp()).log()", T_ATTENTION),
    Mutant("model: another scale", ATTENTION, "module.scaling if scaling is None else scaling)[None]",
           "module.scaling * 1.1)[None]", T_SHARED),
    Mutant("model: padding of prompts is seen", ATTENTION, "if not groups.prompts.all():", "if False:", T_ATTENTION),
    Mutant("model: keys get one head's gradient", ATTENTION, 'grad.unflatten(1, (heads, -1)).sum(2)',
           "grad.unflatten(1, (heads, -1))[:, :, 0]", T_ATTENTION),
    Mutant("model: prompts learn nothing from completions", ATTENTION, "(of_prompts[1] + far[1], near[1])", "(of_prompts[1], near[1])",
           T_ATTENTION),
    Mutant("model: positions start anew after the prompt", SHARED, "completion_positions(first.repeat_interleave(group_size)",
           "completion_positions(0 * first.repeat_interleave(group_size)", T_SHARED),
    Mutant("model: a token predicts itself", SHARED, "torch.arange(int(seen.sum()), device=mask.device) + int(real.sum())",
           "torch.arange(int(seen.sum()), device=mask.device) + int(real.sum()) + 1", T_SHARED),
    Mutant("model: a first token is predicted by another prompt", SHARED,
           "(groups.prompt_tokens.cumsum(0) - 1)", "(groups.prompt_tokens - 1)",
           T_SHARED),
    Mutant("model: the last token passes", SHARED, "torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1)", "mask", T_SHARED),
    Mutant("model: deepstack is dropped", FORWARD, 'if hasattr(features, "deepstack_features"):', "if False:", f"{T_STATS} {T_FORWARD}"),
    Mutant("model: a layer is not computed again", FORWARD, "            layer.training = True\n", "            pass\n",
           f"{T_SHARED} model/test_checkpoint.py"),
    Mutant("model: hidden states one place on", STATS, "start = batch.input_ids.shape[1] - 1", "start = batch.input_ids.shape[1]", T_STATS),
    Mutant("model: sums of pieces are not rescaled", HEAD, "total = total * scale + probs.sum(1)", "total = total + probs.sum(1)", T_HEAD),
    Mutant("model: entropy of the last piece", HEAD, "(weighted + total * (before - largest)) * scale", "weighted * scale", T_HEAD),
    Mutant("model: forbidden tokens have a gradient", HEAD, "            grad.index_fill_(1, mine, 0.0)\n", "", T_HEAD),
    Mutant("model: temperature without a gradient", HEAD, "                grad /= ctx.temperature\n", "                pass\n", T_HEAD),
    Mutant("model: forbidden tokens of the first piece only", HEAD, "(banned < start + width)] - start",
           "(banned < start + width)]", T_HEAD),
    Mutant("model: sequences of a row see each other", PACKING, "torch.cat([own[None], where])",
           "torch.cat([own[None] + sum(len(ids) for ids, _, _ in out), where])", T_PACKING),
    Mutant("model: the prompt is trained", PACKING, "own >= int(real.sum())", "own >= 0", T_PACKING),
    Mutant("estimate: keys without values", KEPT, "return 2 * shape.keys * shape.layers", "return shape.keys * shape.layers", T_KEPT),
    Mutant("estimate: norms in the model's dtype", KEPT, "norms = 2 * shape.hidden * (4 + 2 * b)", "norms = 2 * shape.hidden * b", T_KEPT),
    Mutant("estimate: MLPs keep their input alone", KEPT, "4 * shape.inner * b\n", "shape.inner * b\n", T_KEPT),
    Mutant("estimate: tied heads count twice", SHAPE, "for name, p in policy.named_parameters() if not",
           "for name, p in policy.state_dict().items() if not", T_SHAPE),
    Mutant("estimate: frozen weights have a state", SHAPE, "trained = [p for p in policy.parameters() if p.requires_grad]",
           "trained = list(policy.parameters())", T_SHAPE),
    Mutant("estimate: gradients come last", PARTS, "        return whole + head\n", "        return head\n", T_PARTS),
    Mutant("estimate: one cache for a group", PARTS, "load.prompts * load.lengths.longest + rows * room",
           "load.prompts * load.lengths.longest + load.prompts * room", T_PARTS),
    Mutant("estimate: nothing is computed again", SECONDS, "again = 1.0 if", "again = 0.0 if", T_SECONDS),
    Mutant("estimate: a prompt passes per completion", LOAD, "if self.shared:", "if not self.shared:", T_LOAD),
)  # fmt: skip
