"""The logs of a home: whoever comes when, no tenant misses what concerns all of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reassoc.stream import home_log
from reassoc.stream.home_log import HOME_TENANT, HomeLog
from reassoc.stream.item_log import (
    ClockEntry,
    DecisionEntry,
    Entry,
    LogEndError,
    SettingsEntry,
    TenantEntry,
)
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.sqlite_file import SqliteFile

AT = "2026-03-17T12:00:00.000+00:00"
DAYS = 40
TENANTS = 60


@contextmanager
def opened(folder: Path) -> Iterator[HomeLog]:
    with closing(SqliteFile(folder / "state.db")) as file:
        yield HomeLog(SqliteItemLog(file, lambda: AT))


def opening(day: int) -> ClockEntry:
    return ClockEntry("opening", day, AT)


def settings(number: int) -> SettingsEntry:
    return SettingsEntry(f"# {number}", "", b"", b"")


def decision(number: str) -> DecisionEntry:
    return DecisionEntry("hold", number, "me", "because")


def entries_of(log: HomeLog, tenant: str) -> list[Entry]:
    return [logged.entry for logged in log.read(tenant, 0, 10_000)]


def test_a_new_tenant_begins_with_what_holds(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        assert log.append([("before", decision("1"))]) == [1]
        log.append_to_all([settings(1), opening(1), opening(2)])
        assert log.append([("north", decision("2")), ("north", decision("3"))]) == [3, 4]
        assert entries_of(log, "before")[1:] == [settings(1), opening(1), opening(2)]
        assert entries_of(log, "north")[:2] == [settings(1), opening(2)]
        assert log.settle(settings(1)) is False
        assert log.settle(settings(2)) is True
        assert entries_of(log, "north")[-1] == settings(2)
        assert set(log.tenants()) == {"before", "north"}


def test_others_see_what_was_logged_meanwhile(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as other:
        one.append_to_all([settings(1), opening(1)])
        # It has not read on, and the new tenant gets what holds all the same.
        other.append([("north", decision("1"))])
        assert entries_of(other, "north") == [settings(1), opening(1), decision("1")]
        # Nor has this one, and the tenant that it has not seen gets the next opening.
        one.append_to_all([opening(2)])
        assert entries_of(one, "north")[-1] == opening(2)
        one.append([("north", decision("2"))])
        assert (other.settings, other.clock) == (settings(1), opening(1))
        other.read_on()
        assert other.clock == opening(2)
        named = [one for one in entries_of(one, HOME_TENANT) if isinstance(one, TenantEntry)]
        assert named == [TenantEntry("north")], "once, whoever has added it"


def test_who_appends_by_what_it_saw_is_told_what_went_on(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as other:
        one.append([("north", decision("1"))])
        other.append([("north", decision("2"))])
        with pytest.raises(LogEndError):
            one.append([("south", decision("3"))], ends={"north": 1})
        assert "south" not in one.tenants()
        one.append([("south", decision("3"))], ends={"north": 2})


def test_attempts_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_log, "ATTEMPTS_MAX", 1)
    with opened(tmp_path) as one, opened(tmp_path) as other:
        other.append_to_all([opening(1)])
        with pytest.raises(LogEndError, match="ATTEMPTS_MAX"):
            one.append_to_all([opening(2)])
        one.append_to_all([opening(2)])
        other.read_on()
        other.append_to_all([opening(3)])
        assert [entry.day for entry in entries_of(one, HOME_TENANT) if is_clock(entry)] == [1, 2, 3]


def is_clock(entry: Entry) -> bool:
    return isinstance(entry, ClockEntry)


def add_tenants(folder: Path, name: str) -> None:
    with opened(folder) as log:
        for number in range(TENANTS):
            log.append([(f"{name} {number}", decision(f"{name} {number}"))])


def log_days(folder: Path) -> None:
    with opened(folder) as log:
        for day in range(1, DAYS + 1):
            log.append_to_all([opening(day)])


def change_settings(folder: Path) -> None:
    with opened(folder) as log:
        for number in range(1, DAYS + 1):
            log.settle(settings(number))


def test_no_tenant_misses_anything_whatever_processes_do_at_once(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    context = multiprocessing.get_context("forkserver")
    works = [
        context.Process(target=add_tenants, args=(tmp_path, "one")),
        context.Process(target=add_tenants, args=(tmp_path, "other")),
        context.Process(target=log_days, args=(tmp_path,)),
        context.Process(target=change_settings, args=(tmp_path,)),
    ]
    for work in works:
        work.start()
    for work in works:
        work.join(60)
        assert work.exitcode == 0
    with opened(tmp_path) as log:
        assert len(log.tenants()) == 2 * TENANTS
        for tenant in (HOME_TENANT, *log.tenants()):
            logged = entries_of(log, tenant)
            days = [entry.day for entry in logged if isinstance(entry, ClockEntry)]
            texts = [int(entry.policy[2:]) for entry in logged if isinstance(entry, SettingsEntry)]
            # Each begins somewhere, and from there on nothing is left out or stands there twice.
            assert days == list(range(days[0], DAYS + 1))
            assert texts == list(range(texts[0], DAYS + 1))
