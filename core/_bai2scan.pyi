from typing import final

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import TakenColumn

_U32 = npt.NDArray[np.uint32]

@final
class DetailRows:
    @property
    def detail_count(self) -> int: ...
    @property
    def text_count(self) -> int: ...
    def read_run(
        self,
        data: bytes | memoryview,
        at: int,
        *,
        line_bytes_max: int,
        continuations_max: int,
        records_max: int,
        account: int,
        record_number: int,
    ) -> tuple[int, int, int]: ...
    def add_text(self, reference: int) -> None: ...
    def add_detail(
        self,
        offset: int,
        record_number: int,
        account: int,
        type_code: int,
        amount_cents: int,
        funds_type: bytes,
        value_date: int,
        value_time: int,
        bank_reference: int,
        customer_reference: int,
        text_start: int,
        valid: bool,
    ) -> None: ...
    def take(self) -> dict[str, list[TakenColumn]]: ...

def read_memos(
    source: bytes | memoryview, refs: _U32, starts: _U32, stops: _U32
) -> dict[str, list[TakenColumn]]: ...
