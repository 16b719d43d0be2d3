"""How fast prompts are read: seconds and memory to index a JSON file, and prompts per second.

python perf/data.py            # 600,000 rows; 12 batches of 32 prompts with 1280 x 960 photos
python perf/data.py --rows 50000 --batches 4 --max-pixels 1048576
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from g2rpo.data.file_source import FileSource
from g2rpo.data.gym.source import TASKS
from g2rpo.data.loading import Loading
from g2rpo.data.mixture import TaskMix
from g2rpo.data.onethinker import OneThinkerFormat
from g2rpo.data.stream import PromptStream
from g2rpo.data.template import PromptTemplate

KINDS = {
    "multiple choice": "B",
    "numerical": "14.5",
    "spatial grounding": '{"boxes": [10, 20, 300, 400]}',
    "OCR": "EXIT 14",
    "math": "$x^2$",
}


def row(number: int, images: int) -> dict[str, Any]:
    """Return a row as long as the rows of the real files."""
    kind = list(KINDS)[number % len(KINDS)]
    question = (
        f"<image> Look at the picture and say what stands beside the object with number {number},"
        " seen from the front left."
    )
    return {
        "problem_id": number,
        "problem": question,
        "data_type": "image",
        "problem_type": kind,
        "options": (
            ["A. red", "B. green", "C. blue", "D. none of these"]
            if kind == "multiple choice"
            else []
        ),
        "data_source": "made",
        "answer": f"<answer>{KINDS[kind]}</answer>",
        "images": [f"./images/photo_{number % images:06d}.jpg"],
        "problem_reserved_text": question,
        "task_type": TASKS[number % 6],
    }


def write_rows(path: Path, rows: int, images: int) -> None:
    """Write one JSON list, the format of the released files."""
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        file.writelines(("" if n == 0 else ",\n") + json.dumps(row(n, images)) for n in range(rows))
        file.write("]")


def source(path: Path, workers: int) -> FileSource:
    """Return a prompt source that reads the file."""
    template = PromptTemplate(instruction="Think, then answer.", hints={})
    format = OneThinkerFormat(tasks={}, template=template)
    return FileSource(
        files=str(path), root=str(path.parent), format=format, loading=Loading(workers=workers)
    )


def index(path: Path) -> None:
    """Index the file and print seconds and memory, alone in a process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = source(path, 0)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_mb": peak / 1024,
                "before_mb": before / 1024,
                "rows": sum(found.size(t, "train") for t in TASKS),
            }
        )
    )


def throughput(
    path: Path, workers: int, batches: int, prompts: int, max_pixels: int | None
) -> float:
    """Return prompts per second in the middle of a run.

    The simulated trainer pauses between two batches as long as reading ahead needs.
    """
    from g2rpo.policy.checkpoint import Checkpoint
    from g2rpo.training.datamodule import PromptDataModule

    encoder = Checkpoint(
        path=Checkpoint.packaged(name="tiny_qwen3_vl").path, max_pixels=max_pixels
    ).encoder()
    stream = PromptStream(
        source=source(path, workers), mix=TaskMix(weights=dict.fromkeys(TASKS, 1.0)), seed=0
    )
    data = PromptDataModule(stream=stream, encoder=encoder, num_prompts=prompts, num_steps=batches)
    seconds = []
    for _ in range(batches):
        start = time.perf_counter()
        data.draw()
        seconds.append(time.perf_counter() - start)
    data.teardown("fit")
    return prompts / statistics.median(seconds[1:] or seconds)


def main() -> None:
    """Write the files to a temporary folder, measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--max-pixels", type=int, default=None)
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.index:
        return index(given.index)
    with tempfile.TemporaryDirectory() as name:
        path, images = Path(name) / "rows.json", given.batches * given.prompts
        write_rows(path, given.rows, images)
        print(f"{given.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB of JSON")
        done = subprocess.run(
            [sys.executable, __file__, "--index", str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
        found = json.loads(done.stdout)
        rate = given.rows / found["seconds"]
        print(
            f"indexed in {found['seconds']:.1f} s ({rate:,.0f} rows/s), peak {found['peak_mb']:.0f}"
            f" MB ({found['before_mb']:.0f} MB before)"
        )
        (Path(name) / "images").mkdir()
        for number in range(images):
            photo = Image.effect_noise((given.width, given.width * 3 // 4), 60).convert("RGB")
            photo.save(Path(name) / "images" / f"photo_{number:06d}.jpg", quality=85)
        write_rows(path, images, images)
        rates = {
            workers: throughput(path, workers, given.batches, given.prompts, given.max_pixels)
            for workers in (0, 1, 2, 4)
        }
        for workers, rate in rates.items():
            print(
                f"workers={workers}: {rate:7.1f} prompts/s ready for the model,"
                f" {rate / rates[0]:.2f} x workers=0"
            )


if __name__ == "__main__":
    main()
