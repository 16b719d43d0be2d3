"""Where the configuration, the sweeps and the scripts are: at the root of a checkout, or inside an
installed package.
"""

from pathlib import Path

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parents[1]
ROOT_CONF = ROOT / "conf"
IN_CHECKOUT = ROOT_CONF.is_dir() and (ROOT / "train.py").is_file()

CONF = str(ROOT_CONF if IN_CHECKOUT else PACKAGE / "conf")
"""The folder with the choices and with each program's own configuration."""
SWEEPS = ROOT / "sweeps" if IN_CHECKOUT else PACKAGE / "sweeps"
SCRIPTS = ROOT if IN_CHECKOUT else PACKAGE / "programs"
