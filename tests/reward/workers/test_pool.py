"""Rewards in processes that hang, die, refuse and lie. What they do is written in the
completion.
"""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from default_signals import hear_all

from g2rpo.records import Failed, Prompt
from g2rpo.reward.functions import FunctionsReward
from g2rpo.reward.openvlthinker import OpenVLThinkerReward
from g2rpo.reward.workers.inline import score_each
from g2rpo.reward.workers.pool import PooledReward, RewardPool

pytestmark = pytest.mark.process

PLUG_IN = '''
import os, pickle, signal, struct, sys, threading, time
from pathlib import Path


class Doing:
    """Pays a number over 7 and over the length of the prompt, and obeys words; logs each call."""

    def __init__(self, *, diary):
        self.diary = diary

    def score(self, completion, prompt):
        with Path(self.diary).open("a") as file:
            file.write(f"{completion} {os.getpid()}\\n")
        if completion == "raise":
            raise ZeroDivisionError("no verdict")
        if completion == "hang":
            while True:
                pass
        if completion == "nap":
            time.sleep(0.4)
        if completion == "sleep":
            time.sleep(60)
        if completion == "exit":
            os._exit(3)
        if completion == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if completion == "leave":
            raise SystemExit(5)
        if completion == "nan":
            return {"accuracy": float("nan"), "format": 0.0, "structure": 0.0, "total": 0.0}
        if completion.startswith("pickle "):
            self.send_up(pickle.dumps(Crafted(completion.split()[1])))
        if completion == "noise":
            self.send_up(b"[" * 5000)
        if completion == "strange":
            self.send_up(b'[[{"accuracy": null}], []]')
        if completion == "images":
            assert prompt.images == ["a.png"], prompt.images
        accuracy = len(prompt.text) + (int(completion) / 7 if completion.isdigit() else 0.0)
        return {"accuracy": accuracy, "format": 1.0, "structure": 0.0, "total": accuracy}


    def send_up(self, data):
        """Write a verdict of its own to the trainer."""
        os.write(int(sys.argv[2]), struct.pack("!I", len(data)) + data)


class Crafted:
    """Creates a file when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


class Locked(Doing):
    def __init__(self):
        self.lock = threading.Lock()


class Unbuildable(Locked):
    def __setstate__(self, state):
        raise LookupError("no model server")

    def __getstate__(self):
        return {"a": 1}


class Mixed(Doing):
    """Takes the prompts of the chart task in a batch."""

    def in_batch(self, prompt):
        return prompt.task == "chart"

    def score_all(self, completions, prompts):
        from g2rpo.records import Failed

        row = dict.fromkeys(("accuracy", "format", "structure", "total"), float(len(completions)))
        row["pid"] = os.getpid()
        return [Failed(reason="no reply") if text == "raise" else dict(row) for text in completions]
'''


@pytest.fixture(scope="module", autouse=True)
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("plug_in")
    (folder / "doings.py").write_text(PLUG_IN)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def diary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("diary") / "calls"


@pytest.fixture(scope="module")
def _shared(diary: Path) -> Iterator[PooledReward]:
    from doings import Mixed

    with RewardPool(workers=2, timeout_s=1.0, failure_budget=1.0).start(
        Mixed(diary=str(diary))
    ) as reward:
        yield reward


@pytest.fixture
def pooled(_shared: PooledReward, diary: Path) -> PooledReward:
    """Two workers, shared by the tests; the diary is empty."""
    diary.write_text("")
    return _shared


def prompt(text: str = "?", task: str = "math", **others: Any) -> Prompt:
    return Prompt(
        **{
            "id": f"p/{text}",
            "task": task,
            "text": text,
            "images": (),
            "answer": "1",
            "answer_type": "numerical",
        }
        | others
    )


def calls(diary: Path) -> list[str]:
    return [line.split()[0] for line in diary.read_text().splitlines()]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_results_are_those_of_the_trainers_own_process_to_the_bit_and_in_order(
    pooled: PooledReward,
) -> None:
    texts, prompts = [str(k) for k in range(500)], [prompt("?" * (1 + k // 8)) for k in range(500)]
    inline = score_each(pooled.reward, texts, prompts)
    outcomes = pooled.score_all(texts, prompts)
    assert [pickle.dumps(row) for row in outcomes] == [pickle.dumps(row) for row in inline]
    assert outcomes[101]["accuracy"] == 13 + 101 / 7


def test_three_workers_judge_like_none() -> None:
    texts = [
        "<thinking>a</thinking><answer>$x^2$</answer>",
        "<answer>7</answer>",
        "7.004",
        "B",
        "",
    ] * 6
    prompts = [
        prompt(answer_type="math", answer="$x*x$"),
        *(prompt(answer="7") for _ in range(4)),
    ] * 6
    expected = score_each(OpenVLThinkerReward(), texts, prompts)
    assert len({row["total"] for row in expected}) > 2
    with RewardPool(workers=3).start(OpenVLThinkerReward()) as reward:
        assert reward.score_all(texts, prompts) == expected


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("raise", "ZeroDivisionError: no verdict"),
        ("nan", "ValueError: reward returned accuracy=nan, expected a finite number"),
        ("hang", "TimeoutError: not judged within reward_workers.timeout_s=1 seconds"),
        ("sleep", "TimeoutError: not judged within reward_workers.timeout_s=1 seconds"),
        ("exit", "WorkerDied: the process that judged it ended, exit code 3"),
        ("crash", "WorkerDied: the process that judged it ended, signal SIGSEGV"),
        ("leave", "WorkerDied: the process that judged it ended, exit code 5"),
    ],
)
def test_a_failure_is_its_completions_own_and_nothing_is_judged_twice(
    order: str, reason: str, pooled: PooledReward, diary: Path
) -> None:
    texts = [str(k) for k in range(40)]
    texts[11] = texts[30] = order
    outcomes = pooled.score_all(texts, [prompt()] * 40)
    assert [row for row, outcome in enumerate(outcomes) if isinstance(outcome, Failed)] == [11, 30]
    assert outcomes[11] == Failed(reason=reason)
    assert all(outcomes[k]["accuracy"] == 1 + k / 7 for k in range(40) if k not in (11, 30))
    assert sorted(calls(diary)) == sorted(texts)


def test_more_deaths_than_the_budget_end_the_batch_early(diary: Path) -> None:
    from doings import Doing

    diary.write_text("")
    with RewardPool(workers=1, timeout_s=0.3, failure_budget=0.05).start(
        Doing(diary=str(diary))
    ) as reward:
        outcomes = reward.score_all(["1", "hang", "hang", *["hang"] * 37], [prompt()] * 40)
        assert calls(diary) == ["1", "hang", "hang", "hang"]  # two of forty were allowed
        assert outcomes[3] == Failed(
            reason="TimeoutError: not judged within reward_workers.timeout_s=0.3 seconds"
        )
        assert outcomes[39].reason.startswith(
            "not judged, because too many others ended their worker, first prompt 'p/?':"
            " TimeoutError"
        )
        assert reward.score_all(["2"], [prompt()])[0]["accuracy"] == 1 + 2 / 7
    pids = {int(line.split()[1]) for line in diary.read_text().splitlines()}
    assert len(pids) == 4
    for pid in pids:
        with pytest.raises(ProcessLookupError):  # reaped: not even a zombie is left
            os.kill(pid, 0)


def test_time_is_counted_for_each_completion_and_not_for_a_batch(pooled: PooledReward) -> None:
    outcomes = pooled.score_all(
        ["nap"] * 6, [prompt()] * 6
    )  # chunks of four take longer than timeout_s
    assert not any(isinstance(outcome, Failed) for outcome in outcomes)


def test_a_process_that_judges_by_the_rules_does_without_torch() -> None:
    code = (
        "import sys, g2rpo.reward.workers.worker, g2rpo.reward.openvlthinker, g2rpo.reward.judge,"
        " g2rpo.reward.functions;"
        " print('torch' in sys.modules)"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
        ).stdout
        == "False\n"
    )


def test_pictures_stay_and_paths_travel(pooled: PooledReward) -> None:
    (outcome,) = pooled.score_all(["images"], [prompt(images=(object(), "a.png"))])
    assert not isinstance(outcome, Failed)


def test_a_prompt_that_cannot_be_sent_is_a_failure_of_its_completions(pooled: PooledReward) -> None:
    first, second = pooled.score_all(["1", "2"], [prompt(meta={"look": lambda: 1}), prompt()])
    assert first.reason == (
        "TypeError: the prompt cannot be sent to a worker process: meta['look'] is a function; keep"
        " in it only what JSON has"
    )
    assert second["accuracy"] == 1 + 2 / 7


def test_a_worker_that_died_between_two_batches_is_replaced(
    pooled: PooledReward, diary: Path
) -> None:
    pooled.score_all([str(k) for k in range(100)], [prompt()] * 100)
    for line in diary.read_text().splitlines():
        if not gone(pid := int(line.split()[1])):
            os.kill(pid, signal.SIGKILL)
    assert within(
        5, lambda: all(gone(int(line.split()[1])) for line in diary.read_text().splitlines())
    )
    assert pooled.score_all(["3"], [prompt()]) == [
        {"accuracy": 1 + 3 / 7, "format": 1.0, "structure": 0.0, "total": 1 + 3 / 7}
    ]


def test_what_a_reward_judges_in_a_batch_stays_here_and_the_rest_goes_to_workers(
    pooled: PooledReward, diary: Path
) -> None:
    tasks = ["chart", "math", "chart", "chart"]
    outcomes = pooled.score_all(["1", "2", "raise", "3"], [prompt(task=task) for task in tasks])
    assert outcomes[0] == {
        "accuracy": 3.0,
        "format": 3.0,
        "structure": 3.0,
        "total": 3.0,
        "pid": os.getpid(),
    }
    assert outcomes[1]["accuracy"] == 1 + 2 / 7
    assert outcomes[2] == Failed(reason="no reply")
    assert outcomes[3] == outcomes[0]
    assert int(diary.read_text().split()[1]) != os.getpid()


def test_a_reward_that_cannot_be_sent_is_refused_at_the_start() -> None:
    from doings import Locked

    with pytest.raises(
        ValueError,
        match=(
            r"reward: Locked cannot be sent to a worker process"
            r" \(TypeError.*lock.*reward_workers=inline"
        ),
    ):
        RewardPool().start(Locked())


def test_a_reward_that_cannot_be_built_there_stops_the_run_with_its_error() -> None:
    from doings import Unbuildable

    with (
        RewardPool(workers=1).start(Unbuildable()) as reward,
        pytest.raises(
            RuntimeError,
            match="reward: a worker process could not build it: LookupError: no model server",
        ),
    ):
        reward.score_all(["1"], [prompt()])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"workers": 0}, "reward_workers.workers: .* got 0"),
        ({"timeout_s": 0}, "reward_workers.timeout_s: "),
        ({"memory_gib": 0.1}, "reward_workers.memory_gib: .* got 0.1"),
        ({"memory_gib": float("nan")}, "reward_workers.memory_gib: "),
    ],
)
def test_sizes_that_make_no_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RewardPool(**wrong)


@pytest.mark.parametrize(
    "ending", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_workers_end_with_a_trainer_that_is_killed_or_interrupted_even_within_a_completion(
    ending: signal.Signals, plug_in: Path, tmp_path: Path
) -> None:
    script = """
        from doings import Doing
        from g2rpo.reward.workers.pool import RewardPool
        from g2rpo.records import Prompt

        prompt = Prompt(
            id="p", task="math", text="?", images=(), answer="1", answer_type="numerical"
        )
        with RewardPool(workers=2, timeout_s=60.0).start(Doing(diary="diary")) as reward:
            reward.score_all(["hang", *"1234567"], [prompt] * 8)
    """
    (tmp_path / "unguarded.py").write_text(textwrap.dedent(script))
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(plug_in), *filter(None, sys.path)])}
    trainer = subprocess.Popen(
        [sys.executable, "unguarded.py"],
        cwd=tmp_path,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_all,
    )
    diary = tmp_path / "diary"
    assert within(60, lambda: diary.exists() and "hang" in diary.read_text()), trainer.communicate(
        timeout=1
    )
    time.sleep(0.2)
    pids = {int(line.split()[1]) for line in diary.read_text().splitlines()}
    trainer.send_signal(ending)
    begin = time.monotonic()
    _, errors = trainer.communicate(timeout=10)
    assert time.monotonic() - begin < 5
    assert within(5, lambda: all(map(gone, pids)))
    assert errors.count("Traceback") == (ending == signal.SIGINT)


def test_what_a_worker_sends_is_not_unpickled_and_ends_it_if_it_is_no_verdict(
    pooled: PooledReward, tmp_path: Path
) -> None:
    for completion in (f"pickle {tmp_path / 'trace'}", "noise", "strange"):
        bad, good = pooled.score_all([completion, "7"], [prompt(), prompt()])
        assert isinstance(bad, Failed)
        assert good == {"accuracy": 2.0, "format": 1.0, "structure": 0.0, "total": 2.0}
    assert not (tmp_path / "trace").exists()


GROUPS = """
import os, time
from pathlib import Path


def grouped(completions, prompts, diary, **kwargs):
    with Path(diary[0]).open("a") as file:
        file.write(f"{'+'.join(completions)} {os.getpid()}\\n")
    if "hang" in completions:
        time.sleep(60)
    if "exit" in completions:
        os._exit(3)
    if "nap" in completions:
        time.sleep(0.7)
    return [float("nan") if c == "nan" else len(prompts[0]) + len(c) / 7 for c in completions]
"""


def test_a_group_is_judged_by_one_call_in_a_worker(diary: Path, tmp_path: Path) -> None:
    diary.write_text("")
    (tmp_path / "groups.py").write_text(GROUPS)
    reward = FunctionsReward(functions=[f"{tmp_path / 'groups.py'}:grouped"])
    orders = {3: "hang", 7: "exit", 11: "nan", 13: "nap"}
    groups = [[orders.get(group, "a"), "b" * group, "c"] for group in range(20)]
    asked = [prompt("?" * group, columns={"diary": str(diary)}) for group in range(20)]
    texts = [text for group in groups for text in group]
    with RewardPool(workers=2, timeout_s=0.3, failure_budget=1.0).start(reward) as pooled:
        outcomes = pooled.score_all(texts, [own for own in asked for _ in range(3)])
    failed = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, Failed)]
    assert failed == [9, 10, 11, 21, 22, 23, 33]  # two groups, and the one completion with NaN
    assert outcomes[9] == Failed(
        reason="TimeoutError: not judged within reward_workers.timeout_s=0.3 seconds"
    )
    assert outcomes[21].reason == "WorkerDied: the process that judged it ended, exit code 3"
    assert outcomes[58] == {
        "grouped": 19 + 19 / 7,
        "log/accuracy": 19 + 19 / 7,
        "total": 19 + 19 / 7,
    }
    assert sorted(calls(diary)) == sorted("+".join(group) for group in groups)
    assert str(os.getpid()) not in diary.read_text()


def test_without_workers_a_group_is_judged_by_one_call_too(diary: Path, tmp_path: Path) -> None:
    diary.write_text("")
    (tmp_path / "groups.py").write_text(GROUPS)
    reward = FunctionsReward(functions=[f"{tmp_path / 'groups.py'}:grouped"])
    asked = [prompt("?" * group, columns={"diary": str(diary)}) for group in (1, 2)]
    outcomes = score_each(reward, ["a", "bb", "ccc"], [asked[0], asked[0], asked[1]])
    assert [outcome["total"] for outcome in outcomes] == [1 + 1 / 7, 1 + 2 / 7, 2 + 3 / 7]
    assert calls(diary) == ["a+bb", "ccc"]
