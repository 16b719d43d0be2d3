"""Reads back what W&B wrote on disk: the transaction log of an offline run, record by record,
without wandb's own reader.
"""

import json
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from wandb.proto import wandb_internal_pb2

BLOCK = 32768
HEADER = 7
FULL, LAST = 1, 4


@dataclass
class OfflineRun:
    """One `offline-run-*` folder."""

    folder: Path
    id: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    commit: str = ""
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    """Rows without W&B's own keys; nested keys joined by dots."""
    definitions: dict[str, Any] = field(default_factory=dict)
    artifacts: list[tuple[str, dict[str, Path]]] = field(default_factory=list)
    """Name, and local file by path in the artifact."""

    def table(self, row: dict[str, Any], key: str) -> list[dict[str, Any]]:
        """The rows of a table that a history row names; they lie in the run folder and, with
        images, in an artifact.
        """
        path = row[f"{key}.path"]
        written = json.loads((self.folder / "files" / path).read_text())
        return [dict(zip(written["columns"], values, strict=True)) for values in written["data"]]


def records(file: Path) -> Iterator[Any]:
    """The records of a transaction log: LevelDB's log format behind seven bytes of W&B's own."""
    data, at, whole = file.read_bytes(), HEADER, b""
    assert data[:4] == b":W&B"
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def finished_records(file: Path, *, timeout_s: float = 20.0) -> list[Any]:
    """Return all records; W&B's service may write the last ones after `finish` has returned."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = list(records(file))
        except DecodeError:  # half a record, still being written
            found = []
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        assert time.monotonic() < deadline, f"{file} has no exit record after {timeout_s} s"
        time.sleep(0.05)


def read(folder: Path) -> OfflineRun:
    (file,) = folder.glob("run-*.wandb")
    run = OfflineRun(folder=folder)
    for record in finished_records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.group, run.job_type = (
                record.run.run_id,
                record.run.run_group,
                record.run.job_type,
            )
            run.name, run.commit = record.run.display_name, record.run.git.commit
        elif kind == "config":
            run.config |= {
                item.key: json.loads(item.value_json) for item in record.config.update if item.key
            }
        elif kind == "summary":
            run.summary |= {
                _key(item): json.loads(item.value_json) for item in record.summary.update
            }
        elif kind == "metric":
            run.definitions[record.metric.name or record.metric.glob_name] = record.metric
        elif kind == "history":
            row = {_key(item): json.loads(item.value_json) for item in record.history.item}
            run.history.append(
                {key: value for key, value in row.items() if not key.startswith("_")}
            )
        elif kind == "artifact":
            run.artifacts.append(
                (
                    record.artifact.name,
                    {c.path: Path(c.local_path) for c in record.artifact.manifest.contents},
                )
            )
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


@pytest.fixture
def offline_runs() -> Callable[[Path], list[OfflineRun]]:
    """`offline_runs(run_folder)`: its W&B runs on disk, in the order they were made."""
    return lambda folder: [read(each) for each in sorted((folder / "wandb").glob("offline-run-*"))]
