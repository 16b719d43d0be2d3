import json
from pathlib import Path

import pytest

from g2rpo.scoring.expression import same_expression, same_number

CASES = Path(__file__).parents[3] / "shared" / "cases" / "reward.jsonl"


@pytest.mark.skipif(not CASES.is_file(), reason="needs ../shared")
@pytest.mark.parametrize(("kind", "judge"), [("math", same_expression), ("numerical", same_number)])
def test_public_reports_are_judged_as_a_person_would(kind, judge) -> None:
    rows = [row for row in map(json.loads, CASES.read_text().splitlines()) if row["answer_type"] == kind]
    assert rows
    assert [row["id"] for row in rows if judge(row["completion"], row["gold"]) != row["expected"]] == []
