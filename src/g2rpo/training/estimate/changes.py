"""Changes of a run that may lower its memory, kind by kind, and what the run is after each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

from g2rpo.training.estimate.machine import Machine
from g2rpo.training.estimate.memory import parts_of, totals
from g2rpo.training.estimate.shape import Shape
from g2rpo.training.estimate.workload import Workload, row_of

LORA_RANK, LORA_BYTES = 16, 4
"""Rank of conf/model/adapter/lora.yaml, and bytes of an adapter's weight."""
EIGHT_BITS = 2.04
"""Bytes of adamw_8bit's state per weight: two moments, and a float32 scale for 256 of each."""
KAHAN = 3
"""Numbers of adamw_kahan's state per weight: two moments and the compensation."""
FLOAT32 = 4
Now = Callable[[str], Any]
"""Returns the present value of a key; raises `KeyError` if the configuration has no such key."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that the memory of a run depends on."""

    shape: Shape
    load: Workload
    device: Machine
    state: int
    copies: int
    processes: int

    def peak(self) -> int:
        """Return the bytes of the largest phase."""
        parts = parts_of(self.shape, self.load, self.device, self.state, self.copies)
        return max(totals(parts).values())

    def but(self, **load: Any) -> Self:
        """Return the same with some things of the workload changed."""
        return replace(self, load=replace(self.load, **load))


Change = tuple[str, str, Setup]
"""An override, the present value, and the run with it."""
Kind = Callable[[Setup, Now], Iterator[Change]]


def _say(value: object) -> str:
    return {None: "null", True: "true", False: "false"}.get(value, str(value))  # type: ignore[call-overload]


def _halves(value: int) -> Iterator[int]:
    while (value := value // 2) >= 1:
        yield value


def _prefix(setup: Setup, now: Now) -> Iterator[Change]:
    if not setup.load.shared:
        yield "policy.prefix=shared", "repeated", setup.but(shared=True)


def _asleep(setup: Setup, now: Now) -> Iterator[Change]:
    if setup.load.engine_stays:
        yield "rollout.sleep=true", "false", setup.but(engine_stays=False)


def _engine_share(setup: Setup, now: Now) -> Iterator[Change]:
    tenths = int(setup.load.engine_frac * 10 - 1e-9)
    for share in range(tenths, 0, -1):
        if setup.load.engine_needs(setup.shape) < share / 10 * setup.device.memory:
            yield (
                f"rollout.gpu_memory_utilization={share / 10}",
                str(setup.load.engine_frac),
                setup.but(engine_frac=share / 10),
            )


def _engine(setup: Setup, now: Now) -> Iterator[Change]:
    if setup.load.sampled_here and setup.device.copies:
        changed = setup.but(sampled_here=False, engine_frac=0.4, engine_stays=False)
        if changed.load.engine_needs(setup.shape) < 0.4 * setup.device.memory:
            yield "rollout=vllm", "hf", changed


def _checkpointing(setup: Setup, now: Now) -> Iterator[Change]:
    if not setup.load.checkpointing:
        yield "model.gradient_checkpointing=true", "false", setup.but(checkpointing=True)


def _micro_batch(setup: Setup, now: Now) -> Iterator[Change]:
    load = setup.load
    for rows in _halves(load.micro_batch_prompts):
        changed = setup.but(micro_batch_prompts=rows)
        if load.micro_batch_tokens is None:
            present = _say(now("batch.micro_batch_prompts"))
            yield f"batch.micro_batch_prompts={rows}", present, changed
        else:
            tokens = rows * load.row_tokens
            changed = changed.but(micro_batch_tokens=tokens)
            present = str(load.micro_batch_tokens)
            yield f"batch.micro_batch_tokens={tokens}", present, changed


def _sharding(setup: Setup, now: Now) -> Iterator[Change]:
    load = setup.load
    if load.shards > 1 or setup.processes == 1 or load.task_gradients > 1:
        return
    changed = setup.but(shards=setup.processes // setup.load.nodes)
    present = "all weights in every process"
    if not _optimizer(now).endswith(".adamw_8bit"):
        yield "trainer=fsdp", present, changed
    elif setup.shape.number > setup.shape.compute:  # its moments cannot be sharded
        trained = setup.shape.trained * setup.shape.number
        changed = replace(changed, state=2 * trained, copies=trained)
        yield "trainer=fsdp optimizer=adamw", f"{present} and adamw_8bit", changed


def _across_nodes(setup: Setup, now: Now) -> Iterator[Change]:
    if 1 < setup.load.shards < setup.processes:
        changed = setup.but(shards=setup.processes, across_nodes=True)
        yield "++trainer.strategy.across_nodes=true", "false", changed


def _one_by_one(setup: Setup, now: Now) -> Iterator[Change]:
    if setup.copies and setup.device.copies:
        yield "++optimizer.foreach=false", "all weights at once", replace(setup, copies=0)


def _split(setup: Setup, now: Now) -> Iterator[Change]:
    load = setup.load
    if load.micro_batch_prompts > 1:
        return
    for most in _halves(load.row_completions):
        row = row_of(load.group_size, most)
        changed = setup.but(row_completions=row)
        override, present = f"batch.completions_per_row={most}", _say(now(SPLIT))
        limit = load.micro_batch_tokens
        if limit is not None:
            # a group that fits into the limit is not split, so the limit goes down with it
            tokens = changed.load.row_tokens
            override += f" batch.micro_batch_tokens={tokens}"
            present += f" and {limit}"
            changed = changed.but(micro_batch_tokens=tokens)
        yield override, present, changed


SPLIT = "batch.completions_per_row"


def _optimizer(now: Now) -> str:
    """Return the import path of the optimizer; empty if there is none."""
    try:
        return str(now("optimizer._target_"))
    except KeyError:
        return ""


def _eight_bits(setup: Setup, now: Now) -> Iterator[Change]:
    shape, target = setup.shape, _optimizer(now)
    if target.endswith(".AdamW") and setup.load.shards == 1 and not shape.adapter:
        yield (
            "optimizer=adamw_8bit",
            "float32 moments" if shape.number == FLOAT32 else "bfloat16 moments",
            replace(setup, state=round(EIGHT_BITS * shape.trained), copies=0),
        )


def _compensated(setup: Setup, now: Now) -> Iterator[Change]:
    shape = setup.shape
    if shape.number > shape.compute and not shape.adapter and _optimizer(now):
        yield (
            "model.dtype=bfloat16 trainer.precision=32-true optimizer=adamw_kahan",
            "float32 weights",
            replace(
                setup,
                shape=replace(shape, number=shape.compute),
                state=KAHAN * shape.compute * shape.trained,
                copies=0,
            ),
        )


def _reference(setup: Setup, now: Now) -> Iterator[Change]:
    if setup.load.reference and not setup.shape.adapter:
        yield "loss.kl_coef=0", _say(now("loss.kl_coef")), setup.but(reference=False)


def _one_gradient(setup: Setup, now: Now) -> Iterator[Change]:
    if setup.load.task_gradients > 1:
        yield "gradient=sum", "a gradient for each task", setup.but(task_gradients=1)


def _frozen_vision(setup: Setup, now: Now) -> Iterator[Change]:
    shape = setup.shape
    if shape.vision_trained and not shape.adapter:
        trained = shape.trained - shape.vision
        yield (
            "model.freeze_vision=true",
            "false",
            replace(
                setup,
                shape=replace(shape, vision_trained=False, trained=trained),
                state=setup.state * trained // shape.trained,
                copies=setup.copies * trained // shape.trained,
            ),
        )


def _adapter(setup: Setup, now: Now) -> Iterator[Change]:
    shape = setup.shape
    if shape.adapter or shape.routed:
        return
    widths = (
        4 * shape.hidden + 2 * shape.queries + 2 * shape.keys + 3 * (shape.hidden + shape.inner)
    )
    size = LORA_BYTES * LORA_RANK * shape.layers * widths
    override = "model/adapter=lora optimizer.lr=2e-5"
    if shape.compute < shape.number:
        override += " model.dtype=bfloat16 trainer.precision=32-true"
    changed = replace(shape, adapter=size, trained=0, vision_trained=False, number=shape.compute)
    yield (
        override,
        "all weights are trained",
        replace(setup, shape=changed, state=2 * size, copies=min(setup.copies, size)),
    )


def _shorter(setup: Setup, now: Now) -> Iterator[Change]:
    load = setup.load
    if load.lengths.bounded:
        for tokens in list(_halves(load.lengths.longest))[:4]:
            changed = replace(load.lengths, longest=tokens)
            yield (
                f"data.loading.max_prompt_tokens={tokens}",
                str(load.lengths.longest),
                setup.but(lengths=changed),
            )
    for tokens in list(_halves(load.completion))[:4]:
        yield (
            f"rollout.max_new_tokens={tokens}",
            str(load.completion),
            setup.but(completion=tokens),
        )


def _fewer_prompts(setup: Setup, now: Now) -> Iterator[Change]:
    for prompts in _halves(setup.load.prompts):
        if prompts >= setup.load.updates:
            rows = min(setup.load.micro_batch_prompts, max(1, prompts // setup.load.updates))
            yield (
                f"batch.prompts_per_step={prompts * setup.processes}",
                _say(now("batch.prompts_per_step")),
                setup.but(prompts=prompts, micro_batch_prompts=rows),
            )


def _more_nodes(setup: Setup, now: Now) -> Iterator[Change]:
    nodes = setup.load.nodes
    if setup.load.shards == setup.processes and setup.device.copies:
        for times in (2, 4):
            load = replace(
                setup.load,
                shards=setup.processes * times,
                nodes=nodes * times,
                across_nodes=True,
            )
            yield (
                f"trainer.num_nodes={nodes * times} ++trainer.strategy.across_nodes=true",
                str(nodes),
                replace(setup, load=load, processes=setup.processes * times),
            )


HARMLESS: tuple[Kind, ...] = (
    _prefix,
    _asleep,
    _engine_share,
    _engine,
    _checkpointing,
    _micro_batch,
    _sharding,
    _across_nodes,
    _one_by_one,
    _split,
)
"""Kinds of changes that leave results as they are, in the order in which they are advised."""
CHANGING: tuple[Kind, ...] = (
    _reference,
    _one_gradient,
    _frozen_vision,
    _eight_bits,
    _compensated,
    _adapter,
    _shorter,
    _fewer_prompts,
    _more_nodes,
)
"""Kinds of changes that change what is learned, or need more devices."""
