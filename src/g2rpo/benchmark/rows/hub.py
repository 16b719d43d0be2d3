"""Data sets of the Hugging Face Hub, downloaded whole by `datasets` and kept in its cache."""

from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from g2rpo.benchmark.rows.record import ImageStore, Placed, numbered, passes, with_images
from g2rpo.interfaces import Benchmark


class HubRows:
    """Records of the data set that the benchmark's `sources.hub` names.

    `sources.hub` has `path` and `splits`, and optionally `configs` (names, or `all`), `where`
    (column:
    values kept) and `options` (further arguments of `load_dataset`). Images are written to `images`
    once, unchanged and without being decoded.
    """

    def __init__(self, *, images: str) -> None:
        self.images = ImageStore(images)

    def records(self, benchmark: Benchmark) -> Iterator[Placed]:
        """Yield every record of every split.

        Records without a split get its name as `split`; records without an id get their number as
        `index`.
        """
        address = getattr(benchmark, "sources", {}).get("hub")
        if not address:
            raise ValueError(
                f"benchmark {benchmark.name} names no data set of the Hub: set"
                " benchmark.sources.hub, or choose other rows"
            )
        where = address.get("where", {})
        for config in _configs(address):
            for split in address["splits"]:
                name = ", ".join(filter(None, (address["path"], config, split)))
                for number, columns in enumerate(_loaded(address, config, split)):
                    if passes(columns, where):
                        yield (
                            f"{name}, row {number}",
                            with_images({"split": split, **numbered(columns, number)}, self._mend),
                        )

    def _mend(self, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._mend(name, item) for item in value]
        if isinstance(value, Mapping):
            return self.images.keep(value["bytes"]) if value.get("bytes") else value.get("path")
        if isinstance(value, str) and len(value) > 1000:  # too long for a path, so it is base64
            return self.images.keep_base64(value)
        if not isinstance(value, str | Image.Image):
            raise ValueError(f"{name}: expected an image, got {type(value).__name__}")
        return value


def _configs(address: Mapping[str, Any]) -> list[str | None]:
    configs = address.get("configs")
    if configs == "all":
        from datasets import get_dataset_config_names

        return list(get_dataset_config_names(address["path"]))
    return list(configs) if configs else [None]


def _loaded(address: Mapping[str, Any], config: str | None, split: str) -> Any:
    """Load the table of a split with its images as bytes; they are decoded when used."""
    import datasets

    table = datasets.load_dataset(
        address["path"], config, split=split, streaming=False, **address.get("options", {})
    )
    for name, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(name, datasets.Image(decode=False))
        elif isinstance(getattr(feature, "feature", None), datasets.Image):
            table = table.cast_column(name, type(feature)(datasets.Image(decode=False)))
    return table
