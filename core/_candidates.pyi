from typing import Any, final

import numpy as np
import numpy.typing as npt

from reassoc.core._keys import Items

KEY_TRACE: int
KEY_FRONT: int
KEY_BACK: int
KEY_PAYEE: int
KEY_AMOUNT: int
EDGES_MAX: int
CUT_BYTES_MIN: int
PARTS: int
BLOCK_ROWS_MIN: int

_U8 = npt.NDArray[np.uint8]
_U32 = npt.NDArray[np.uint32]
_U64 = npt.NDArray[np.uint64]
_I16 = npt.NDArray[np.int16]
_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]

@final
class Sides:
    def __init__(
        self,
        left_items: Items,
        right_items: Items,
        left_columns: tuple[npt.NDArray[Any], ...],
        right_columns: tuple[npt.NDArray[Any], ...],
        right_company: _U32 | None = None,
    ) -> None: ...
    def find(
        self,
        kind: int,
        window: int,
        shown_max: int,
        left_on: _U8,
        right_on: _U8,
        left_reason: _I64,
        right_reason: _I64,
        left_degree: _U32,
        right_degree: _U32,
    ) -> tuple[_I32, _I32]: ...
    def weigh(
        self, left: _I32, right: _I32, sums: _I64 | None = None, parts: _I16 | None = None
    ) -> _I32: ...

def rank(
    items: _I32, item_count: int, weights: _I32, first: _U64, second: _U64, units: _I32
) -> tuple[_I64, _I32]: ...
def log2_hundredths(n: int) -> int: ...
