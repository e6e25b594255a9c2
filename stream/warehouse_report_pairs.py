"""What became of a tenant's pairs in a span of days: each event with what the pair was before it,
and what it came to in the end.

The ledger tells of an event, not of the status before it. Most of that is in the span itself; what
a pair was before the span is looked up, for the few that an event of the span does not tell it of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from reassoc.core.statuses import MatchStatus, Reason
from reassoc.stream import warehouse_report_sql as sql
from reassoc.stream.ledger_open import item_keys
from reassoc.stream.ledger_rows import PairEvent
from reassoc.stream.ledger_store import fetch, whole_numbers
from reassoc.stream.warehouse_report_figures import ReportError

Numbers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_EVENT = np.dtype(
    [
        ("number", "<i8"),
        ("pair", "<u8"),
        ("remittance", "<u8"),
        ("payment", "<u8"),
        ("event", "u1"),
        ("status", "u1"),
        ("returned", "u1"),
    ]
)


@dataclass(frozen=True, slots=True)
class PairHistory:
    """The events of pairs of one span.

    number : int64[k]             of the row, ascending
    before, now, final : uint8[k] MatchStatus of the pair before and after the event, and after the
        last one of the span; 0 for none
    last : bool[k]                whether it is the last one of its pair
    matched : uint64[r]           item_keys of remittances with a match at the end, sorted
    returned : uint64[p]          item_keys of payments that went back after a release, sorted
    """

    number: Numbers
    before: npt.NDArray[np.uint8]
    now: npt.NDArray[np.uint8]
    final: npt.NDArray[np.uint8]
    last: npt.NDArray[np.bool_]
    matched: Keys
    returned: Keys


def keys_of(digest: Numbers, offset: Numbers) -> Keys:
    """uint64[n]: item_keys of ids as the database has them."""
    return item_keys(np.ascontiguousarray(digest).view(np.uint64), offset)


def is_in(keys: Keys, wanted: Keys) -> npt.NDArray[np.bool_]:
    """bool[n]: which of n keys are among sorted ones. O(n log k), ten times as fast as np.isin."""
    if not len(keys):
        return np.zeros(len(wanted), np.bool_)
    found: npt.NDArray[np.bool_] = (
        keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted
    )
    return found


def as_numbers(rows: Sequence[tuple[Any, ...]], width: int) -> Numbers:
    """int64[width, n] of rows of whole numbers. Raises ReportError for anything else."""
    numbers = whole_numbers(rows, width)
    if numbers is None:
        raise ReportError(
            "the ledger has values that were never written: run `reassoc audit verify`"
        )
    return numbers.T


def read_history(connection: Connection, chain: sql.Chain) -> PairHistory:
    """Read a span's events of pairs. O(k log k), about 60 bytes an event."""
    events, ids = [np.zeros(0, _EVENT)], [np.zeros((0, 5), np.int64)]
    for piece in sql.pieces(connection, sql.pair_events(chain)):
        columns = as_numbers(piece, 8)
        rows = np.zeros(len(piece), _EVENT)
        rows["number"], rows["event"], rows["status"] = columns[0], columns[5], columns[6]
        rows["returned"] = columns[7] & int(Reason.RETURN_AFTER_RELEASE) != 0
        rows["remittance"] = keys_of(columns[1], columns[2])
        rows["payment"] = keys_of(columns[3], columns[4])
        rows["pair"] = item_keys(rows["remittance"], rows["payment"].view(np.int64))
        events.append(rows)
        ids.append(columns[:5, rows["event"] != PairEvent.MADE].T)
    history = np.concatenate(events)
    now = np.where(history["event"] == PairEvent.GONE, 0, history["status"]).astype(np.uint8)
    order = np.argsort(history["pair"], kind="stable")
    same = np.zeros(len(order) + 1, np.bool_)
    np.equal(history["pair"][order[1:]], history["pair"][order[:-1]], out=same[1:-1])
    first, last = order[~same[:-1]], order[~same[1:]]

    before = np.zeros(len(order), np.uint8)
    before[order[1:]] = np.where(same[1:-1], now[order[:-1]], 0)
    before[first] = _before_the_span(connection, chain, history[first], np.concatenate(ids))
    final = np.empty_like(now)
    final[order] = np.repeat(now[last], np.diff(np.append(np.flatnonzero(~same[:-1]), len(order))))
    is_last = np.zeros(len(order), np.bool_)
    is_last[last] = True
    matched = history["remittance"][is_last & (now == MatchStatus.AUTO)]
    returned = history["payment"][history["returned"] != 0]
    return PairHistory(
        history["number"], before, now, final, is_last, np.unique(matched), np.unique(returned)
    )


def _before_the_span(
    connection: Connection, chain: sql.Chain, first: npt.NDArray[Any], ids: Numbers
) -> npt.NDArray[np.uint8]:
    """MatchStatus before the first event of each pair: none where it was made; where it went, the
    row says what it was, unless it was not shown then."""
    gone = first["event"] == PairEvent.GONE
    before = np.where(gone, first["status"], 0).astype(np.uint8)
    unknown = np.flatnonzero((first["event"] == PairEvent.CHANGED) | gone & (before == 0))
    if len(unknown):
        places = np.searchsorted(ids[:, 0], first["number"][unknown])
        before[unknown] = _looked_up(connection, chain, ids[places, 1:])
    return before


def _looked_up(connection: Connection, chain: sql.Chain, ids: Numbers) -> npt.NDArray[np.uint8]:
    """MatchStatus of pairs when the span began: batch by batch back through those that mention the
    file of the remittance, until all of its pairs are found."""
    answer = np.zeros(len(ids), np.uint8)
    wanted: dict[int, dict[tuple[int, ...], int]] = {}
    for row, (digest, *rest) in enumerate(ids.tolist()):
        wanted.setdefault(digest, {})[tuple(rest)] = row
    begin = sql.first_batch(connection, chain)
    for digest, pairs in wanted.items():
        batch = begin
        while pairs:
            events = fetch(connection, sql.earlier_events(chain, digest, batch))
            if not events:
                break
            batch = events[0][0]
            for _, *pair, status in reversed(events):
                row = pairs.pop(tuple(pair), -1)
                if row >= 0:
                    answer[row] = status
    return answer
