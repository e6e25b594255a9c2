"""Transactions read back by ranges, of a content of which parts may be missing."""

from __future__ import annotations

import numpy as np
import pytest
from small_feed import interchange, remittance

from reassoc.core.x12_835 import read_835
from reassoc.stream.readers import RangeReader
from reassoc.stream.vault_errors import NoContentError

DATA = interchange(*(remittance(f"T{number}", 100 + number) for number in range(5)))
TRANSACTIONS = read_835(DATA).transactions
STARTS, STOPS = (TRANSACTIONS[name].astype(np.int64) for name in ("offset", "end"))


class Gapped:
    """A content of which some bytes did not come."""

    def __init__(self, start: int, stop: int) -> None:
        self._gap = start, stop
        self.calls = 0

    def read(self, start: int, stop: int) -> bytes:
        self.calls += 1
        if start < self._gap[1] and stop > self._gap[0]:
            raise NoContentError("a part did not come")
        return DATA[start:stop]


def test_what_is_missing_between_two_transactions_keeps_neither_back() -> None:
    gap = Gapped(int(STARTS[2]), int(STOPS[2]))
    kept = np.array([0, 1, 3, 4])
    reader = RangeReader(gap.read, STARTS[kept], STOPS[kept])
    want = [DATA[start:stop] for start, stop in zip(STARTS[kept], STOPS[kept], strict=True)]
    assert [bytes(data) for _, data in reader.take_all()] == want
    taken = RangeReader(gap.read, STARTS[kept], STOPS[kept])
    places = zip(STARTS[kept].tolist(), STOPS[kept].tolist(), strict=True)
    assert [bytes(taken.take(start, stop)) for start, stop in places] == want
    assert taken.between(int(STOPS[1]), int(STARTS[3])).strip() != b"", "they are not neighbours"


def test_a_transaction_that_is_missing_itself_is_told() -> None:
    gap = Gapped(int(STARTS[2]) + 5, int(STOPS[2]))
    with pytest.raises(NoContentError):
        list(RangeReader(gap.read, STARTS, STOPS).take_all())


def test_neighbours_are_read_by_one_call() -> None:
    whole = Gapped(len(DATA), len(DATA) + 1)
    assert len(list(RangeReader(whole.read, STARTS, STOPS).take_all())) == 5
    assert whole.calls == 1
