"""What the audit finds: anything that was changed, removed, added or moved in a chained table."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ledgers
import msgspec
import pytest
from sqlalchemy import Table, delete, insert, select, update
from typer.testing import CliRunner

from reassoc.stream import ledger_audit
from reassoc.stream import ledger_schema as schema
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_audit import Verification, verify
from reassoc.stream.ledger_chain import CHAINED
from reassoc.stream.ledger_commands import audit_app
from reassoc.stream.ledger_schema import PLACE_BITS
from reassoc.stream.ledger_store import fetch

SOUTH = "south"
TABLES = (schema.batch, *CHAINED)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Batches 1, 3 and 5 of one tenant, 2 of another, 4 of the release book."""
    path = tmp_path_factory.mktemp("audit") / "ledger.db"
    ledger = Ledger.open(f"sqlite:///{path}")
    second = msgspec.structs.replace(ledgers.first_batch(), position=2)
    ledger.append(1, ledgers.first_batch())
    ledger.append(1, msgspec.structs.replace(ledgers.first_batch(), tenant=SOUTH))
    ledger.append(2, second)
    with ledger.writing() as connection:
        ledger.append_release(connection, **ledgers.release_rows())
    ledger.append(3, ledgers.batch(position=3))
    ledger.close()
    return path


@pytest.fixture
def ledger(written: Path, tmp_path: Path) -> Iterator[Ledger]:
    shutil.copy(written, tmp_path / "ledger.db")
    opened = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


def check(ledger: Ledger, *heads: bytes) -> Verification:
    with ledger.reading() as connection:
        return verify(connection, heads)


def rows_of(ledger: Ledger, table: Table) -> list[tuple[Any, ...]]:
    with ledger.reading() as connection:
        return fetch(connection, select(table).order_by(table.c[0]))


def change(ledger: Ledger, *statements: Any) -> None:
    with ledger.writing() as connection:
        for statement in statements:
            connection.execute(statement)


def test_what_was_written_is_sound(ledger: Ledger) -> None:
    found = check(ledger)
    assert found.sound
    assert found.batch_count == 5
    assert found.heads == ledger.heads()


def other_values(value: Any) -> list[Any]:
    """What a value might be changed to, by somebody who knows how a database keeps it."""
    if isinstance(value, int):
        return [value + 1, value + 256, value + (1 << 32), value + 0.5, "x", value ^ 1 << 62]
    if isinstance(value, str):
        return [f"{value}x", f"{value} ", value[1:] or "y", b"x"]
    if isinstance(value, bytes):
        return [value[:-1] + bytes([value[-1] ^ 1]), value + b"\0", b"", "x"]
    return [0, b""]


@pytest.mark.parametrize(
    ("table", "column"), [(table.name, column.name) for table in TABLES for column in table.columns]
)
def test_every_column_counts_in_the_first_row_and_the_last(
    ledger: Ledger, table: str, column: str
) -> None:
    place = [each.name for each in schema.metadata.tables[table].columns].index(column)
    key = schema.metadata.tables[table].columns[0].name
    rows = rows_of(ledger, schema.metadata.tables[table])
    for row in (rows[0], rows[-1]):
        for value in other_values(row[place]):
            with ledger.writing() as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
                changed = f'UPDATE OR IGNORE "{table}" SET "{column}" = ? WHERE "{key}" = ?'
                try:
                    if not driver.execute(changed, (value, row[0])).rowcount:
                        continue  # The database itself refuses it.
                except sqlite3.IntegrityError:
                    continue  # A key that is no whole number.
                found = verify(connection)
                assert found.fault is not None, (row, value)
                if column != key:
                    number = row[0] if table == "batch" else row[0] >> PLACE_BITS
                    assert number <= found.fault.number <= number + 1
                connection.rollback()
    assert check(ledger).sound


@pytest.mark.parametrize("table", [table.name for table in CHAINED])
def test_rows_cannot_be_removed_added_or_swapped(ledger: Ledger, table: str) -> None:
    chosen = schema.metadata.tables[table]
    rows = rows_of(ledger, chosen)
    number, names = chosen.c.number, [column.name for column in chosen.columns]
    last = dict(zip(names, rows[-1], strict=True))
    fresh = {
        column.name: 77 if column.name in ("file", "digest") else last[column.name]
        for column in chosen.columns
    } | ({"name": "other"} if "name" in last else {})
    if table == "release_event":
        fresh["digest"] = None
    attacks: dict[str, list[Any]] = {
        f"removed {place}": [delete(chosen).where(number == row[0])]
        for place, row in enumerate(rows)
    }
    attacks |= {
        f"added {at}": [insert(chosen).values(fresh | {"number": at})]
        for at in (rows[-1][0] + 1, rows[-1][0] + 5, 5 << PLACE_BITS, 9 << PLACE_BITS, 0, -1)
    }
    if len({row[1:] for row in rows}) > 1:
        places = ((rows[0][0], -1), (rows[1][0], rows[0][0]), (-1, rows[1][0]))
        attacks["swapped"] = [
            update(chosen).where(number == old).values(number=new) for old, new in places
        ]
    for name, statements in attacks.items():
        with ledger.writing() as connection:
            for statement in statements:
                connection.execute(statement)
            assert verify(connection).fault is not None, name
            connection.rollback()


def _remove(number: int, *, rows: bool) -> list[Any]:
    first = number << PLACE_BITS
    statements: list[Any] = [delete(schema.batch).where(schema.batch.c.number == number)]
    if rows:
        statements += [
            delete(table).where(table.c.number.between(first, first + (1 << PLACE_BITS) - 1))
            for table in CHAINED
        ]
    return statements


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_removed_batch_that_left_its_rows_is_found(ledger: Ledger, number: int) -> None:
    change(ledger, *_remove(number, rows=False))
    assert check(ledger).fault is not None


def test_a_batch_removed_from_the_middle_is_found(ledger: Ledger) -> None:
    change(ledger, *_remove(3, rows=True))
    fault = check(ledger).fault
    assert fault is not None
    assert (fault.number, fault.tenant, fault.sequence) == (5, ledgers.TENANT, 3)
    assert "sequence 2 of its chain is missing" in fault.text
    moved_up = update(schema.batch).where(schema.batch.c.number == 5).values(sequence=2)
    change(ledger, moved_up)
    fault = check(ledger).fault
    assert fault is not None
    assert "does not follow" in fault.text


def test_batches_cut_off_at_the_end_show_by_a_noted_head(ledger: Ledger) -> None:
    head = ledger.heads()[ledgers.TENANT][1]
    earlier = rows_of(ledger, schema.batch)[0][-1]
    assert check(ledger, head, earlier).sound
    change(ledger, *_remove(5, rows=True))
    assert check(ledger, earlier).sound
    found = check(ledger, head, earlier)
    assert found.fault is None
    assert found.missing_heads == (head,)


def test_batches_cannot_change_places(ledger: Ledger) -> None:
    number = schema.batch.c.number
    change(
        ledger,
        *(
            update(schema.batch).where(number == old).values(number=new)
            for old, new in ((1, -1), (3, 1), (-1, 3))
        ),
    )
    assert check(ledger).fault is not None


def test_texts_of_decisions_are_held_to_their_hash(ledger: Ledger) -> None:
    for column in ("number", "who", "why", "refusal"):
        with ledger.writing() as connection:
            changed = update(schema.decision_text).values({column: "somebody else"})
            connection.execute(changed)
            fault = verify(connection).fault
            assert fault is not None
            assert "texts of a decision" in fault.text
            connection.rollback()


def test_it_reads_in_pieces(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = check(ledger)
    monkeypatch.setattr(ledger_audit, "VERIFY_ROWS", 1)
    told: list[tuple[int, int]] = []
    with ledger.reading() as connection:
        assert verify(connection, progress=lambda *step: told.append(step)) == whole
    assert told == [(done, 5) for done in range(1, 6)]


def test_the_command_says_what_it_found(ledger: Ledger, tmp_path: Path) -> None:
    run = CliRunner()
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    head = ledger.heads()[SOUTH][1].hex()
    sound = run.invoke(audit_app, ["verify", "--ledger", url, "--head", head])
    assert sound.exit_code == 0
    assert "sound: 5 batches" in sound.stdout
    assert "(release book)" in sound.stdout
    missing = run.invoke(audit_app, ["verify", "--ledger", url, "--head", "ab" * 32])
    assert missing.exit_code == 1
    assert "in no chain any more" in missing.stderr
    change(
        ledger, update(schema.item).where(schema.item.c.number == 1 << PLACE_BITS).values(cents=1)
    )
    bad = run.invoke(audit_app, ["verify", "--ledger", url])
    assert bad.exit_code == 1
    assert f"batch 1, sequence 1 of tenant {ledgers.TENANT}" in bad.stderr
    for wrong in ([], ["--ledger", url, "--home", "x"], ["--ledger", url, "--head", "12"]):
        assert run.invoke(audit_app, ["verify", *wrong]).exit_code == 2
