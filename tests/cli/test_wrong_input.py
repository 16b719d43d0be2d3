"""Every wrong input is answered in one clear sentence that names the key or the record."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.runs import NO_HELDOUT, script

from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.policy.checkpoint import Checkpoint


def complaint(
    train: Callable[..., Path], caplog: pytest.LogCaptureFixture, tmp_path: Path, *options: str
) -> str:
    """What a run with these options says before it ends with exit code 1."""
    with pytest.raises(SystemExit) as stopped:
        train(*options)
    assert stopped.value.code == 1
    assert not (tmp_path / "run" / "summary.json").exists()
    assert "Traceback" in (tmp_path / "run" / "error.txt").read_text()
    message, traceback_line = caplog.records[-1].getMessage().rsplit("\n", 1)
    assert traceback_line == f"(traceback: {tmp_path / 'run' / 'error.txt'})"
    assert "Traceback" not in message
    return message


WRONG = {
    "temperature": (
        ["rollout.temperature=-1"],
        "rollout.temperature: expected 0 (greedy) or more, got -1",
    ),
    "entropy band": (
        ["shaping=entropy_released", "shaping.entropy.low=0.9"],
        "shaping.entropy: expected 0 <= low < high (nats per token), got low=0.9, high=0.6",
    ),
    "KL that nobody reads": (
        ["advantage=gdpo", "loss.kl_coef=0.1", "loss.kl_placement=reward"],
        (
            "loss.kl_placement=reward: this advantage ranks the parts of the reward and never looks"
            " at their sum"
        ),
    ),
    "group size": (
        ["batch.group_size=1"],
        "batch.group_size=1: G2RPO compares completions of one prompt, so it needs at least 2",
    ),
    "empty mixture": (
        [f"task_mix.weights.{task}=0" for task in (*TASKS, "default")],
        "task_mix.weights: expected at least one positive weight",
    ),
    "unknown task": (
        ["task_mix=math", "+task_mix.weights.maths=1.0"],
        "task_mix: the data source has no training prompt for 'maths'",
    ),
    "missing folder": (
        ["model.path=/no/such/folder"],
        "model.path: expected a folder with config.json or a Hub id",
    ),
    "no folder named": (
        ["model.path=???"],
        "model.path: this key has no default; add model.path=...",
    ),
    "no steps": (["trainer.max_steps=0"], "trainer.max_steps: expected at least 1"),
    "no workers": (
        ["reward_workers.workers=0"],
        (
            "reward_workers.workers: expected at least 1 process, got 0; reward_workers=inline uses"
            " none"
        ),
    ),
    "wrong type": (
        ["batch.group_size=many"],
        "batch.group_size: expected a whole number, got 'many'",
    ),
    "argument that does not exist": (["+filter.lwo=0.1"], "filter: "),
    "class that does not exist": (["reward._target_=nowhere.Reward"], "reward: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_answered_with_its_key_before_weights_are_loaded(
    name: str,
    train: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Checkpoint, "policy", lambda self: pytest.fail("the weights were loaded"))
    options, words = WRONG[name]
    message = complaint(train, caplog, tmp_path, *options)
    assert message.startswith(words)
    assert "full_key" not in message


def test_a_folder_without_checkpoint_cannot_be_resumed(
    train: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Checkpoint, "policy", lambda self: pytest.fail("the weights were loaded"))
    (tmp_path / "run").mkdir()
    message = complaint(train, caplog, tmp_path, f"resume={tmp_path / 'run'}")
    assert message.startswith("resume: expected a run folder with checkpoints/last.ckpt, got ")


@pytest.mark.process
@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["shaping=entropy_bounded", "shaping.entropy.hgih=1"], ["hgih", "shaping.entropy"]),
        (["advantage=g3rpo"], ["advantage/g3rpo", "dr_grpo", "ema_grpo", "rloo"]),
    ],
)
def test_what_hydra_refuses_is_said_with_key_or_choices(
    option: list[str], words: list[str], tmp_path: Path
) -> None:
    done = script("train.py", *option, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode != 0
    assert [word for word in words if word not in done.stderr] == []
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("kind", ["no picture", "cut short"])
def test_a_picture_that_cannot_be_read_is_named_with_its_prompt(
    kind: str, train: Callable[..., Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    GymSource().get("chart", 0, "train").images[0].save(tmp_path / "chart.png")
    whole = (tmp_path / "chart.png").read_bytes()
    (tmp_path / "chart.png").write_bytes(
        whole[: len(whole) // 2] if kind == "cut short" else b"this is no picture"
    )
    message = complaint(
        train,
        caplog,
        tmp_path,
        NO_HELDOUT,
        "~data",
        f"+data={{_target_: misbehaving.Broken, file: {tmp_path / 'chart.png'}}}",
    )
    assert message.startswith(f"prompt 'gym/train/chart/0': image {tmp_path / 'chart.png'}: ")
    assert message.endswith(". Mend or drop the record.")


@pytest.mark.parametrize("heldout_prompts", [0, 2])
def test_a_reward_that_fails_everywhere_is_shown_with_the_first_record(
    heldout_prompts: int,
    train: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    message = complaint(
        train,
        caplog,
        tmp_path,
        f"heldout.prompts_per_task={heldout_prompts}",
        "~reward",
        "+reward={_target_: strange_rewards.Refusing}",
    )
    assert message.startswith("reward: ")
    assert "completions could not be judged" in message
    assert "ZeroDivisionError: no verdict" in message
    assert "prompt 'gym/" in message


def test_a_loss_that_is_no_number_is_named_with_its_step_and_tasks(
    train: Callable[..., Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    message = complaint(
        train,
        caplog,
        tmp_path,
        NO_HELDOUT,
        "loss._target_=misbehaving.NoNumber",
        "gradient_conflict=none",
    )
    assert re.match(
        r"step 1: loss became nan \(prompts chart 'gym/train/chart/\d+', .+ and \d more\); the"
        " weights before it are in ",
        message,
    )
    assert (tmp_path / "run" / "checkpoints" / "last_finite.ckpt").is_file()
