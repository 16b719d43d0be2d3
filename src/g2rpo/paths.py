"""Paths of configuration, sweeps, scripts and examples, in a checkout or an installed package."""

from pathlib import Path

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parents[1]
ROOT_CONF = ROOT / "conf"
IN_CHECKOUT = ROOT_CONF.is_dir() and (ROOT / "train.py").is_file()

CONF = str(ROOT_CONF if IN_CHECKOUT else PACKAGE / "conf")
"""Folder with the config groups and the main configuration of each program."""
SWEEPS = ROOT / "sweeps" if IN_CHECKOUT else PACKAGE / "sweeps"
SCRIPTS = ROOT if IN_CHECKOUT else PACKAGE / "programs"
CONSTRAINTS = (ROOT if IN_CHECKOUT else PACKAGE) / "constraints"
"""Folder with the sets of tested versions."""
EXAMPLES = (ROOT if IN_CHECKOUT else PACKAGE) / "examples"
"""Folder with job scripts for clusters."""


def command(program: str) -> str:
    """Return how a user starts a program: `python train.py` in a checkout, else `g2rpo train`."""
    return f"python {program}.py" if IN_CHECKOUT else f"g2rpo {program.replace('_', '-')}"
