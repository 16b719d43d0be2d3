"""Length and entropy bands as numbers of a step, so that a curve can be drawn against them: a run
of W&B has no lines but logged ones.
"""

import math

from g2rpo.algorithm.shaping import Shaping
from g2rpo.records import TASKS


def band_columns(shaping: Shaping) -> dict[str, float]:
    """Ends of the bands by metric and task: of a length band those of its plateau. An open side,
    and a task without band, is left out.
    """
    found: dict[str, float] = {}
    for i, task in enumerate(TASKS):
        if shaping.length is not None:
            _, low, high, _ = shaping.length.bands[i].tolist()
            found |= (
                {
                    f"shaping/length_low_tokens/{task}": low,
                    f"shaping/length_high_tokens/{task}": high,
                }
                if high >= 0
                else {}
            )
        if shaping.entropy is not None:
            low, high = float(shaping.entropy.low[i]), float(shaping.entropy.high[i])
            found |= {f"shaping/entropy_low_nats/{task}": low} if low > 0 else {}
            found |= {f"shaping/entropy_high_nats/{task}": high} if math.isfinite(high) else {}
    return found
