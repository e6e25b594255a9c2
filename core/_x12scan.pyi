from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import TakenColumn

BUFFER_BYTES_MAX: int

def kernels() -> list[str]: ...
def active_kernel() -> str: ...
def severity_of(code: int) -> int: ...
def delimiter_offsets(
    data: Any, separator: int, terminator: int, kernel: str | None = None
) -> tuple[array[int], array[int]]: ...

class X12Scanner:
    def __init__(self, *, kernel: str | None = None) -> None: ...
    @property
    def header_found(self) -> bool: ...
    def scan(
        self, data: Any, window_offset: int, final: bool, discard: bool = False
    ) -> tuple[int, dict[str, list[TakenColumn]], bytes]: ...
    def scan_ranges(
        self, data: Any, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
    ) -> tuple[int, dict[str, list[TakenColumn]], bytes]: ...
