"""Mutants of `src/g2rpo/rollout/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "position stands still",
        "rollout/hf.py",
        "self.position = self.position + 1",
        "self.position = self.position + 0",
        "rollout/test_hf.py",
    ),
    Mutant("end token left out", "rollout/hf.py", "(ended.cumsum(1) - ended.int()) == 0", "ended.cumsum(1) == 0", "rollout/test_hf.py"),
    Mutant(
        "group judged by the total",
        "rollout/collect.py",
        'group_means(scored.scores.parts["accuracy"]',
        "group_means(scored.scores.total",
        "rollout/test_collect.py",
    ),
    Mutant("each rank fills the room", "rollout/collect.py", "ahead = sum(counts[: ranks.rank()])", "ahead = 0", "training/test_ranks.py"),
    Mutant(
        "no number passes",
        "rollout/sync_probe.py",
        "if gap.nats <= self.max_gap:",
        "if not gap.nats > self.max_gap:",
        "rollout/test_sync_probe.py",
    ),
    Mutant(
        "the probe has a temperature of its own",
        "rollout/sync_probe.py",
        "temperature=self.sampling.temperature",
        "temperature=1.0",
        "rollout/test_sync_probe.py",
    ),
    Mutant(
        "every placeholder is an image",
        "rollout/vllm_requests.py",
        "run[:1] if token == image_token_id else run",
        "run",
        "rollout/test_vllm_requests.py",
    ),
    Mutant("one seed for all prompts", "rollout/vllm_requests.py", 'f"{seed}/{row}"', 'f"{seed}"', "rollout/test_vllm_requests.py"),
    Mutant(
        "a lost server keeps its old weights",
        "rollout/vllm_server.py",
        "            time.sleep(0.5)\n        self._push(client)",
        "            time.sleep(0.5)",
        "rollout/test_vllm_server.py",
    ),
    Mutant("answered prompts are asked again", "rollout/vllm_retry.py", "if place not in answers]", "]", "rollout/test_vllm_server.py"),
    Mutant("leftovers in use are removed", "rollout/weights_folder.py", " | fcntl.LOCK_NB", " & 0", "rollout/test_weights_folder.py"),
    Mutant(
        "a group takes the first gpus", "rollout/vllm_subprocess.py", "(device.index or 0) // count * count", "0", "rollout/test_vllm_subprocess.py"
    ),
    Mutant(
        "vision features stay",
        "rollout/vllm_client.py",
        '        self._call("POST", "/reset_encoder_cache")\n',
        "",
        "rollout/test_vllm_server.py",
    ),
    Mutant(
        "data: groups in the order of their size",
        "rollout/groups.py",
        "joined.prompt.argsort(stable=True)",
        "torch.arange(len(joined.prompt))",
        "rollout/test_groups.py",
    ),
    Mutant("data: one seed for all sizes", "rollout/groups.py", "seed + call * SEEDS_APART", "seed", "rollout/test_groups.py"),
    Mutant(
        "data: an empty step keeps the first draw's room",
        "rollout/collect.py",
        "room = wanted - sum(counts)",
        "room = wanted",
        "rollout/test_collect.py",
    ),
)
