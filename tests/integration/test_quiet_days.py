"""Days on which nothing comes: what was released is not touched by them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from home_feed import THURSDAY, TUESDAY, drain, drop, make_feed, released

from reassoc.core.statuses import Reason, RemittanceStatus
from reassoc.stream.home import Home
from reassoc.stream.items import REMITTANCE, RecordKind
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import Records
from reassoc.stream.state_sqlite import SqliteState


def records_of(home: Path) -> Records:
    with closing(SqliteFile(Home.open(home).state_file)) as file:
        state = SqliteState(file)
        return Records.concat([part for name in state.tenants() for part in state.scan(name)])


def test_what_was_released_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    feed = make_feed(tmp_path / "feed", 60)
    drop(home, [path for path in feed.rglob("*") if path.is_file() and path.suffix != ".csv"])
    drain(home, TUESDAY)
    before, sent = records_of(home), released(home)
    drain(home, THURSDAY)
    after = records_of(home)
    left = before.of_kind(RecordKind.REMITTANCE)
    rows = REMITTANCE.unpack(left.bodies)
    was_sent = rows["status"] == RemittanceStatus.RELEASED
    assert sent
    assert was_sent.sum() > 20
    assert not (rows["reason"][was_sent] & int(Reason.PINNED)).any()
    later = after.of_kind(RecordKind.REMITTANCE)
    assert np.array_equal(left.ids, later.ids)
    assert [left.bodies.row(n) for n in np.flatnonzero(was_sent)] == [
        later.bodies.row(n) for n in np.flatnonzero(was_sent)
    ]
