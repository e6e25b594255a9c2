from typing import final

import numpy as np
import numpy.typing as npt

ROUTING_NONE: int
IDENTIFIER_BYTES_MAX: int

_U8 = npt.NDArray[np.uint8]
_U32 = npt.NDArray[np.uint32]
_I32 = npt.NDArray[np.int32]

@final
class Identifiers:
    def __len__(self) -> int: ...
    def number(
        self,
        source: _U8,
        refs: _U32,
        routings: _I32 | None = None,
        *,
        is_account: bool = False,
        may_add: bool = True,
    ) -> _U32: ...

def routings(source: _U8, refs: _U32) -> _I32: ...
