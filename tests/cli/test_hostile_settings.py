"""Configurations changed by chance: each is built, or refused in one sentence that names a key; an
unknown key is never taken in silence.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from g2rpo.cli.checks import refuse_added
from g2rpo.cli.keys import explanation
from g2rpo.paths import CONF

PROGRAM = Path(__file__).parent / "changed_settings.py"


@pytest.mark.process
@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_changed_configuration_is_built_or_refused_in_one_sentence(
    count: int, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(count)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "0 faults\n", done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize(
    "word",
    ["+lr=5", "+sed=1", "+optimiser.lr=1", "+batch2.x=3", "+callback.a.b=1", "lr=5", "batch.x=1"],
)
def test_an_unknown_key_of_the_command_line_is_refused(word: str) -> None:
    with initialize_config_dir(CONF, version_base="1.3"):
        try:
            cfg = compose("config", [word], return_hydra_config=True)
        except HydraException as error:
            said = explanation(error, "config", [word])
        else:
            with pytest.raises(ValueError, match=re.escape(word)) as caught:
                refuse_added(cfg.hydra)
            said = str(caught.value)
    assert said is not None
    assert word.lstrip("+").partition("=")[0] in said
