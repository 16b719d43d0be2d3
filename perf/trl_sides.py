"""One side of the comparison with TRL, run as a process by `against_trl.py`.

It prints one JSON object per line to standard output: first its memory before training, then the
seconds of each step, last its peak memory. It waits for a line on standard input before each step.
Output of libraries goes to standard error.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LEARNING_RATE, MAX_GRAD_NORM, POOL = 1e-5, 1.0, 64
TEXT = 36
"""Minimum number of text tokens in a prompt: chat template and question."""


class Clock:
    """Measures steps between two calls of `stop`, which waits for the other side's turn."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def start(self) -> None:
        """Report the memory held before training, and wait for the first turn."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.before = self._held("VmRSS")
        self._say(before=self.before, torch=torch.__version__, transformers=version("transformers"))
        self._wait()

    def stop(self) -> None:
        """End a step, and begin the next one after a line is read."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self._say(wall=time.perf_counter() - self.wall, cpu=time.process_time() - self.cpu)
        self._wait()

    def end(self, **others: float) -> None:
        """Print the last answer."""
        self._say(peak=self._held("VmHWM"), **others)

    def _wait(self) -> None:
        if not sys.stdin.readline():
            raise SystemExit("nobody waits for the next step any more")
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def _say(self, **numbers: Any) -> None:
        self.answers.write(json.dumps(numbers) + "\n")

    def _held(self, field: str) -> float:
        """Return MiB of GPU memory, or of resident memory as Linux reports it; current or peak."""
        if self.device.type == "cuda":
            return (
                torch.cuda.memory_allocated()
                if field == "VmRSS"
                else torch.cuda.max_memory_allocated()
            ) / 2**20
        line = next(
            line
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith(field)
        )
        return int(line.split()[1]) / 1024


def reward_of(completion: str) -> float:
    """Return the fraction of vowels; both sides use this reward."""
    return sum(letter in "aeiou" for letter in completion) / max(1, len(completion))


def picture(index: int, columns: int, rows: int, unit: int) -> Image.Image:
    """Return a picture of random squares with `columns * rows` image tokens.

    A token covers `unit` x `unit` pixels.
    """
    noise = torch.randint(
        0,
        256,
        (rows, columns, 3),
        generator=torch.Generator().manual_seed(index),
        dtype=torch.uint8,
    )
    return Image.fromarray(noise.numpy()).resize(
        (columns * unit, rows * unit), Image.Resampling.NEAREST
    )


def image_grid(tokens: int) -> tuple[int, int]:
    """Return columns and rows, in image tokens, of a nearly square picture.

    It fits into a prompt of this many tokens.

    >>> image_grid(100), image_grid(512)
    ((8, 8), (22, 21))
    """
    if tokens <= TEXT:
        raise SystemExit(
            f"--prompt: expected more than {TEXT} tokens, for a picture beside the text, got"
            f" {tokens}"
        )
    rows = int((tokens - TEXT) ** 0.5)
    return (tokens - TEXT) // rows, rows


def question(length: int) -> str:
    """Return a text of exactly this many tokens: Qwen's tokenizers split numbers into digits.

    >>> question(12)
    '012345678901'
    """
    return "".join(str(place % 10) for place in range(length))


class Prompts:
    """Equally long prompts for both sides, with `POOL` pictures in memory."""

    def __init__(self, encoder: Any, tokens: int) -> None:
        from g2rpo.records import Prompt

        columns, rows = image_grid(tokens)
        unit = encoder.image_processor.patch_size * encoder.image_processor.merge_size
        self.images = [picture(index, columns, rows, unit) for index in range(POOL)]

        def prompt(index: int, text: str) -> Any:
            return Prompt(
                id=f"bench/{index}",
                task="math",
                text=text,
                images=(self.images[index],),
                answer="",
                answer_type="text",
            )

        bare = encoder.encode([prompt(0, question(1))]).input_ids.shape[1]
        self.text = question(1 + tokens - bare)
        self.all = [prompt(index, self.text) for index in range(POOL)]
        got = encoder.encode(self.all[:1]).input_ids.shape[1]
        if got != tokens:
            raise SystemExit(
                f"--model: its tokenizer makes {got} tokens of a text meant for {tokens}: digits"
                " must be tokens of their own"
            )

    def size(self, task: str, split: str) -> int:
        """Return the number of prompts, as a g2rpo prompt source does."""
        return POOL

    def get(self, task: str, index: int, split: str) -> Any:
        """Return a prompt, as a g2rpo prompt source does."""
        return self.all[index]


def ours(options: argparse.Namespace, clock: Clock) -> None:
    """Train with g2rpo and Lightning, in the default configuration and without filtering groups."""
    import lightning as L

    from g2rpo.algorithm.advantage.g2rpo import G2RPO
    from g2rpo.algorithm.loss.clip import ClipLoss
    from g2rpo.algorithm.shaping import Shaping
    from g2rpo.allocator import keep_freed_memory
    from g2rpo.data.mixture import TaskMix
    from g2rpo.data.stream import PromptStream
    from g2rpo.policy.checkpoint import Checkpoint
    from g2rpo.rollout.collect import KeepAll
    from g2rpo.rollout.hf import HFEngine
    from g2rpo.training.algorithm import Algorithm
    from g2rpo.training.batch_plan import BatchPlan
    from g2rpo.training.datamodule import PromptDataModule
    from g2rpo.training.gradients import GradientConflict
    from g2rpo.training.module import G2RPOModule

    class Turns(L.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
            clock.stop()
            self.experience = outputs["experience"]

    class Vowels:
        def score(self, completion: str, prompt: Any) -> dict[str, float]:
            share = reward_of(completion)
            return {"accuracy": share, "format": 1.0, "structure": 1.0, "total": share}

    model = Checkpoint(path=options.folder, dtype=options.dtype)
    encoder = model.encoder()
    encoder.forbidden_token_ids = (
        *encoder.forbidden_token_ids,
        *encoder.end_tokens,
    )  # every completion is as long as it may be
    stream = PromptStream(
        source=Prompts(encoder, options.prompt), mix=TaskMix(weights={"math": 1.0}), seed=0
    )
    data = PromptDataModule(
        stream=stream, encoder=encoder, num_prompts=options.prompts, num_steps=options.steps
    )
    module = G2RPOModule(
        policy=model.policy(),
        reference=None,
        encoder=encoder,
        engine=HFEngine(max_new_tokens=options.completion),
        reward=Vowels(),
        algorithm=Algorithm(
            tasks=("math",),
            advantage=G2RPO(),
            loss=ClipLoss(),
            shaping=Shaping(length=None, entropy=None),
            batch=BatchPlan(prompts_per_step=options.prompts, group_size=options.group),
            optimizer=optimizer,
            group_filter=KeepAll(),
            gradient_conflict=GradientConflict(every_n_steps=None),
            max_grad_norm=MAX_GRAD_NORM,
            failure_budget=0.0,
            seed=0,
        ),
    )
    keep_freed_memory()  # as every program of g2rpo does
    turns = Turns()
    trainer = L.Trainer(
        max_steps=options.steps,
        accelerator=options.device,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[turns],
    )
    clock.start()
    trainer.fit(module, datamodule=data)
    written = turns.experience.rollouts.completion_mask.sum(1)
    clock.end(tokens=written.double().mean().item())


def optimizer(parameters: Sequence[Any]) -> torch.optim.Optimizer:
    """Return the optimizer that both sides use."""
    return torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0, betas=(0.9, 0.99))


def theirs(options: argparse.Namespace, clock: Clock) -> None:
    """Train with TRL's GRPOTrainer, with one micro-batch per step and no reference model."""
    from datasets import Dataset
    from transformers import AutoModelForImageTextToText, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from g2rpo.policy.family.qwen_vl import QwenEncoder

    class Turns(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.stop()

    lengths: list[int] = []

    def score(completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        lengths.extend(len(ids) for ids in completion_ids)
        return [reward_of(completion[0]["content"]) for completion in completions]

    encoder = QwenEncoder(path=options.folder)
    prompts = Prompts(encoder, options.prompt)
    rows = Dataset.from_dict({"place": list(range(POOL))}).with_transform(
        lambda batch: {
            "prompt": [[{"role": "user", "content": prompts.text}] for _ in batch["place"]],
            "image": [prompts.images[place] for place in batch["place"]],
        }
    )
    model = AutoModelForImageTextToText.from_pretrained(options.folder, dtype=DTYPES[options.dtype])
    config = GRPOConfig(
        output_dir=options.scratch,
        max_steps=options.steps,
        per_device_train_batch_size=options.prompts * options.group,
        num_generations=options.group,
        max_completion_length=options.completion,
        generation_kwargs={"min_new_tokens": options.completion},
        loss_type="grpo",
        beta=0.0,
        gradient_checkpointing=False,
        max_grad_norm=MAX_GRAD_NORM,
        bf16=False,
        fp16=False,
        use_cpu=options.device == "cpu",
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        cache_implementation=options.trl_cache,
        seed=0,
    )
    made = optimizer([p for p in model.parameters() if p.requires_grad])
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=score,
        args=config,
        train_dataset=rows,
        processing_class=processor(encoder),
        callbacks=[Turns()],
        optimizers=(made, torch.optim.lr_scheduler.ConstantLR(made, factor=1.0)),
    )
    clock.start()
    trainer.train()
    clock.end(tokens=sum(lengths) / len(lengths))


def processor(encoder: Any) -> Any:
    """Return transformers' processor without its video part, which needs torchvision."""
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

    class NoVideos:
        model_input_names = ()

    class ImageProcessor(Qwen3VLProcessor):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            return (
                None
                if argument_name == "video_processor"
                else super().check_argument_for_proper_class(argument_name, argument)
            )

    return ImageProcessor(
        image_processor=encoder.image_processor,
        tokenizer=encoder.tokenizer,
        video_processor=NoVideos(),
        chat_template=encoder.tokenizer.chat_template,
    )


def main() -> None:
    """Run the side that `against_trl.py` asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", choices=("g2rpo", "trl"), required=True)
    for name in ("folder", "scratch", "dtype", "device"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("prompts", "prompt", "group", "completion", "steps", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--trl-cache")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = Clock(torch.device(options.device))
    (ours if options.side == "g2rpo" else theirs)(options, clock)


if __name__ == "__main__":
    main()
