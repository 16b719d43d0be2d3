"""Reads all records of a stored data set once; bytes are only measured, never read."""

from collections.abc import Iterator
from typing import Any

ROWS = 1000
"""Number of rows that are converted to Python objects at a time."""
SOME = b"x"
"""Stands for bytes that are not empty."""


def records_of(rows: Any) -> Iterator[dict[str, Any]]:
    """Yield every record of a `datasets.Dataset`, in which `SOME` stands for bytes of any length
    above 0.
    """
    for table in rows.with_format("arrow").iter(batch_size=ROWS):
        columns = {
            name: _outline(table.column(name).combine_chunks()) for name in table.column_names
        }
        yield from (
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        )


def _outline(array: Any) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _outline(array.storage)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [
            None if length is None else SOME if length else b""
            for length in pc.binary_length(array).to_pylist()
        ]
    if pa.types.is_struct(kind):
        fields = [_outline(pc.struct_field(array, [place])) for place in range(kind.num_fields)]
        names = [kind.field(place).name for place in range(kind.num_fields)]
        values = zip(*fields, strict=True) if fields else ((),) * len(array)
        return [
            dict(zip(names, value, strict=True)) if valid else None
            for valid, value in zip(array.is_valid().to_pylist(), values, strict=True)
        ]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        items = iter(_outline(pc.list_flatten(array)))
        return [
            None if length is None else [next(items) for _ in range(length)]
            for length in pc.list_value_length(array).to_pylist()
        ]
    return array.to_pylist()
