"""A newcomer can read one step: few files run in it."""

import sys
from pathlib import Path

PERF = Path(__file__).parents[1] / "perf"
MOST = 71


def test_a_step_of_the_gym_runs_in_few_files(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(PERF))
    from step_files import files_of_a_step

    # nearly greedy, so that the answers are those of a policy that knows the format
    files = files_of_a_step(["rollout.temperature=0.2"])
    sys.modules.pop("step_files")
    assert {"training/module.py", "algorithm/advantage/g2rpo.py", "reward/verifier.py"} <= {*files}
    # answers of the gym are plain, so that neither the parser nor the chart reader is needed
    assert {file for file in files if file.startswith("scoring/")} <= {
        "scoring/boxes.py",
        "scoring/chart.py",
        "scoring/expression/answer.py",
        "scoring/extract.py",
        "scoring/kept.py",
        "scoring/letters.py",
        "scoring/number.py",
        "scoring/text.py",
    }
    assert len(files) <= MOST, files
