"""Length and entropy bands as metrics, because W&B draws only logged numbers beside a curve."""

import math
from collections.abc import Sequence

from g2rpo.algorithm.shaping import Shaping


def band_columns(shaping: Shaping, tasks: Sequence[str]) -> dict[str, float]:
    """Return the limits of the bands by metric and task; of a length band, those of its plateau.

    Open sides and tasks without a band are left out.
    """
    found: dict[str, float] = {}
    for i, task in enumerate(tasks):
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
