"""Mutants of how a step gets its groups."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "collect: the rest of a draw is forgotten",
        "rollout/collect.py",
        "if rest is None and draws < group_filter.max_draws:",
        "if draws < group_filter.max_draws:",
        "rollout/test_collect.py",
    ),
    Mutant(
        "collect: a part has positions of its own",
        "rollout/collect.py",
        "select_prompts(batch, rows[num:])",
        "_of_draw(1, select_prompts(batch, rows[num:]))",
        "rollout/test_collect.py",
    ),
    Mutant(
        "collect: as many prompts as groups lack",
        "rollout/kept_groups.py",
        "(spread + math.sqrt(spread**2 + groups)) ** 2 / share",
        "groups",
        "rollout/test_collect.py",
    ),
    Mutant(
        "group judged by the total",
        "rollout/collect.py",
        "group_means(scored.scores.accuracy",
        "group_means(scored.scores.total",
        "rollout/test_collect.py",
    ),
    Mutant(
        "two draws: completions of the second are those of the first",
        "rollout/collect.py",
        "batch.position + draw * PER_DRAW",
        "batch.position",
        "rollout/test_collect.py",
    ),
    Mutant(
        "two draws: a draw that was not needed counts",
        "rollout/collect.py",
        "size if enough else len(batch.prompts)",
        "len(batch.prompts)",
        "rollout/test_collect.py",
    ),
    Mutant(
        "two draws: the second is lost",
        "rollout/collect.py",
        "            put_back()\n",
        "",
        "rollout/test_collect.py",
    ),
    Mutant(
        "two draws: more than the memory is made for",
        "rollout/collect.py",
        "int(MOST_AT_ONCE * size)",
        "2 * size",
        "rollout/test_collect.py",
    ),
    Mutant(
        "two draws: without a kept group the first ones stay",
        "rollout/kept_groups.py",
        "max(0, size - num), size",
        "0, min(num, size)",
        "rollout/test_collect.py",
    ),
    Mutant(
        "two draws: the expectation follows the last step alone",
        "rollout/kept_groups.py",
        "(1 - WEIGHT) * self.share + WEIGHT * latest",
        "latest",
        "rollout/test_collect.py",
    ),
    Mutant(
        "two draws: further draws have the seed of the first",
        "rollout/draw.py",
        "{seed + draws}/{place}",
        "{seed}/{place}",
        "rollout/test_draw.py",
    ),
    Mutant(
        "each rank fills the room",
        "rollout/kept_groups.py",
        "for rank, task in ranks.all_gather_list(own):",
        "for rank, task in own:",
        "training/test_ranks.py",
    ),
    Mutant(
        "data: an empty step keeps the first draw's room",
        "rollout/kept_groups.py",
        "self.room = self.wanted - sum(counts)",
        "self.room = self.wanted",
        "rollout/test_collect.py",
    ),
    Mutant(
        "any task fills any place",
        "rollout/collect.py",
        "Counter(tasks) if keep_shares else None",
        "None",
        "rollout/test_collect.py",
    ),
)
