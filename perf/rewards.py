"""How long scoring takes: `reward=verifier` against `openvlthinker`, and workers against inline.

    python perf/rewards.py

Printed are the fastest times; the sides take turns. First both rewards score the same completions,
with the answer types of a mixed run; the ratio is verifier / openvlthinker. Then the default reward
scores them inline and with reward workers, and the results must be equal to the bit. A ratio below
1 means that workers are faster.
"""

import argparse
import random
import time

from g2rpo.interfaces import Reward
from g2rpo.records import Prompt
from g2rpo.reward.openvlthinker import OpenVLThinkerReward
from g2rpo.reward.verifier import VerifierReward
from g2rpo.reward.workers.inline import score_each
from g2rpo.reward.workers.pool import RewardPool

GOLDS = {
    "multiple choice": "B",
    "numerical": "1,234",
    "spatial grounding": '{"boxes": [10, 10, 200, 300]}',
    "OCR": "Invoice No. 4821 total",
}
ANSWERS = {
    "multiple choice": ["B", "(b)", "C"],
    "numerical": ["1234", "12", "1,234.001"],
    "OCR": ["invoice 4821", "Invoice No. 4821 total"],
    "spatial grounding": ['{"boxes": [0, 10, 190, 310]}', "[0, 1, 2, 3]"],
}


ALL_GOLDS = {
    **GOLDS,
    "relaxed": "14",
    "regression": "2.5",
    "open-ended": "two dogs are playing in the park",
}
ALL_ANSWERS = {
    **ANSWERS,
    "relaxed": ["14", "13.5", "red", "14%"],
    "regression": ["2.5", "3", "2.75"],
    "open-ended": ["two dogs play in a park", "two dogs are playing in the park", "a cat"],
}


def cheap(count: int) -> tuple[list[str], list[Prompt]]:
    """Return letters, numbers, words and boxes, eight completions per prompt."""
    rng, kinds = random.Random(0), list(GOLDS)
    prompts = [_prompt(k, kinds[k % 4], GOLDS[kinds[k % 4]]) for k in range(count // 8)]
    owners = [prompt for prompt in prompts for _ in range(8)]
    return [_completion(rng.choice(ANSWERS[prompt.answer_type])) for prompt in owners], owners


def mixed(count: int) -> tuple[list[str], list[Prompt]]:
    """Return the same with a mathematics problem as every fourth prompt; its answers all differ."""
    rng, (texts, owners) = random.Random(1), cheap(count)
    for row in range(count):
        if row // 8 % 4 == 0:
            owners[row] = (
                owners[row - 1]
                if row % 8
                else _prompt(
                    row // 8, "math", rf"$\frac{{{rng.randrange(1, 99)}}}{{7}} + \sqrt{{3}}$"
                )
            )
            texts[row] = _completion(
                rf"$\frac{{{rng.randrange(1, 9999)}}}{{{rng.randrange(7, 999)}}} + \sqrt{{3}}$"
            )
    return texts, owners


def _prompt(number: int, kind: str, answer: str) -> Prompt:
    return Prompt(id=str(number), task="math", text="?", images=(), answer=answer, answer_type=kind)


def _completion(answer: str) -> str:
    return f"<thinking>{'so it is ' * 40}</thinking><answer>{answer}</answer>"


def by_type(kind: str, count: int) -> tuple[list[str], list[Prompt]]:
    """Return right and wrong completions of one answer type, eight per prompt."""
    rng = random.Random(kind)
    if kind == "math":
        golds = [
            rf"$\frac{{{rng.randrange(1, 99)}}}{{7}} + \sqrt{{{rng.randrange(2, 40)}}}$"
            for _ in range(count // 8)
        ]
        answers = [
            rng.choice((gold, rf"$\frac{{{rng.randrange(1, 99)}}}{{7}}$", f"{rng.randrange(99)}"))
            for gold in golds
            for _ in range(8)
        ]
        return [_completion(answer) for answer in answers], [
            _prompt(i // 8, kind, golds[i // 8]) for i in range(count)
        ]
    golds, answers = (
        [ALL_GOLDS[kind]] * count,
        [rng.choice(ALL_ANSWERS[kind]) for _ in range(count)],
    )
    return [_completion(answer) for answer in answers], [
        _prompt(i // 8, kind, gold) for i, gold in enumerate(golds)
    ]


def compare_rewards(rounds: int) -> None:
    """Print milliseconds of both rewards for each answer type and for all of them together."""
    rewards: dict[str, Reward] = {
        "openvlthinker": OpenVLThinkerReward(),
        "verifier": VerifierReward(),
    }
    for reward in rewards.values():
        score_each(reward, *by_type("math", 8))  # imports sympy
    totals = dict.fromkeys(rewards, 0.0)
    for kind in (*ALL_GOLDS, "math"):
        texts, owners = by_type(kind, 800)
        best = dict.fromkeys(rewards, float("inf"))
        # Parsed answers are cached, so mathematics is timed once: a step's answers are new.
        for _ in range(1 if kind == "math" else rounds):
            for name, reward in rewards.items():
                begin = time.perf_counter()
                score_each(reward, texts, owners)
                best[name] = min(best[name], time.perf_counter() - begin)
        totals = {name: totals[name] + best[name] for name in totals}
        _print_ratio(f"800 {kind}", best)
    _print_ratio("all types", totals)


def _print_ratio(what: str, seconds: dict[str, float]) -> None:
    release, ours = 1e3 * seconds["openvlthinker"], 1e3 * seconds["verifier"]
    print(
        f"{what}: openvlthinker {release:.1f} ms, verifier {ours:.1f} ms, ratio"
        f" {ours / release:.2f}"
    )


def main() -> None:
    """Check that all results agree, then print times and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    compare_rewards(args.rounds)
    begin = time.perf_counter()
    pool = RewardPool(workers=args.workers)
    reward: Reward = VerifierReward()
    with pool.start(reward) as pooled:
        print(f"start returned after {1e3 * (time.perf_counter() - begin):.1f} ms", end=", ")
        pooled.score_all(*cheap(8))
        print(f"first verdicts after {time.perf_counter() - begin:.2f} s")
        cases = {
            "1600 cheap": (cheap(1600), args.rounds),
            "200 cheap": (cheap(200), args.rounds),
            "1600, a quarter math": (mixed(1600), 1),
        }
        # Mathematics runs once, since math-verify caches what it has parsed.
        for name, ((texts, owners), rounds) in cases.items():
            if rounds == 1:  # both sides import sympy
                score_each(reward, *mixed(8))
                pooled.score_all(*mixed(64 * args.workers))
            inline = within = float("inf")
            for _ in range(rounds):
                begin = time.perf_counter()
                expected = score_each(reward, texts, owners)
                middle = time.perf_counter()
                found = pooled.score_all(texts, owners)
                inline, within = (
                    min(inline, middle - begin),
                    min(within, time.perf_counter() - middle),
                )
                if found != expected:
                    raise SystemExit(f"{name}: the pool and inline differ")
            print(
                f"{name}: inline {1e3 * inline:.1f} ms, {args.workers} workers {1e3 * within:.1f}"
                f" ms, ratio {within / inline:.2f}"
            )


if __name__ == "__main__":
    main()
