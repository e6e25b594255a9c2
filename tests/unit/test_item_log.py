"""The item log in SQLite: positions, limits, routing, and several processes at once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from reassoc.core.errors import LimitError
from reassoc.stream import item_log_sqlite
from reassoc.stream.item_log import (
    ENTRY_BYTES_MAX,
    ClockEntry,
    DecisionEntry,
    Entry,
    ItemsEntry,
    LogEndError,
    Logged,
    Routing,
    SettingsEntry,
    SourceNote,
)
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.sqlite_file import SqliteFile, StoreError
from reassoc.stream.state_sqlite import SqliteState

AT = "2026-03-02T13:30:00+00:00"
CLOCK = ClockEntry("opening", 20514, AT)
ENTRIES: list[Entry] = [
    ItemsEntry((SourceNote(b"d" * 32, "a.835", "X12", 9),), b"r", b"s", b"p", b"", (b"profile",)),
    DecisionEntry("match", "n1", "who", "why", b"r" * 16, b"p" * 16, difference_cents=-5),
    CLOCK,
    SettingsEntry("policy", "rules", b"", b"\x00\x01"),
]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteItemLog]:
    opened = SqliteItemLog(SqliteFile(tmp_path / "state.db"), lambda: AT)
    yield opened
    opened.close()


def test_entries_come_back_in_order(log: SqliteItemLog, tmp_path: Path) -> None:
    assert log.read("t", 0, 9) == []
    assert log.append([("t", entry) for entry in ENTRIES]) == [1, 2, 3, 4]
    expected = [Logged(position, AT, entry) for position, entry in enumerate(ENTRIES, 1)]
    again = SqliteItemLog(SqliteFile(tmp_path / "state.db"), lambda: "later")
    for each in (log, again):
        assert each.read("t", 0, 9) == expected
        assert each.read("t", 1, 2) == expected[1:3]
        assert each.read("t", 4, 9) == each.read("t", 0, 0) == each.read("nobody", 0, 9) == []
    assert again.append([("t", CLOCK)]) == [5]
    assert log.read("t", 4, 1) == [Logged(5, "later", CLOCK)]
    again.close()


def test_each_tenant_counts_for_itself(log: SqliteItemLog) -> None:
    assert log.append([]) == []
    assert log.append([("a", CLOCK), ("b", CLOCK), ("a", CLOCK)]) == [1, 1, 2]
    assert log.append([("b", CLOCK), ("a", CLOCK)]) == [2, 3]
    assert log.tenants() == {"a": 3, "b": 2}


def test_who_appends_by_what_it_saw_sees_all(log: SqliteItemLog) -> None:
    log.append([("a", CLOCK), ("b", CLOCK)])
    for ends in ({"a": 0}, {"a": 1, "b": 2}, {"c": 1}):
        with pytest.raises(LogEndError):
            log.append([("a", CLOCK), ("d", CLOCK)], ends=ends)
    assert log.tenants() == {"a": 1, "b": 1}
    assert log.append([("a", CLOCK), ("d", CLOCK)], ends={"a": 1, "c": 0}) == [2, 1]


def test_an_entry_above_the_limit_refuses_the_whole_call(log: SqliteItemLog) -> None:
    source = (SourceNote(b"", "", "", 0),)
    room = ENTRY_BYTES_MAX - 64
    log.append([("t", ItemsEntry(source, bytes(room), b"", b"", b"", ()))])
    large = ItemsEntry(source, bytes(ENTRY_BYTES_MAX), b"", b"", b"", ())
    with pytest.raises(LimitError, match=r"entry 2 of 2 .*ENTRY_BYTES_MAX"):
        log.append([("t", CLOCK), ("t", large)])
    assert log.tenants() == {"t": 1}
    assert len(log.read("t", 0, 1)[0].entry.remittances) == room


def test_a_read_is_bounded_in_bytes_and_goes_on(
    log: SqliteItemLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([("t", ENTRIES[0])] * 5)
    monkeypatch.setattr(item_log_sqlite, "READ_BYTES_MAX", 100)
    positions: list[int] = []
    while found := log.read("t", positions[-1] if positions else 0, 9):
        assert len(found) <= 2
        positions += [logged.position for logged in found]
    assert positions == [1, 2, 3, 4, 5]


def test_a_damaged_entry_is_told_by_its_place(log: SqliteItemLog) -> None:
    log.append([("t", CLOCK), ("t", CLOCK)])
    with log._file.write() as connection:
        connection.execute("UPDATE log SET body = ? WHERE position = 2", (b"Secret Name",))
    assert len(log.read("t", 0, 1)) == 1
    with pytest.raises(StoreError, match=r"state\.db: the log entry at position 2") as caught:
        log.read("t", 0, 2)
    assert "Secret" not in str(caught.value)


def test_routing_is_remembered(log: SqliteItemLog, tmp_path: Path) -> None:
    digest = bytes(range(32))
    assert log.routings([digest]) == {}
    for routing in (Routing(b"\x00", False), Routing(b"\x00", True)):
        log.append([], [(digest, Routing(routing.body, routing.logged))])
        again = SqliteItemLog(SqliteFile(tmp_path / "state.db"), lambda: AT)
        assert again.routings([digest]) == log.routings([digest]) == {digest: routing}
        again.close()
    others = [number.to_bytes(2, "big") for number in range(1000)]
    assert log.routings([digest[:-1], *others, digest]) == {digest: routing}
    log.append([("t", CLOCK)], [(digest, Routing(b"another", False))])
    assert log.routings([digest])[digest] == Routing(b"\x00", True), "the first body stands"


def test_state_and_log_share_a_file(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "state.db")
    log, state = SqliteItemLog(file, lambda: AT), SqliteState(file)
    log.append([("t", CLOCK)])
    assert state.claim("t").mark == 0
    state.close()
    log.close()
    with pytest.raises(StoreError, match="was closed"):
        log.tenants()


_CHILD = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from reassoc.stream.item_log import ClockEntry
    from reassoc.stream.item_log_sqlite import SqliteItemLog
    from reassoc.stream.sqlite_file import SqliteFile

    name = sys.argv[2]
    log = SqliteItemLog(SqliteFile(Path(sys.argv[1])), lambda: name)
    for day in range(40):
        print(*log.append([("t", ClockEntry("close", day, name)), ("u", ClockEntry("close", 0, ""))]
                          + [("t", ClockEntry("close", day, name))]))
    log.close()
    """
)


def test_several_processes_append_at_once(tmp_path: Path) -> None:
    """They make the file together, too."""
    path = tmp_path / "state.db"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(path), name], stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    told = {}
    for name, child in zip("abc", children, strict=True):
        out, _ = child.communicate(timeout=60)
        assert child.returncode == 0
        told[name] = [[int(word) for word in line.split()] for line in out.splitlines()]
    log = SqliteItemLog(SqliteFile(path), lambda: AT)
    logged = log.read("t", 0, 999)
    assert log.tenants() == {"t": 240, "u": 120}
    log.close()
    assert [each.position for each in logged] == list(range(1, 241))
    for name, lines in told.items():
        mine = [each.position for each in logged if each.at == name]
        assert mine == [line[k] for line in lines for k in (0, 2)]
        assert all(line[2] == line[0] + 1 for line in lines)  # a call's entries stay together
    assert sorted(line[1] for lines in told.values() for line in lines) == list(range(1, 121))
