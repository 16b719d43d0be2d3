"""Mutants of `src/g2rpo/sweep/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "sweep: the page of a long sweep takes its time after every job",
        "sweep/launch.py",
        "due = time.monotonic() + PAGE_REST",
        "due = 0.0 * PAGE_REST",
        "sweep/test_launch.py",
    ),
    Mutant(
        "sweep: a summary of other settings counts",
        "sweep/job.py",
        'if summary is not None and summary["config_hash"] == wanted:',
        "if summary is not None:",
        "sweep/test_job.py",
    ),
    Mutant(
        "sweep: a dead process runs",
        "sweep/job.py",
        "    except ProcessLookupError:\n        return False",
        "    except ProcessLookupError:\n        return True",
        "sweep/test_job.py",
    ),
    Mutant(
        "sweep: any process of that number is the job's",
        "sweep/job.py",
        "return str(folder.resolve()) in words",
        "return True",
        "sweep/test_job.py",
    ),
    Mutant(
        "sweep: silence of another machine",
        "sweep/job.py",
        "st_mtime < SILENCE_S",
        "st_mtime < 1e9",
        "sweep/test_job.py",
    ),
    Mutant(
        "sweep: a killed job has failed",
        "sweep/job.py",
        'mark["exit_code"] > 0 else "stopped"',
        'mark["exit_code"] != 0 else "stopped"',
        "sweep/test_job.py",
    ),
    Mutant(
        "sweep: jobs begin anew",
        "sweep/process.py",
        'return [*words, f"resume={quoted(self.folder)}"] if resumes else words',
        "return words",
        "sweep/test_process.py",
    ),
    Mutant(
        "sweep: a job is a rank of its sweep",
        "sweep/process.py",
        "dropped = set(RANK_VARIABLES) |",
        "dropped =",
        "sweep/test_process.py",
    ),
    Mutant(
        "sweep: jobs outlive it",
        "sweep/process.py",
        "                process.terminate()\n",
        "                pass\n",
        "sweep/test_launch.py::test_a_sweep_that_is_ended_ends_its_job",
    ),
    Mutant(
        "sweep: a seat is given back without its GPU",
        "sweep/job_runner.py",
        "            self.seats.put(seat)\n",
        "            self.seats.put({})\n",
        "sweep/test_launch.py::test_jobs_side_by_side_see_the_gpus_of_their_seat",
    ),
    Mutant(
        "sweep: all jobs see the first GPU",
        "sweep/job_runner.py",
        '"CUDA_VISIBLE_DEVICES": gpus[i]',
        '"CUDA_VISIBLE_DEVICES": gpus[0]',
        "sweep/test_launch.py::test_jobs_side_by_side_see_the_gpus_of_their_seat",
    ),
    Mutant(
        "sweep: jobs of one name",
        "sweep/sweep_plan.py",
        "if len(set(names)) < len(names):",
        "if False:",
        "sweep/test_launch.py::test_a_value_given_twice_is_refused",
    ),
    Mutant(
        "sweep: other settings under a name",
        "sweep/sweep_plan.py",
        "if known is not None and known.hash != job.hash:",
        "if False:",
        "sweep/test_launch.py::test_other_settings_in_the_same_folder_are_another_sweep_and_named",
    ),
    Mutant(
        "sweep: finished jobs run again",
        "sweep/launch.py",
        'if states[job.name] != "finished"]',
        "]",
        "sweep/test_launch.py::test_more_seeds_run_only_what_is_new",
    ),
)
