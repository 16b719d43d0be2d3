"""Write the table of docs/models.md: what each family of models can do, read from its class.

    python perf/models.py           # rewrites the table
    python perf/models.py --check   # says whether it is current

tests/policy/family/ holds every family to its row, with a tiny checkpoint of random weights.
"""

import argparse
import sys
from pathlib import Path

from g2rpo.policy.family.choose_family import families
from g2rpo.policy.family.model_family import Family

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
BEGIN, END = "<!-- perf/models.py -->", "<!-- end -->"
HEAD = (
    "| family | `model_type` | `policy.prefix` | `rollout` | `vllm serve final`"
    " | packed cold start | `estimate.py` |",
    "|---|---|---|---|---|---|---|",
)


def row(family: Family) -> str:
    """Return a family's row; its name is what its module's docstring begins with."""
    text = sys.modules[type(family).__module__].__doc__ or ""
    kinds = ", ".join(f"`{kind}`" for kind in family.model_types)
    cells = (
        text.partition(":")[0],
        kinds,
        "`shared`, `repeated`" if family.shares_prefix else "`repeated`",
        "`hf`, `vllm`, `vllm_server`" if not family.no_vllm else "`hf`",
        family.served,
        "yes" if family.shares_prefix else "`row_tokens=1`",
        "yes" if family.estimated else "says that it cannot",
    )
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """Return the page with a current table."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    rows = sorted({row(family) for family in families().values()})
    return before + "\n".join((BEGIN, *HEAD, *rows, END)) + rest.split(END)[1]


def main() -> int:
    """Rewrite the table, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether it is current")
    current = page()
    if parser.parse_args().check:
        fresh = current == PAGE.read_text(encoding="utf-8")
        print("current" if fresh else f"{PAGE} is stale: python perf/models.py")
        return 0 if fresh else 1
    PAGE.write_text(current, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
