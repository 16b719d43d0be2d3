"""docs/models.md says what the classes of the families say."""

import re

import models
from tiny_families import BUILDERS


def test_the_table_is_current() -> None:
    assert models.page() == models.PAGE.read_text()


def test_every_tested_family_has_its_row() -> None:
    rows = models.page().split(models.BEGIN)[1].split(models.END)[0].splitlines()[3:]
    named = {kind for row in rows for kind in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert set(BUILDERS) <= named
