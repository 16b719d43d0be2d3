"""One benchmark on two ranks, for test_runner.py: `python runner_ranks.py <rank> <port> <folder>`
prints numbers and what it asked.
"""

import json
import os
import sys
from pathlib import Path
from types import ModuleType


def main(rank: int, port: str, folder: Path, world: ModuleType) -> None:
    import torch.distributed as dist

    from g2rpo.benchmark.evaluation.plan import make_plan
    from g2rpo.benchmark.evaluation.runner import BenchmarkRun, Generation, Scoring
    from g2rpo.records import Sampling

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    benchmark, engine = (
        world.Sums(),
        world.Answering({f"q{i}?": "1" if i % 3 else "half" for i in range(1, 8)}),
    )
    records = [
        world.record(i, block="x" if i in (4, 5) else f"r{i}", category="ab"[i % 2])
        for i in range(1, 8)
    ]
    plan = make_plan(benchmark, world.Listed(sums=records), limit=None, seed=0, max_unusable_frac=0)
    generation = Generation(
        engine=engine,
        encoder=world.IdEncoder(),
        device="cpu",
        sampling=Sampling(group_size=1, max_new_tokens=4),
        batch_rows=2,
        make_prompt=benchmark.prompt,
        seed=0,
        max_unusable_frac=0,
    )
    found = BenchmarkRun(
        plan=plan, generation=generation, scoring=Scoring(protocol="paper"), folder=folder
    ).run(lambda count: None)
    print(  # noqa: T201
        json.dumps(
            {"numbers": found.numbers, "asked": [id for batch in engine.asked for id in batch]}
        )
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    here = Path(__file__).parent
    sys.path[:0] = [str(here), str(here.parents[1])]
    import conftest

    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), conftest)
