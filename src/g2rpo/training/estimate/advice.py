"""What to set when a run does not fit: settings that are not so yet, each tried on the estimate.

Settings that leave results as they are come first. If they are not enough, one setting that changes
what is learned is advised, if one is enough, else all together. A change is advised only if it
lowers the peak, so advice is never without effect.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from g2rpo.training.estimate.changes import CHANGING, HARMLESS, Change, Kind, Now, Setup

LEAST_GAIN = 0.01
"""Share of the peak that a change must save to be advised."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One change of a command line."""

    override: str
    """As typed, such as `batch.completions_per_row=4`."""
    now: str
    """The present value."""
    peak: int
    """Bytes of the largest phase after this change and those before it."""


def advise(setup: Setup, now: Now) -> list[Advice]:
    """Return the changes that make a run fit, in order; too few if nothing makes it fit.

    Args:
        setup: The run as it is.
        now: Returns the present value of a key.
    """
    memory = setup.device.memory
    if not memory or setup.peak() <= memory:
        return []
    harmless = _one_after_the_other(setup, now, HARMLESS)
    if harmless and harmless[-1].peak <= memory:
        return harmless
    for kind in CHANGING:  # rather one change of what is learned than many
        if (change := _best(kind(setup, now), setup, now)) and change[2].peak() <= memory:
            return [Advice(override=change[0], now=change[1], peak=change[2].peak())]
    return _one_after_the_other(setup, now, HARMLESS + CHANGING)


def _one_after_the_other(setup: Setup, now: Now, kinds: tuple[Kind, ...]) -> list[Advice]:
    """Return changes of some kinds until the run fits, or nothing more helps."""
    advice: list[Advice] = []
    while setup.peak() > setup.device.memory:
        found = next(
            (change for kind in kinds if (change := _best(kind(setup, now), setup, now))), None
        )
        if found is None:
            break
        override, present, setup = found
        advice.append(Advice(override=override, now=present, peak=setup.peak()))
    return advice


def _best(changes: Iterator[Change], setup: Setup, now: Now) -> Change | None:
    """Return the first change that makes the run fit, else the one that saves most."""
    best = None
    most = setup.peak() * (1 - LEAST_GAIN)
    for override, present, changed in changes:
        peak = changed.peak()
        if peak < most and _known(override, now):
            best, most = (override, present, changed), peak
        if best and peak <= setup.device.memory:
            break
    return best


def _known(override: str, now: Now) -> bool:
    """Return whether the configuration has the keys of an override; choices of groups always do."""
    try:
        for part in override.split():
            key = part.partition("=")[0]
            if "." in key and not key.startswith("+"):
                now(key)
    except KeyError:
        return False
    return True
