"""Mutation fuzzer of the ACH reader.

    cd tests && python -m fuzz.fuzz_ach --seconds 60 [--seed N]

Each input stands right before a page without access. Whatever it is: no exception but ParseError,
no hang, no read past the end; and windows of any size give the entries, addenda and amounts that
the whole gives.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
from corpus import ACH_ROOT, samples
from fuzz.driver import main, window_size
from guarded import GuardedArena

from reassoc.core.ach import AchFiles, iter_ach, read_ach
from reassoc.core.errors import ParseError

_ARENA = GuardedArena(1 << 20)
_ENTRY_COLUMNS = ("ordinal", "transaction_code", "amount_cents", "trace_number", "kind", "trn_form")
_ENTRY_TEXTS = ("account", "receiver_name", "trace", "payer_id")


def entries(windows: list[AchFiles]) -> dict[str, Any]:
    """The entries of one or several windows, comparable."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(window.entries, name) for window in windows]).tolist()
        for name in _ENTRY_COLUMNS
    }
    for name in _ENTRY_TEXTS:
        texts = [getattr(window.entries, name) for window in windows]
        columns[name] = [text.raw(row) for text in texts for row in range(len(text))]
    columns["offset"] = [
        offset + window.window_offset
        for window in windows
        for offset in window.entries.offset.tolist()
    ]
    columns["addenda"] = sum(len(window.addenda) for window in windows)
    columns["remittances"] = sum(len(window.remittances.transactions) for window in windows)
    return columns


def check(data: bytes, rng: random.Random) -> None:
    """Read `data` whole and in windows and hold the results together."""
    buffer = _ARENA.at_end(data) if rng.randrange(4) else _ARENA.at_start(data)
    try:
        whole = entries([read_ach(buffer)])
    except ParseError:
        return
    window_bytes = window_size(data, rng)
    cut = entries(list(iter_ach(buffer, window_bytes=window_bytes)))
    for name, expected in whole.items():
        assert cut[name] == expected, f"{name} differs in windows of {window_bytes}"


if __name__ == "__main__":
    sys.exit(main("ach", check, samples(ACH_ROOT)))
