"""A sweep runs what is missing, each job in a process of its own, whatever becomes of the
others.
"""

import json
import logging
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from g2rpo.sweep.job import Job, read_mark, state_of, write_mark
from g2rpo.sweep.job_runner import Local
from g2rpo.sweep.launch import Sweep
from g2rpo.sweep.sweep_plan import read_plan


def starts(job: Job) -> int:
    path = job.folder / "starts.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_every_job_ends_with_its_score_and_the_page_is_written_before_and_after_each(
    job, sweep
) -> None:
    reports: list[int] = []
    jobs = [job(seed=seed) for seed in (1, 2, 4)]
    assert [outcome.score for outcome in sweep(total=3, reports=reports).run(jobs)] == [
        0.125,
        0.25,
        0.5,
    ]
    assert reports == [0, 1, 2, 3]


def test_a_page_that_takes_longer_than_a_job_is_not_written_after_every_job(job, sweep) -> None:
    finished: list[int] = []
    jobs = [job(seed=seed) for seed in (1, 2, 4)]

    def slow(folder: Path) -> None:
        finished.append(sum(state_of(one.folder, one.hash) == "finished" for one in jobs))
        time.sleep(1.0)

    made = sweep()
    made.write_report = slow
    made.run(jobs)
    assert finished == [0, 1, 3]


def test_the_plan_and_every_frozen_configuration_are_there_before_the_first_job_ends(
    job, sweep, tmp_path: Path
) -> None:
    jobs = [job(seed=1, does="fail"), job(seed=2)]
    seen = []
    made = sweep()
    made.write_report = lambda folder: seen.append([one.frozen() == one.cfg for one in jobs])
    made.run(jobs)
    assert seen[0] == [True, True]
    plan = read_plan(tmp_path / "sweep")
    assert plan is not None
    assert {name: one.hash for name, one in plan.jobs.items()} == {
        one.name: one.hash for one in jobs
    }


def test_a_failed_and_a_killed_job_stop_no_other_and_the_same_command_runs_them_again(
    job, sweep
) -> None:
    jobs = [job(seed=1, does="fail"), job(seed=2, does="die"), job(seed=4)]
    failed, killed, done = sweep().run(jobs)
    assert failed.failure is not None
    assert failed.failure.startswith("RuntimeError: out of luck; see ")
    assert killed.failure is not None
    assert killed.failure.startswith("killed by signal 9; see ")
    assert (done.failure, done.score) == (None, 0.5)
    assert [state_of(one.folder, one.hash) for one in jobs] == ["failed", "stopped", "finished"]
    sweep().run(jobs)
    assert [starts(one) for one in jobs] == [2, 2, 1]


def test_more_seeds_run_only_what_is_new(job, sweep) -> None:
    sweep().run([job(seed=1)])
    outcomes = sweep().run([job(seed=1), job(seed=2)])
    assert [outcome.score for outcome in outcomes] == [0.125, 0.25]
    assert [starts(job(seed=seed)) for seed in (1, 2)] == [1, 1]


def test_a_line_says_of_each_job_how_many_are_done_its_score_and_the_time(
    job, sweep, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "g2rpo")
    sweep(total=2).run([job(seed=1)])
    sweep(total=2).run([job(seed=1), job(seed=2, does="fail")])
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("1/2 does=train,seed=1 | held-out 0.125 | 0:0")
    assert lines[0].endswith(" left")
    assert lines[1] == "1/2 done already"
    assert lines[2].startswith("2/2 does=fail,seed=2 | FAILED: RuntimeError: out of luck; see ")
    assert lines[2].endswith(" | last job")


def test_other_settings_in_the_same_folder_are_another_sweep_and_named(job, sweep) -> None:
    sweep().run([job(seed=1)])
    with pytest.raises(
        ValueError,
        match=(
            r"holds another sweep: its job does=train,seed=1 has other settings"
            r" \(trainer\.max_steps was 60 and is 7\)"
        ),
    ):
        sweep().run([job(seed=1, steps=7)])
    with pytest.raises(ValueError, match="holds another sweep, started with other options"):
        sweep().run([job(seed=5, steps=7)])
    assert starts(job(seed=1)) == 1


def test_other_dimensions_in_the_same_folder_are_another_sweep(job, sweep) -> None:
    sweep().run([job(seed=1)])
    other = sweep()
    other.dimensions = ["seed"]
    with pytest.raises(
        ValueError, match="holds another sweep, over does and seed and not over seed"
    ):
        other.run([job(seed=1)])


def test_a_value_given_twice_is_refused(job, sweep) -> None:
    with pytest.raises(
        ValueError, match=r"two jobs of this sweep would write into .*does=train,seed=1"
    ):
        sweep().run([job(seed=1), job(seed=1)])


def test_a_corrupt_summary_stops_the_sweep_before_its_first_job(job, sweep) -> None:
    one = job(seed=1)
    one.folder.mkdir(parents=True)
    (one.folder / "summary.json").write_text("{")
    with pytest.raises(
        ValueError,
        match=r"summary\.json: expected a JSON object .* delete the file, and the job runs again",
    ):
        sweep().run([one, job(seed=2)])
    assert starts(job(seed=2)) == 0


def test_a_job_that_leaves_a_damaged_summary_stops_no_other(job, sweep) -> None:
    torn, done = sweep().run([job(seed=1, does="tear"), job(seed=4)])
    assert torn.failure is not None
    assert "summary.json: expected a JSON object" in torn.failure
    assert "delete the file, and the job runs again" in torn.failure
    assert done.score == 0.5


def test_a_page_that_cannot_be_drawn_stops_nothing_and_is_said(
    job, sweep, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(folder: Path) -> None:
        raise OSError("no space left on device")

    made = sweep()
    made.write_report = broken
    assert made.run([job(seed=1)])[0].score == 0.125
    assert "no report yet: no space left on device" in caplog.text


@pytest.mark.process
def test_a_job_that_a_killed_sweep_left_running_is_waited_for_and_not_started_again(
    job, sweep, script: Path
) -> None:
    one = job(seed=1)
    one.freeze()
    code = (
        "import time, sys, runpy; time.sleep(2); sys.argv = ['x', '--config-path',"
        f" {str(one.folder / '.hydra')!r}]; "
    )
    code += f"runpy.run_path({str(script)!r})"
    orphan = subprocess.Popen([sys.executable, "-c", code])
    write_mark(one.folder, orphan.pid, time.time())
    assert state_of(one.folder, one.hash) == "running"
    assert sweep().run([job(seed=2), one])[1].score == 0.125
    assert starts(one) == 1
    assert orphan.wait() == 0


def test_two_sweeps_at_once_in_one_folder_are_refused(job, sweep, tmp_path: Path) -> None:
    from g2rpo.sweep.launch import locked

    (tmp_path / "sweep").mkdir()
    with (
        locked(tmp_path / "sweep"),
        pytest.raises(
            ValueError, match="another process runs a sweep in this folder at this moment"
        ),
    ):
        sweep().run([job(seed=1)])


def test_jobs_side_by_side_see_the_gpus_of_their_seat(job, sweep) -> None:
    jobs = [job(seed=seed) for seed in range(6)]
    outcomes = sweep(runner=Local(jobs_at_once=2, gpus=["0,1", "2,3"])).run(jobs)
    assert [outcome.score for outcome in outcomes] == [seed / 8 for seed in range(6)]
    seen = [
        json.loads((one.folder / "starts.txt").read_text())[1]["CUDA_VISIBLE_DEVICES"]
        for one in jobs
    ]
    assert set(seen) == {"0,1", "2,3"}


@pytest.mark.process
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, None)])
def test_a_sweep_that_is_ended_ends_its_job(
    number: int, code: int | None, script: Path, tmp_path: Path
) -> None:
    # A shell that starts the tests in the background ignores SIGINT, which children inherit.
    program = f"""
        import signal
        from pathlib import Path
        from omegaconf import OmegaConf
        from hydra_plugins.g2rpo_launcher import _terminable
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from g2rpo.sweep.job import Job
        from g2rpo.sweep.launch import Sweep
        from g2rpo.sweep.job_runner import Local
        cfg = OmegaConf.create({{"does": "sleep", "seed": 1}})
        folder = Path({str(tmp_path / "ended" / "a")!r})
        values = {{"seed": "1"}}
        job = Job(name="a", folder=folder, values=values, overrides=[], cfg=cfg, hydra=cfg)
        with _terminable():
            Sweep(
                folder=job.folder.parent, script={str(script)!r}, command="",
                dimensions=["seed"], runner=Local(), write_report=print, total=1,
            ).run([job])
    """
    running = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    folder = tmp_path / "ended" / "a"
    for _ in range(1200):
        if (folder / "starts.txt").exists():
            break
        time.sleep(0.05)
    running.send_signal(number)
    ended = running.wait(timeout=60)
    assert ended == code if code is not None else ended != 0
    mark = read_mark(folder)
    assert mark is not None
    with pytest.raises(ProcessLookupError):
        os.kill(mark["pid"], 0)


@pytest.mark.process
def test_a_job_without_summary_that_ends_well_has_no_score(
    job, sweep: Callable[..., Sweep], script: Path
) -> None:
    script.write_text("")
    (outcome,) = sweep().run([job(seed=1)])
    assert outcome.failure is None
    assert math.isnan(outcome.score)
