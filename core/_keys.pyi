from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

TRACE_BYTES_MAX: int
PAYER_BYTES_MAX: int
COMPANY_NAME_BYTES: int
BY_ID: int
BY_NAME: int
BY_COMPANY: int
BY_ACCOUNT: int
PAYER_STEPS_MAX: int
ROWS_MAX: int
PARTNER_SEVERAL: int
USABLE_TRACE: int
USABLE_PAYER: int
NUMBERED_COLUMNS_MAX: int

_U8 = npt.NDArray[np.uint8]
_U32 = npt.NDArray[np.uint32]
_U64 = npt.NDArray[np.uint64]
_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]
_Bool = npt.NDArray[np.bool_]

@final
class Affixes:
    def __init__(self, sets: Sequence[tuple[list[bytes], list[bytes]]]) -> None: ...

def trace_forms_of(
    raw: bytes, affixes: Affixes | None = None, affix_set: int = 0
) -> tuple[bytes, bytes, bytes, bytes]: ...
def payer_form_of(raw: bytes) -> bytes: ...

@final
class PayerTable:
    def __init__(
        self,
        rules: Sequence[tuple[list[bytes], int]] = (),
        ignored: Sequence[bytes] = (),
        affix_set: int = 0,
        dated: Sequence[tuple[bytes, int, int, int]] = (),
    ) -> None: ...
    def copy(self) -> PayerTable: ...
    def __len__(self) -> int: ...
    def number(self, source: _U8, refs: _U32) -> _U32: ...
    def groups(self, source: _U8, refs: _U32, dates: _I32 | None = None) -> _U32: ...
    def names(self) -> list[bytes]: ...

@final
class Items:
    digests: _U64
    offsets: _I64
    holds: _I64
    keys: _U64
    usable: _U8
    payer: _U32
    payer_group: _U32
    payer_table: PayerTable
    def __init__(
        self,
        source: _U8,
        refs: _U32,
        payer_source: _U8,
        payer_refs: _U32,
        payers: PayerTable,
        affixes: Affixes,
        cents: _I64,
        dates: _I32,
        digests: _U64,
        offsets: _I64,
        holds: _I64,
        steps: Sequence[tuple[int, bool, _U8, _U32]] = (),
    ) -> None: ...
    def __len__(self) -> int: ...
    def trace_hashes(self, rows: _I32) -> _U64: ...
    def payers(self, rows: _I32) -> _U32: ...
    def stable_keys(self) -> _U64: ...
    def hold(self, rows: _I32) -> None: ...
    def same_trace(self, rows: _I32, others: _I32) -> _Bool: ...

def join(
    left: _U64, right: _U64, left_on: _U8 | None = None, right_on: _U8 | None = None
) -> tuple[_I32, _I32]: ...
def repeated(keys: _U64, on: _U8 | None = None) -> _I32: ...
def mix(*columns: npt.NDArray[Any]) -> _U64: ...
def gather(source: _U8, refs: _U32) -> tuple[bytes, _U32]: ...
def text_hashes(source: _U8, refs: _U32, *, is_number: bool = False) -> _U64: ...
def text_numbers(source: _U8, refs: _U32, *, is_number: bool = False) -> _I64: ...
def row_numbers(columns: Sequence[_I64]) -> _I64: ...
def one_is_cut(
    source: _U8, ones: _U32, others: _U32, bytes_min: int, *, is_number: bool = False
) -> _Bool: ...
def text_equals(source: _U8, refs: _U32, wanted: bytes) -> _Bool: ...
