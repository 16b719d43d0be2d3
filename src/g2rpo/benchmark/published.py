"""What the paper reports for a benchmark; each benchmark's module states its own numbers."""

from dataclasses import dataclass

COLUMNS = {
    "base": "Qwen3-VL-8B",
    "onethinker": "OneThinker-8B",
    "grpo": "+ GRPO",
    "gdpo": "+ GDPO",
    "openvlthinker_v2": "OpenVLThinkerV2",
}
"""Models of the paper: the name used here, and the name in the paper."""
DEMO = "demo"
"""Name of the row source whose scores compare small checkpoints with each other alone."""
NOT_COMPARABLE = (
    "These are demo rows, drawn for the model that ships with the package: their scores are not"
    " comparable with the paper's."
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of Tables 1 to 3 of the OpenVLThinkerV2 paper (arXiv 2604.08539).

    Args:
        row: Position in these tables, counted from 1; it orders benchmarks.
        title: Name of the benchmark in the paper.
        full: Points of a perfect score: 100 for percent, 1000 for OCRBench.
        base: Score of Qwen3-VL-8B, in points; the other models follow in the same unit.
    """

    row: int
    title: str
    base: float
    onethinker: float
    grpo: float
    gdpo: float
    openvlthinker_v2: float
    full: int = 100

    def scores(self) -> dict[str, float]:
        """Return the scores in [0, 1] by the names in `COLUMNS`."""
        return {name: float(getattr(self, name)) / self.full for name in COLUMNS}
