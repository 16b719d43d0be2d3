"""Sample logs of lmms-eval (`--log_samples`): a JSON line per question, its record in `doc`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def sample_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and record of each sample, with the completion in `prediction`.

    The completion is the first raw response, before lmms-eval's filters. A record without an index
    gets `doc_id`, and one without an answer the `target`.

    Raises:
        ValueError: If a line is not JSON or has no response; names file and line.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                sample = json.loads(line)
            except ValueError as error:
                raise ValueError(f"rescore: {path}, line {number}: not JSON ({error})") from None
            completion = _response(sample)
            if completion is None:
                raise ValueError(
                    f"rescore: {path}, line {number}: expected a sample of lmms-eval with resps or"
                    " filtered_resps; write the log with --log_samples"
                )
            doc = sample.get("doc")
            record = dict(doc) if isinstance(doc, Mapping) else {}
            record.setdefault("index", sample.get("doc_id", number - 1))
            if not any(name in record for name in ("answer", "answers", "label", "reasoning_a")):
                record["answer"] = sample.get("target")
            yield number, record | {"prediction": completion}


def _response(sample: Any) -> str | None:
    """Return the first text in the nested lists of responses; None if there is none."""
    if not isinstance(sample, Mapping):
        return None
    found = sample.get("resps") or sample.get("filtered_resps")
    while isinstance(found, list) and found:
        found = found[0]
    return found if isinstance(found, str) else None
