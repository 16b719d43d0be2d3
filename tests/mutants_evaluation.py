"""Bugs in evaluations that resume, are spread over ranks, and count what they could not judge."""

from mutant import Mutant

RUNNER, PLAN, FILES, VERDICTS, SUITE = (f"evaluation/{name}.py" for name in ("runner", "plan", "predictions", "verdicts", "suite"))
T_RUNNER, T_PLAN, T_FILES, T_VERDICTS, T_SUITE = (
    f"evaluation/test_{name}.py" for name in ("runner", "plan", "predictions", "verdicts", "suite")
)

EVALUATION_MUTANTS = (
    Mutant("evaluation: half a group is done", RUNNER, "if all(id in self.saved for id in ids)]",
           "if any(id in self.saved for id in ids)]",
           T_RUNNER),
    Mutant("evaluation: answers to another question count", RUNNER, 'if row["question"] == self.prompts[row["id"]].text}', "}", T_RUNNER),
    Mutant("evaluation: rows that nobody asked for are kept", RUNNER, "        if foreign:\n", "        if False:\n", T_RUNNER),
    Mutant("evaluation: a verdict of another protocol stands", RUNNER, "{name: row[name] for name in now} != now", "False", T_RUNNER),
    Mutant("evaluation: what failed is not tried again", RUNNER, 'row["by"] == "failed" or {name', "{name", T_RUNNER),
    Mutant("evaluation: every rank answers all", RUNNER, "todo[ranks.rank() :: ranks.world_size()]", "todo", T_RUNNER),
    Mutant("evaluation: every rank writes", RUNNER, "            if ranks.rank() == 0:\n                self.file.append(rows)",
           "            if True:\n                self.file.append(rows)", T_RUNNER),
    Mutant("evaluation: a batch holds more rows than it may", RUNNER, "            if size > room:\n",
           "            if room <= 0:\n", T_RUNNER),
    Mutant("evaluation: one seed for every batch", RUNNER, "self.asking.seed + places[0]", "self.asking.seed", T_RUNNER),
    Mutant("evaluation: images of a whole benchmark stay", RUNNER, "if not self.asking.keep_images:", "if False:", T_RUNNER),
    Mutant("evaluation: the file stays in the order of answering", RUNNER, "if rows != self.file.read():", "if False:", T_RUNNER),
    Mutant("evaluation: finished counts as truncated", RUNNER, '"truncated": not finished', '"truncated": finished', T_RUNNER),
    Mutant("evaluation: an id may come twice", PLAN, 'if str(row["id"]) in ids:', "if False:", T_PLAN),
    Mutant("evaluation: any number may be unusable", PLAN, "if len(unusable) > max_unusable_frac * available:",
           "if False:", T_PLAN),
    Mutant("evaluation: a larger limit asks other rows", PLAN, "Random(seed).shuffle(order)",
           'Random(f"{seed}/{limit}").shuffle(order)', T_PLAN),
    Mutant("evaluation: one group more than the limit", PLAN, "if taken and rows + len(groups[place]) > limit:",
           "if taken and rows > limit:",
           T_PLAN),
    Mutant("evaluation: a torn line stays", FILES, "            os.truncate(self.path, end)\n", "            pass\n", T_FILES),
    Mutant("evaluation: a row written twice counts first", FILES,
           '                found.pop(row["id"], None)\n                found[row["id"]] = row',
           '                found.setdefault(row["id"], row)', T_FILES),
    Mutant("evaluation: predictions of other settings mix", FILES, "if changed and files and not overwrite:", "if False:", T_FILES),
    Mutant("evaluation: a failed row counts", VERDICTS, 'if any(verdict["by"] == "failed" for verdict in verdicts):',
           "if False:", T_VERDICTS),
    Mutant("evaluation: any score passes", VERDICTS, "if not 0 <= found.score <= 1:", "if False:", T_VERDICTS),
    Mutant("evaluation: thoughts are judged", VERDICTS, "[clean(completion) for completion in completions]",
           "list(completions)", T_VERDICTS),
    Mutant("evaluation: a seed of greedy answers", SUITE, "if self.sampling.temperature else {})", "if True else {})", T_SUITE),
    Mutant("evaluation: a protocol that nobody knows", SUITE, "if self.scoring.protocol not in found.protocols:", "if False:", T_SUITE),
    Mutant("evaluation: weights without their names", SUITE, 'f"{name} {tuple(values.shape)}"', 'f"{tuple(values.shape)}"', T_SUITE),
)  # fmt: skip
