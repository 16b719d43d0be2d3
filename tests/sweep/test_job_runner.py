"""Where jobs run: seats of this machine, and a cluster by way of submitit's stand-in for one."""

import json
from pathlib import Path

import pytest

from g2rpo.sweep.job_runner import Local, Runner, Submitit


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jobs_at_once": 0}, "hydra.launcher.n_jobs: expected at least 1 job at a time, got 0"),
        (
            {"jobs_at_once": 2, "gpus": ["0"]},
            (
                r"hydra.launcher.gpus: expected one entry for each of the 2 jobs at a time, got"
                r" \['0'\]"
            ),
        ),
    ],
)
def test_wrong_numbers_are_named_by_their_key(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Local(**options)


def test_jobs_side_by_side_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    assert Local(jobs_at_once=3).seats.get() == {"OMP_NUM_THREADS": "4"}
    assert Local().seats.get() == {}
    assert isinstance(Local(), Runner)


def test_a_job_array_runs_every_job_once_and_a_failure_is_its_own(
    job, sweep, tmp_path: Path
) -> None:
    pytest.importorskip("submitit", reason="needs the extra [sweeps]")
    runner = Submitit(
        cluster="local",
        folder=tmp_path / "submitit" / "%j",
        parameters={"timeout_min": 2},
        array_parallelism=2,
        poll_s=0.1,
    )
    jobs = [job(seed=1), job(seed=2, does="fail"), job(seed=4)]
    outcomes = sweep(runner=runner).run(jobs)
    assert [outcome.score for outcome in outcomes if not outcome.failure] == [0.125, 0.5]
    assert outcomes[1].failure is not None
    assert outcomes[1].failure.startswith("RuntimeError: out of luck")
    assert [len((one.folder / "starts.txt").read_text().splitlines()) for one in jobs] == [1, 1, 1]
    assert json.loads((jobs[0].folder / "process.json").read_text())["exit_code"] == 0
