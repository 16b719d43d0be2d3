"""Calls the user's reward functions once per task before weights are loaded.

An argument that no record has, too few values, NaN or text show within a second this way, and not
after the first rollout. What is judged are the gold answer and a completion without one.
"""

import logging
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from g2rpo.data.gold_tries import tags_in
from g2rpo.data.loading import place
from g2rpo.interfaces import PromptSource, Reward
from g2rpo.prompt import LOGGED, Failed, Prompt, accuracy_in
from g2rpo.reward.functions import FunctionsReward
from g2rpo.reward.workers.inline import score_each

log = logging.getLogger("g2rpo")

WRONG = "I do not know."


def try_functions(
    source: PromptSource, reward: Reward, *, tasks: Sequence[str], functions: FunctionsReward
) -> None:
    """Judge two completions of the first prompt of each task, and log what they get.

    Args:
        source: Source of the prompts.
        reward: The run's reward, in its workers.
        tasks: Tasks that are trained.
        functions: The same reward, outside of the workers.

    Raises:
        ValueError: A function fails, or `reward.accuracy` names no part.
    """
    for line in functions.described():
        log.info("reward: %s", line)
    read: Callable[[str, int, str], Prompt] = getattr(source, "without_images", source.get)
    parts: set[str] = set()
    for task in tasks:
        prompt = read(task, 0, "train")
        thinking, answered = tags_in(prompt.text)
        right = f"<{thinking}>...</{thinking}><{answered}>{prompt.answer}</{answered}>"
        outcomes = score_each(reward, [right, WRONG], [prompt, prompt])
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                raise ValueError(f"reward.functions: {place(prompt)}: {outcome.reason}")
            parts |= {name.removeprefix(LOGGED) for name in outcome}
            if not 0 <= accuracy_in(outcome) <= 1:
                log.warning(
                    "reward: %s counts as accuracy and is %g for %s; filter=online and shaping"
                    " expect it in [0, 1]: choose reward.accuracy, or filter=none",
                    functions.accuracy or "the first function",
                    accuracy_in(outcome),
                    place(prompt),
                )
    own = functions.accuracy
    if own is not None and own not in parts:
        near = get_close_matches(own, parts, n=1)
        hint = f"is it {near[0]!r}?" if near else f"there are {', '.join(sorted(parts))}"
        raise ValueError(f"reward.accuracy: no function returns a part {own!r}; {hint}")
