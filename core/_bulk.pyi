from typing import final

import numpy as np
import numpy.typing as npt

ITEMS_MAX: int
SOLUTIONS_SHOWN: int
SUMS_MAX: int

_U8 = npt.NDArray[np.uint8]
_U32 = npt.NDArray[np.uint32]
_U64 = npt.NDArray[np.uint64]
_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]

def sums_of(items: int) -> int: ...

@final
class BulkSide:
    sums: _U32
    capped: npt.NDArray[np.bool_]
    def __init__(
        self,
        rows: _I32,
        cents: _I64,
        banking_day: _I32,
        tenant: _U32,
        payer_group: _U32,
        payee: _U32,
        rail: _U8,
        order: _U64,
        tied: _I32,
        tied_to: _I32,
    ) -> None: ...

def find_sums(
    blocks: _I32, left: BulkSide, right: BulkSide, window_days: int, items_max: int
) -> tuple[_I32, _I32]: ...
