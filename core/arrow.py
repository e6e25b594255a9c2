"""Tables as pyarrow tables. pyarrow is an optional extra: `pip install reassoc[arrow]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reassoc.core.columns import DATE_NONE, Table, TextColumn

if TYPE_CHECKING:
    import pyarrow as pa


def table_to_arrow(table: Table) -> pa.Table:
    """See Table.to_arrow."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError("to_arrow needs pyarrow: pip install 'reassoc[arrow]'") from error
    columns = {name: _column(pa, table[name], table.kinds[name]) for name in table.names}
    return pa.table(columns)


def _column(pa: Any, column: Any, kind: str) -> Any:
    if isinstance(column, TextColumn):
        return _text(pa, column)
    if kind == "date":
        return pa.array(column, pa.int32(), mask=column == DATE_NONE).cast(pa.date32())
    if kind.startswith("code"):
        return _codes(pa, column)
    return pa.array(column)


def _text(pa: Any, column: TextColumn) -> Any:
    """Strings, their bytes gathered at once. What is no UTF-8, or has line wraps in it, is decoded
    value by value."""
    packed = column.compact()
    data = bytes(packed.source)
    if b"\n" not in data and b"\r" not in data:
        stops = np.cumsum(packed.lengths, dtype=np.int64)
        offsets = np.concatenate([np.zeros(1, np.int64), stops])
        array = pa.Array.from_buffers(
            pa.large_binary(), len(column), [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        )
        try:
            return array.cast(pa.large_string())
        except pa.lib.ArrowInvalid:
            pass
    return pa.array(column.to_list(), pa.large_string())


def _codes(pa: Any, column: Any) -> Any:
    """Codes repeat: a dictionary of the few there are."""
    values, numbers = np.unique(column, return_inverse=True)
    texts = [value.decode("utf-8", "replace") for value in values.tolist()]
    return pa.DictionaryArray.from_arrays(
        pa.array(numbers.astype(np.int32)), pa.array(texts, pa.string())
    )
