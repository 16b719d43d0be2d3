"""Two benchmarks, a row source and an engine that are small enough to work out every number by
hand.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import fakes
import pytest
import torch
from PIL import Image

from g2rpo.interfaces import Encoder
from g2rpo.records import Judgment, Prompt, PromptBatch, Rollouts, Sampling

RED = Image.new("RGB", (4, 2), (255, 0, 0))


class Sums:
    """The answer is a number; `half` counts one half, a text without a digit is not parsed. Rows
    with the same `block` count together.
    """

    task = "math"
    protocols = ("paper", "robust")

    def __init__(self, *, name: str = "sums") -> None:
        self.name = name

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        if record.get("answer") is None:
            raise ValueError("answer: missing")
        return {"images": (RED,), **record}

    def prompt(self, row: Mapping[str, Any], *, protocol: str = "paper") -> Prompt:
        return Prompt(
            id=f"{self.name}/{row['id']}",
            task=self.task,
            text=f"{row['question']}?",
            images=row["images"],
            answer=row["answer"],
            answer_type="numerical",
        )

    def judgment(
        self, completion: str, row: Mapping[str, Any], *, protocol: str = "paper", judge: Any = None
    ) -> Judgment:
        if "crash" in completion:
            raise KeyError("crash")
        if judge is not None:
            return Judgment(score=float(judge(completion) == "yes"), parsed=True, by="judge")
        read = completion.strip(" .") if protocol == "robust" else completion
        score = 0.5 if read == "half" else float(read == row["answer"])
        return Judgment(
            score=score, parsed=any(c.isdigit() for c in read) or read == "half", answer=read
        )

    def score(
        self, completion: str, row: Mapping[str, Any], *, protocol: str = "paper", judge: Any = None
    ) -> float:
        return self.judgment(completion, row, protocol=protocol, judge=judge).score

    def score_group(
        self,
        completions: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        protocol: str = "paper",
        judge: Any = None,
    ) -> float:
        return min(
            self.score(text, row, protocol=protocol, judge=judge)
            for text, row in zip(completions, rows, strict=True)
        )

    def group(self, row: Mapping[str, Any]) -> str:
        return str(row.get("block", row["id"]))

    def subscores(self, row: Mapping[str, Any]) -> Sequence[str]:
        return [f"category/{row['category']}"] if "category" in row else []


class Listed:
    """Records by benchmark."""

    def __init__(self, **records: Sequence[Mapping[str, Any]]) -> None:
        self.by_name = records

    def records(self, benchmark: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for number, record in enumerate(self.by_name[benchmark.name], 1):
            yield f"line {number}", dict(record)


class IdEncoder(fakes.IdEncoder):
    """Also fails for a prompt whose image is a text."""

    def encode(self, prompts: Sequence[Prompt]) -> PromptBatch:
        for prompt in prompts:
            for image in prompt.images:
                if isinstance(image, str):
                    raise ValueError(f"prompt {prompt.id!r}: image {image} cannot be read")
        return super().encode(prompts)


class Answering:
    """Answers by prompt text, three tokens each; remembers what it was asked, and dies before call
    `dies_at`, counted from 1.
    """

    sampling = Sampling(group_size=8, max_new_tokens=5, temperature=0.7)

    def __init__(self, answers: Mapping[str, str], dies_at: int | None = None) -> None:
        self.answers, self.dies_at = answers, dies_at
        self.asked: list[list[str]] = []
        self.samplings: list[Sampling] = []
        self.positions: list[list[int]] = []

    def start(self, policy: Any, encoder: Encoder) -> None: ...

    def load_weights(self, policy: Any, step: int) -> None: ...

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        if self.dies_at == len(self.asked) + 1:
            raise KeyboardInterrupt
        self.asked.append([prompt.id for prompt in batch.prompts])
        self.samplings.append(sampling)
        self.positions.append(batch.position.tolist())
        mask = torch.ones(len(batch.prompts), 3, dtype=torch.bool)
        texts = tuple(self.answers.get(prompt.text, "no idea") for prompt in batch.prompts)
        return Rollouts(
            completion_ids=mask.long(),
            completion_mask=mask,
            old_logprobs=torch.zeros(mask.shape),
            prompt=torch.arange(len(mask)),
            finished=torch.tensor([text != "cut" for text in texts]),
            texts=texts,
        )


@contextmanager
def silent(name: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda count: None


def record(id: int | str, answer: str | None = "1", **columns: Any) -> dict[str, Any]:
    return {"id": id, "question": f"q{id}", "answer": answer, **columns}


@pytest.fixture
def world() -> Any:
    """The names above, for tests to build from."""

    class World:
        pass

    found = World()
    for thing in (Sums, Listed, IdEncoder, Answering, silent, record):
        setattr(found, thing.__name__, thing)
    return found
