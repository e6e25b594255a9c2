from typing import final

import numpy as np
import numpy.typing as npt

from reassoc.core._keys import Items
from reassoc.core.columns import TakenColumn

TIERS: int

_U8 = npt.NDArray[np.uint8]
_U16 = npt.NDArray[np.uint16]
_U32 = npt.NDArray[np.uint32]
_U64 = npt.NDArray[np.uint64]
_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]

def cut_traces(items: Items) -> tuple[bytes, _U32, int]: ...

@final
class Matching:
    def __init__(
        self,
        left: Items,
        right: Items,
        left_payee: _U32,
        right_payee: _U32,
        left_scope: _U32,
        right_scope: _U32,
    ) -> None: ...
    def settle(
        self,
        partner: _I32,
        blocks: _I32,
        payee_tin: _U64,
        payee_entity: _U64,
        window_days: int,
        to_review: _I64,
        sums_only: bool,
        left_reason: _I64,
        right_reason: _I64,
        vetoed: _U64,
    ) -> list[TakenColumn]: ...
    def tiers(self, left: _I32, right: _I32, window_days: int) -> _U8: ...
    def describe(
        self, left: _I32, right: _I32, match_ids: _U64
    ) -> tuple[_U16, _U16, _U16, _I32]: ...
