"""A preview reads data early: what takes seconds to import and is not needed yet stays out."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.process]
HEAVY = {"torchmetrics", "matplotlib", "wandb", "datasets", "plotly", "math_verify"}


def test_what_a_preview_builds_imports_nothing_that_takes_seconds() -> None:
    code = (
        "import sys, g2rpo.cli, g2rpo.report.preview, g2rpo.training.parts, g2rpo.data.stream;"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
