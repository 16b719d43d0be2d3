"""Held-out scores, from an engine whose completions are written down and a reward that counts
letters.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import IdEncoder, Shelf
from PIL import Image

from g2rpo.interfaces import Encoder
from g2rpo.records import Prompt, PromptBatch, Rollouts, Sampling
from g2rpo.training.heldout import HeldoutEvaluation, HeldoutResult, write_jsonl

RED = Image.new("RGB", (4, 2), (255, 0, 0))


def red(**sizes: int | None) -> Shelf:
    return Shelf(images=(RED,), **sizes)


class Quoting:
    """Completion `k` of a prompt is its id, `k` and the temperature; it is `k + 1` tokens long."""

    sampling = Sampling(group_size=1, max_new_tokens=8, temperature=0.7, top_p=0.5)

    def __init__(self) -> None:
        self.asked: list[tuple[int, float, float, int]] = []
        self.positions: list[list[int]] = []

    def start(self, policy: Any, encoder: Encoder) -> None: ...

    def load_weights(self, policy: Any, step: int) -> None: ...

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        self.asked.append((sampling.group_size, sampling.temperature, sampling.top_p, seed))
        self.positions.append(batch.position.tolist())
        size = sampling.group_size
        mask = (torch.arange(size) <= torch.arange(size)[:, None]).repeat(len(batch.prompts), 1)
        return Rollouts(
            completion_ids=mask.long(),
            completion_mask=mask,
            old_logprobs=torch.zeros(mask.shape),
            prompt=torch.arange(len(batch.prompts)).repeat_interleave(size),
            finished=torch.ones(len(mask), dtype=torch.bool),
            texts=tuple(
                f"{prompt.id} {k} {sampling.temperature:g}"
                for prompt in batch.prompts
                for k in range(size)
            ),
        )


class Judge:
    """Math: the first sample of prompt 0 is right, and all greedy answers; chart: samples 0 and 1;
    other tasks: nothing.
    """

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        name, k, temperature = completion.split()
        index = int(name.rpartition("/")[2])
        right = (
            (temperature == "0" or (index == 0 and k == "0"))
            if prompt.task == "math"
            else prompt.task == "chart" and int(k) < 2
        )
        return {"accuracy": float(right), "format": 0.5, "structure": 0.0, "total": 7.0}


def run(
    evaluation: HeldoutEvaluation,
    engine: Any,
    judge: Any,
    source: Any,
    folder: Path,
    name: str = "before",
) -> HeldoutResult:
    """Every batch, as one process asks it."""
    found = []
    for batch in evaluation.batches(source):
        found += evaluation.score(engine, IdEncoder(), judge, batch)
    evaluation.write(folder, name, found, evaluation.prompts(source))
    return evaluation.result(found)


def evaluated(
    folder: Path, source: Any, **options: Any
) -> tuple[HeldoutResult, Quoting, list[int]]:
    evaluation = HeldoutEvaluation(
        **({"prompts_per_task": 3, "samples": 4, "batch_prompts": 2, "seed": 10} | options)
    )
    engine = Quoting()
    result = run(evaluation, engine, Judge(), source, folder)
    return result, engine, [len(batch.prompts) for batch in evaluation.batches(source)]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "before.jsonl").read_text().split("\n") if line]


def test_prompts_are_the_first_of_each_task_that_has_any_tasks_in_turn() -> None:
    prompts = HeldoutEvaluation(prompts_per_task=3).prompts(red(math=2, chart=None))
    assert [prompt.id for prompt in prompts] == [
        f"heldout/{name}" for name in ("math/0", "chart/0", "math/1", "chart/1", "chart/2")
    ]
    assert HeldoutEvaluation(prompts_per_task=0).prompts(red(chart=None)) == []


def test_without_prompts_there_is_one_empty_batch_so_that_benchmarks_are_asked_all_the_same() -> (
    None
):
    (batch,) = HeldoutEvaluation(prompts_per_task=0).batches(red(chart=None))
    assert (batch.places, batch.prompts) == ([], [])


def test_a_task_scores_the_mean_of_its_samples_and_macro_the_mean_of_tasks(tmp_path: Path) -> None:
    result, _, _ = evaluated(tmp_path, red(math=2, chart=None, document=1))
    # math: 1 of 2 x 4 samples; chart: 2 of 4 in each of three prompts; document: none
    assert result.sampled == pytest.approx(
        {"macro": (0.125 + 0.5 + 0.0) / 3, "math": 0.125, "chart": 0.5, "document": 0.0}
    )
    assert result.greedy == pytest.approx(
        {"macro": 2 / 3, "math": 1.0, "chart": 1.0, "document": 0.0}
    )


def test_a_row_holds_the_prompt_its_samples_and_the_greedy_completion(tmp_path: Path) -> None:
    evaluated(tmp_path, red(math=2, chart=None))
    found = rows(tmp_path)
    assert [row["prompt_id"].removeprefix("heldout/") for row in found] == [
        "math/0",
        "chart/0",
        "math/1",
        "chart/1",
        "chart/2",
    ]
    assert {key: found[2][key] for key in ("task", "prompt", "answer", "answer_type")} == {
        "task": "math",
        "prompt": "1?",
        "answer": "1",
        "answer_type": "numerical",
    }
    expected = {
        "completion": "heldout/chart/1 2 1",
        "accuracy": 0.0,
        "format": 0.5,
        "completion_tokens": 3,
        "finished": True,
    }
    assert found[3]["samples"][2] == expected
    greedy = {
        "completion": "heldout/chart/1 0 0",
        "accuracy": 1.0,
        "format": 0.5,
        "completion_tokens": 1,
    }
    assert found[3]["greedy"] == greedy | {"finished": True}
    assert [len(row["samples"]) for row in found] == [4] * 5


def test_sampling_is_that_of_the_evaluation_and_its_seed_the_same_at_every_call(
    tmp_path: Path,
) -> None:
    _, engine, heard = evaluated(tmp_path, red(math=2, chart=None))
    # temperature and top_p of training do not count; positions tell the prompts apart
    assert engine.asked == [(4, 1.0, 1.0, 10), (1, 0.0, 1.0, 10)] * 3
    assert [place for batch in engine.positions[::2] for place in batch] == [0, 1, 2, 3, 4]
    assert evaluated(tmp_path, red(math=2, chart=None))[1].asked == engine.asked
    assert heard == [2, 2, 1]


def test_pictures_of_the_worst_and_the_best_prompts_are_kept_under_their_ids(
    tmp_path: Path,
) -> None:
    # math prompt 0 scores 0.25 and all others 0; chart prompts score 0.5 each, so the first of them
    # counts as best and worst
    evaluated(tmp_path, red(math=None, chart=None), images_per_task=2)
    names = {path.name for path in (tmp_path / "images").iterdir()}
    assert names == {
        f"heldout-{prompt}-0.png" for prompt in ("math-0", "math-1", "chart-0", "chart-1")
    }
    with Image.open(tmp_path / "images" / "heldout-chart-1-0.png") as image:
        assert (image.size, image.convert("RGB").getpixel((3, 1))) == ((4, 2), (255, 0, 0))


def test_pictures_of_prompts_that_changed_most_are_kept_after_training(tmp_path: Path) -> None:
    before = [
        {
            "prompt_id": f"heldout/math/{i}",
            "task": "math",
            "samples": [{"accuracy": score}],
            "greedy": {"accuracy": 0.0},
        }
        for i, score in enumerate([0.25, 0.0, 0.0, 0.0, 0.75])
    ]
    (tmp_path / "before.jsonl").write_text("".join(json.dumps(row) + "\n" for row in before))
    evaluation = HeldoutEvaluation(prompts_per_task=5, images_per_task=3)
    run(evaluation, Quoting(), Judge(), red(math=None), tmp_path, "after")
    # worst: the first with 0; best: number 0 with 0.25; the largest loss is number 4, from 0.75 to
    # 0
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        f"heldout-math-{i}-0.png" for i in (0, 1, 4)
    }


def test_scores_are_read_back_from_the_rows(tmp_path: Path) -> None:
    result, _, _ = evaluated(tmp_path, red(math=2, chart=None))
    assert HeldoutEvaluation().read(tmp_path / "before.jsonl") == result


def test_a_completion_may_hold_any_line_separator(tmp_path: Path) -> None:
    judged = {"completion": "a\u2028b\x85c", "accuracy": 1.0, "format": 1.0, "completion_tokens": 2}
    write_jsonl(
        tmp_path / "before.jsonl",
        [{"task": "math", "samples": [judged, judged | {"accuracy": 0.0}], "greedy": judged}],
    )
    assert HeldoutEvaluation().read(tmp_path / "before.jsonl").sampled == {
        "macro": 0.5,
        "math": 0.5,
    }


def test_a_reward_that_fails_stops_the_evaluation_unless_some_may_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Strict(Judge):
        def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
            if prompt.id == "heldout/chart/1":
                raise KeyError("gold")
            return super().score(completion, prompt)

    evaluation = HeldoutEvaluation(prompts_per_task=3, samples=4, batch_prompts=2)
    with pytest.raises(
        RuntimeError, match=r"reward: 4 of 8 completions could not be judged.*'heldout/chart/1'"
    ):
        run(evaluation, Quoting(), Strict(), red(math=2, chart=None), tmp_path)
    assert not (tmp_path / "before.jsonl").exists()
    forgiving = HeldoutEvaluation(
        prompts_per_task=3, samples=4, batch_prompts=2, failure_budget=0.5
    )
    with caplog.at_level("WARNING"):
        run(forgiving, Quoting(), Strict(), red(math=2, chart=None), tmp_path)
    assert "4 of 8 completions could not be judged and count 0" in caplog.text
    failed = [
        row["prompt_id"]
        for row in rows(tmp_path)
        if all(sample.get("failed") for sample in row["samples"])
    ]
    assert failed == ["heldout/chart/1"]
    assert [
        sample["accuracy"]
        for row in rows(tmp_path)
        if row["prompt_id"] in failed
        for sample in row["samples"]
    ] == [0.0] * 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"prompts_per_task": -1},
            r"heldout\.prompts_per_task: expected 0 \(no evaluation\) or more, got -1",
        ),
        ({"samples": 0}, r"heldout\.samples: expected at least 1, got 0"),
        ({"batch_prompts": 0}, r"heldout\.batch_prompts: expected at least 1, got 0"),
    ],
)
def test_sizes_that_make_no_sense_are_refused_with_their_key(
    wrong: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        HeldoutEvaluation(**wrong)
