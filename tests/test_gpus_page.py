"""docs/gpus.md says what the estimate says; its commands compose."""

import re
import shlex
from pathlib import Path

import gpus
import pytest

PAGE = gpus.PAGE.read_text()


def test_a_row_of_the_page_is_current() -> None:
    assert gpus.row("qwen3_vl_8b_full", 8) in PAGE


@pytest.mark.slow
def test_all_rows_of_the_page_are_current() -> None:
    assert gpus.page() == PAGE


@pytest.mark.slow
@pytest.mark.parametrize("count", list(gpus.PLACES))
def test_every_recipe_fits_or_is_told_what_makes_it_fit(count: int) -> None:
    for experiment in gpus.RECIPES:
        found = gpus.estimate_of(experiment, count)
        if not found.verdict().startswith("fits"):
            options = [part for step in found.advice for part in step.override.split()]
            assert options, experiment
            fixed = gpus.estimate_of(experiment, count, *options)
            assert fixed.verdict().startswith("fits"), (experiment, fixed.verdict())


def test_commands_of_the_page_name_what_exists() -> None:
    root = Path(__file__).parents[1]
    commands = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.S)
    words = [word for line in "\n".join(commands).splitlines() for word in shlex.split(line)]
    experiments = {word.partition("=")[2] for word in words if word.startswith("experiment=")}
    assert experiments
    for name in experiments:
        assert (root / "conf" / "experiment" / f"{name}.yaml").is_file()
    assert all((root / word).is_file() for word in words if word.endswith(".py"))
    assert (root / "examples" / "recipe_small.sh").is_file()
