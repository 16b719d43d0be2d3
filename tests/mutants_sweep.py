"""Bugs in sweeps: which jobs are done, who still runs, and what a few seeds prove."""

from mutant import Mutant

PLAN, JOB, RUNNER, PROCESS, LAUNCH = (f"sweep/{name}.py" for name in ("plan", "job", "runner", "process", "launch"))
STATISTICS = "report/sweep/statistics.py"
T_JOB, T_PROCESS = "sweep/test_job.py", "sweep/test_process.py"
T_LAUNCH = "sweep/test_launch.py::test_"  # each starts processes: one test a bug
T_ENDED, T_SEATS, T_TWICE, T_OTHER, T_MORE = (
    f"{T_LAUNCH}{name}"
    for name in (
        "a_sweep_that_is_ended_ends_its_job",
        "jobs_side_by_side_see_the_gpus_of_their_seat",
        "a_value_given_twice_is_refused",
        "other_settings_in_the_same_folder_are_another_sweep_and_named",
        "more_seeds_run_only_what_is_new",
    )
)
T_STATISTICS = "report/sweep/test_statistics.py"

SWEEP_MUTANTS = (
    Mutant("sweep: a summary of other settings counts", JOB, 'if summary is not None and summary["config_hash"] == wanted:',
           "if summary is not None:", T_JOB),
    Mutant("sweep: a dead process runs", JOB, "    except ProcessLookupError:\n        return False",
           "    except ProcessLookupError:\n        return True",
           T_JOB),
    Mutant("sweep: any process of that number is the job's", JOB, "return str(folder.resolve()) in words", "return True", T_JOB),
    Mutant("sweep: silence of another machine", JOB, "st_mtime < SILENCE_S", "st_mtime < 1e9", T_JOB),
    Mutant("sweep: a killed job has failed", JOB, 'mark["exit_code"] > 0 else "stopped"', 'mark["exit_code"] != 0 else "stopped"', T_JOB),
    Mutant("sweep: jobs begin anew", PROCESS, 'return [*words, f"resume={quoted(self.folder)}"] if resumes else words', "return words",
           T_PROCESS),
    Mutant("sweep: a job is a rank of its sweep", PROCESS, "dropped = set(RANK_VARIABLES) |", "dropped =", T_PROCESS),
    Mutant("sweep: jobs outlive it", PROCESS, "                process.terminate()\n", "                pass\n", T_ENDED),
    Mutant("sweep: a seat is given back without its GPU", RUNNER, "            self.seats.put(seat)\n",
           "            self.seats.put({})\n", T_SEATS),
    Mutant("sweep: all jobs see the first GPU", RUNNER, '"CUDA_VISIBLE_DEVICES": gpus[i]', '"CUDA_VISIBLE_DEVICES": gpus[0]', T_SEATS),
    Mutant("sweep: jobs of one name", PLAN, "if len(set(names)) < len(names):", "if False:", T_TWICE),
    Mutant("sweep: other settings under a name", PLAN, "if known is not None and known.hash != job.hash:", "if False:", T_OTHER),
    Mutant("sweep: finished jobs run again", LAUNCH, 'if states[job.name] != "finished"]', "]", T_MORE),
    Mutant("sweep: seeds in any order are pairs", STATISTICS, "[own[seed] - other[seed] for seed in own if seed in other]",
           "[a - b for a, b in zip(own.values(), other.values())]", T_STATISTICS),
    Mutant("sweep: a spread of n", STATISTICS, "for value in finite) / (n - 1))", "for value in finite) / n)", T_STATISTICS),
    Mutant("sweep: one degree of freedom too many", STATISTICS, "student(of_pairs.n - 1)", "student(of_pairs.n)", T_STATISTICS),
    Mutant("sweep: an interval of single values", STATISTICS, "/ math.sqrt(of_pairs.n)", "", T_STATISTICS),
    Mutant("sweep: nan is a value", STATISTICS, "if math.isfinite(value)]", "]", T_STATISTICS),
    Mutant("sweep: normal beyond the table", STATISTICS, "return z + (z**3 + z) / (4 * freedom)",
           "return z + 0 * (z**3 + z) / (4 * freedom)", T_STATISTICS),
)  # fmt: skip
