"""Two warehouses held against each other, and one held against the laws of all of them.

    picture = read_picture(Path("home"))       what the home knows, without positions on its logs
    picture_of(state, ledger, day)             the same of any match state and ledger
    differences(picture, other)                lines; none where both know the same
    broken_laws(Path("home"))                  lines; none where nothing is lost, doubled or half
    broken_rules(state, ledger, ...)           the same of any state, ledger and folder

Positions on the log, names and numbers of released files depend on what came together; all else
that is compared does not, so a home that was killed on the way must have it as a quiet one has.
What the partitions of a stream remember in its match state concerns no tenant, and is left out.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from blake3 import blake3
from sqlalchemy import select

from reassoc.core.ach import read_ach
from reassoc.core.directory import Directory, load_directory
from reassoc.core.statuses import Funding, MatchStatus, PaymentStatus
from reassoc.core.x12_835 import Remittances, read_835
from reassoc.stream import ledger_schema as schema
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.engine import Engine, Parts
from reassoc.stream.home import Home
from reassoc.stream.home_intake import open_vault
from reassoc.stream.home_log import HOME_TENANT, HomeLog
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.items import (
    PAIR,
    PAYMENT,
    REMITTANCE,
    VETO,
    ItemFlag,
    RecordKind,
    ReleaseKind,
    item_name,
)
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_audit import verify as verify_ledger
from reassoc.stream.ledger_chain import ReleaseEvent
from reassoc.stream.ledger_history import History
from reassoc.stream.ledger_rows import PairEvent
from reassoc.stream.ledger_views import OPEN_LIMIT_MAX, OpenFilter, open_items
from reassoc.stream.partition import PREFIX
from reassoc.stream.records import Schema
from reassoc.stream.release_book import ReleaseBook
from reassoc.stream.release_draft import BODY_ROW, NO_SINK
from reassoc.stream.sinks import PARTIAL
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import Records, State
from reassoc.stream.state_sqlite import SqliteState
from reassoc.stream.tenant_record import TENANT_ID
from reassoc.stream.vault import Vault

POSITIONS = ("position", "made_position")
"""Columns that tell where on the log something came."""
TOLD_MAX = 20
"""Differences, and broken laws of one kind, that are told."""
READ_ENTRIES = 256
MATCH_STEPS = 64

Row = dict[str, Any]
Table = dict[tuple[Any, ...], Row]
_SCHEMAS = {
    "remittances": (RecordKind.REMITTANCE, REMITTANCE),
    "payments": (RecordKind.PAYMENT, PAYMENT),
    "pairs": (RecordKind.PAIR, PAIR),
    "vetoes": (RecordKind.VETO, VETO),
}


class Contents(Protocol):
    """Files that came, by their digests: a vault, or what is put together from several."""

    def open_stream(self, digest: bytes) -> io.RawIOBase: ...


@dataclass(frozen=True, slots=True)
class Picture:
    """What a warehouse knows: tables by name, rows by keys that both of two have."""

    tables: Mapping[str, Table]
    day: int

    def __getitem__(self, name: str) -> Table:
        return self.tables[name]


# ---- reading ----


@contextmanager
def _opened(home: Home) -> Iterator[tuple[SqliteState, HomeLog, Ledger]]:
    with ExitStack() as stack:
        file = SqliteFile(home.state_file)
        stack.callback(file.close)
        log = HomeLog(SqliteItemLog(file, lambda: ""))
        ledger = Ledger.open(f"sqlite:///{home.ledger_file}", read_only=True)
        stack.callback(ledger.close)
        yield SqliteState(file), log, ledger


def read_picture(path: Path) -> Picture:
    """All that a home knows; nobody may write meanwhile. Raises what state and ledger raise."""
    with _opened(Home.open(path)) as (state, log, ledger):
        return picture_of(state, ledger, log.clock.day if log.clock is not None else 0)


def picture_of(state: State, ledger: Ledger, day: int) -> Picture:
    """All that match state and ledger know on a day; nobody may write meanwhile. Raises what they
    raise. All in memory: about 5 KB an item."""
    tenants = tenants_of(state)
    tables = state_tables(state, tenants)
    tables["open lists"] = _open_lists(ledger, tenants, day)
    tables |= _ledger_tables(ledger)
    tables["statuses"] = {
        key: {"status": now[0], "flags": now[1], "funding": now[2]}
        for key, now in _last_statuses(ledger).items()
    }
    return Picture(tables, day)


def state_tables(state: State, tenants: Sequence[str]) -> dict[str, Table]:
    """What the state knows of some tenants."""
    tables: dict[str, Table] = {name: {} for name in _SCHEMAS}
    tables["tenants"] = {}
    for tenant in tenants:
        records = Records.concat(list(state.scan(tenant)))
        for name, (kind, kind_schema) in _SCHEMAS.items():
            tables[name] |= _rows(tenant, records.of_kind(kind), kind_schema)
        own = state.fetch(tenant, np.frombuffer(TENANT_ID, np.uint8).reshape(1, 16))
        tables["tenants"][tenant,] = {"record": own.bodies.rows()}
    return tables


def tenants_of(state: State) -> list[str]:
    """The tenants of a state, without what partitions remember there."""
    return [tenant for tenant in state.tenants() if not tenant.startswith(PREFIX)]


def _rows(tenant: str, records: Records, kind: Schema) -> Table:
    columns = kind.unpack(records.bodies)
    names = [name for name in columns if name not in POSITIONS]
    lists = [
        columns[name].to_list() if name in kind.texts else columns[name].tolist() for name in names
    ]
    return {
        (tenant, row.tobytes().hex()): _without_chance(dict(zip(names, values, strict=True)), kind)
        for row, *values in zip(records.ids, *lists, strict=True)
    }


def _without_chance(row: Row, kind: Schema) -> Row:
    """A copy that only the whole pool tells (a bank's line without a trace) is known as one at once
    where it comes in one step with the other, else at the next clock entry."""
    if kind is PAYMENT and row["status"] == PaymentStatus.DUPLICATE:
        row["closed_day"] = None
    return row


def _open_lists(ledger: Ledger, tenants: list[str], day: int) -> Table:
    found: Table = {}
    for tenant in tenants:
        listed = open_items(
            ledger,
            OpenFilter(tenant=tenant),
            day=day,
            calendar=federal_reserve_calendar(),
            limit=OPEN_LIMIT_MAX,
        )
        for item in listed.rows:
            found[tenant, int(item.side), item.name] = msgspec.structs.asdict(item)
        for total in listed.totals:
            key = (tenant, int(total.side), total.status, int(total.bucket))
            found[key] = msgspec.structs.asdict(total)
    return found


def _ledger_tables(ledger: Ledger) -> dict[str, Table]:
    item, alert = schema.release_item.c, schema.alert
    text, decision = schema.decision_text, schema.decision
    with ledger.reading() as connection:
        released = connection.execute(
            select(
                item.tenant, item.digest, item.offset, item.sending, item.release_kind, item.cents
            )
        ).all()
        alerts = connection.execute(
            select(
                schema.batch.c.tenant,
                alert.c.digest,
                alert.c.offset,
                alert.c.side,
                alert.c.code,
                alert.c.match_id,
            ).join_from(
                schema.batch, alert, schema.batch.c.number == schema.batch_of(alert.c.number)
            )
        ).all()
        decisions = connection.execute(
            select(
                schema.batch.c.tenant,
                text.c.number,
                decision.c.kind,
                decision.c.answer,
                decision.c.item_count,
                decision.c.cents,
                text.c.who,
                text.c.why,
                text.c.refusal,
            )
            .join_from(decision, text, text.c.decision == decision.c.number)
            .join(schema.batch, schema.batch.c.number == schema.batch_of(decision.c.number))
        ).all()
        sources = connection.execute(select(schema.source_file.c.digest)).scalars().all()
    return {
        "released": {tuple(row[:4]): {"release_kind": row[4], "cents": row[5]} for row in released},
        "alerts": {key: {"count": count} for key, count in Counter(map(tuple, alerts)).items()},
        "decisions": {tuple(row[:2]): {"answer": tuple(row[2:])} for row in decisions},
        "sources": {(bytes(digest).hex(),): {} for digest in sources},
    }


# ---- comparing ----


def differences(expected: Picture, found: Picture) -> list[str]:
    """What differs, the first TOLD_MAX of each table: places and names of columns, no values but
    numbers. O(rows)."""
    lines: list[str] = []
    for name, table in expected.tables.items():
        other = found.tables[name]
        told: list[str] = []
        told += [f"{name}: {_key(key)} is missing" for key in table.keys() - other.keys()]
        told += [f"{name}: {_key(key)} is too much" for key in other.keys() - table.keys()]
        for key in table.keys() & other.keys():
            if table[key] != other[key]:
                told.append(f"{name}: {_key(key)} differs in {_fields(table[key], other[key])}")
        lines += sorted(told)[:TOLD_MAX]
    return lines


def _key(key: tuple[Any, ...]) -> str:
    return " ".join(map(str, key))


def _fields(expected: Row, found: Row) -> str:
    return ", ".join(
        f"{name} ({expected[name]} against {found[name]})"
        if isinstance(expected[name], int)
        else name
        for name in expected
        if expected[name] != found.get(name)
    )


# ---- laws ----


def broken_laws(
    path: Path, environment: Mapping[str, str] = os.environ, *, replay: bool = True
) -> list[str]:
    """What is not as it must be in a home that is at rest: in its ledger, vault, files and state.

    replay : whether the log gives that state again is looked at, too, which takes the longest

    O(items), all in memory.
    """
    home = Home.open(path)
    lines = [f"in/ still has {name}" for name in _names(home.inbox)]
    vault = open_vault(home, environment, lambda: datetime.now(UTC), read_only=True)
    with closing(vault), _opened(home) as (state, log, ledger):
        lines += [f"vault: {damage}" for damage in vault.verify()]
        lines += unfinished(state, ledger, log.tenants())
        if lines:
            return lines  # What is damaged or half done cannot be looked at any closer.
        lines += broken_rules(state, ledger, vault, home.released)
        lines += _replayed(log, state, ledger, vault) if replay else []
    return lines


def unfinished(state: State, ledger: Ledger, ends: Mapping[str, int]) -> list[str]:
    """What is half done or damaged in state and ledger. ends : last positions of tenants' logs"""
    lines: list[str] = []
    for tenant, last in ends.items():
        if state.mark(tenant) != last:
            lines.append(f"{tenant}: its log is not applied to its end")
        if state.outbox(tenant, 1):
            lines.append(f"{tenant}: its outbox is not empty")
    with ledger.reading() as connection:
        verified = verify_ledger(connection)
    if not verified.sound:
        lines.append(f"ledger: {verified.fault.text if verified.fault else 'a head is missing'}")
    return lines


def broken_rules(state: State, ledger: Ledger, contents: Contents, released: Path) -> list[str]:
    """What a state, a ledger and the folder of released files tell otherwise, each of the other,
    and what was released against the rules. O(items), all in memory."""
    return [
        *_against_state(state, ledger),
        *_illegal_releases(ledger),
        *_wrong_files(released, ledger, contents),
    ]


def _names(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def _last_statuses(ledger: Ledger) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Status, flags and funding that the ledger has of each item last."""
    change = schema.status_change.c
    with ledger.reading() as connection:
        rows = connection.execute(
            select(
                schema.batch.c.tenant,
                change.digest,
                change.offset,
                change.after,
                change.flags_after,
                change.funding_after,
            )
            .join_from(
                schema.status_change,
                schema.batch,
                schema.batch.c.number == schema.batch_of(change.number),
            )
            .order_by(change.number)
        )
        return {tuple(row[:3]): tuple(row[3:]) for row in rows}


def _against_state(state: State, ledger: Ledger) -> list[str]:
    """The last status, flags and funding that the ledger has of an item are those of the state."""
    last = _last_statuses(ledger)
    lines: list[str] = []
    for tenant in tenants_of(state):
        records = Records.concat(list(state.scan(tenant)))
        for kind, kind_schema in (_SCHEMAS["remittances"], _SCHEMAS["payments"]):
            rows = kind_schema.unpack(records.of_kind(kind).bodies)
            funding = rows.get("funding", np.zeros(len(rows["status"]), np.uint8))
            for digest, offset, *now in zip(
                rows["id_digest"].view(np.int64).tolist(), rows["id_offset"].tolist(),
                rows["status"].tolist(), rows["flags"].tolist(), funding.tolist(), strict=True
            ):  # fmt: skip
                told = last.get((tenant, digest, offset), (0, 0, 0))
                if told != tuple(now):
                    lines.append(f"{tenant}: the ledger has {_named(digest, offset)} otherwise")
    return lines[:TOLD_MAX]


def _named(digest: int, offset: int) -> str:
    return item_name(digest & (1 << 64) - 1, offset)


class _Tenant:
    """What the ledger says of a tenant's items up to a batch."""

    def __init__(self) -> None:
        self.funding: dict[tuple[int, int], int] = {}
        self.pairs: dict[tuple[int, int], set[tuple[int, int, int]]] = {}
        self.cents: dict[tuple[int, int], int] = {}


def _illegal_releases(ledger: Ledger) -> list[str]:
    """Each release, by what the ledger knew in the batch that made it: a match was automatic and
    its money there, a zero pay pays nothing, a person's has its decision."""
    tables = (schema.item, schema.pair_event, schema.status_change, schema.decision)
    by_batch: dict[int, dict[str, list[Any]]] = {}
    lines: list[str] = []
    with ledger.reading() as connection:
        for table in tables:
            for row in connection.execute(select(table).order_by(table.c.number)):
                of_batch = by_batch.setdefault(row.number >> schema.PLACE_BITS, {})
                of_batch.setdefault(table.name, []).append(row)
        named = connection.execute(select(schema.batch.c.number, schema.batch.c.tenant))
        tenants = dict(map(tuple, named))
    known: dict[str, _Tenant] = {}
    for number in sorted(by_batch):
        rows = by_batch[number]
        tenant = known.setdefault(tenants[number], _Tenant())
        _learn(tenant, rows)
        for row in rows.get("status_change", ()):
            if row.flags_after & ~row.flags_before & ItemFlag.RELEASED and not _is_legal(
                tenant, row, rows
            ):
                lines.append(f"{_named(row.digest, row.offset)} was released against the rules")
    return lines[:TOLD_MAX]


def _learn(tenant: _Tenant, rows: Mapping[str, list[Any]]) -> None:
    for row in rows.get("item", ()):
        tenant.cents[row.digest, row.offset] = row.cents
    for row in rows.get("status_change", ()):
        tenant.funding[row.digest, row.offset] = row.funding_after
    for row in rows.get("pair_event", ()):
        of_item = tenant.pairs.setdefault((row.remittance_digest, row.remittance_offset), set())
        pair = (row.payment_digest, row.payment_offset, row.match_id)
        of_item.discard(pair)
        if row.event != PairEvent.GONE and row.status == MatchStatus.AUTO:
            of_item.add(pair)


def _is_legal(tenant: _Tenant, row: Any, rows: Mapping[str, list[Any]]) -> bool:
    key = (row.digest, row.offset)
    if row.release_kind == ReleaseKind.ZERO_PAY:
        return tenant.cents[key] == 0
    if row.release_kind == ReleaseKind.MANUAL:
        return bool(rows.get("decision"))
    funding = [tenant.funding.get(pair[:2], 0) for pair in tenant.pairs.get(key, ())]
    return (
        row.release_kind == ReleaseKind.MATCH
        and not row.flags_after & ItemFlag.HELD
        and bool(funding)
        and min(funding) >= Funding.SETTLED
    )


# ---- files ----


class _Sources:
    """Transactions of files that came, read anew out of the vault."""

    def __init__(self, contents: Contents, digests: Mapping[int, bytes]) -> None:
        self._contents = contents
        self._digests = digests
        self._plain: dict[int, bytes] = {}
        self._carried: dict[int, Remittances] = {}

    def transaction(self, row: Any) -> bytes:
        """ST..SE of a row of BODY_ROW."""
        prefix, start, stop = int(row["digest"]), int(row["start"]), int(row["stop"])
        if prefix not in self._plain:
            with self._contents.open_stream(self._digests[prefix]) as stream:
                self._plain[prefix] = stream.read() or b""
        if not row["carried"]:
            return self._plain[prefix][start:stop]
        if prefix not in self._carried:
            self._carried[prefix] = read_ach(self._plain[prefix]).remittances
        found = self._carried[prefix]
        first, last = found.transactions.offset[start], found.transactions.end[start]
        return bytes(found.source[int(first) : int(last)])


def _wrong_files(released: Path, ledger: Ledger, contents: Contents) -> list[str]:
    """Released files are those of the book, each whole, with its sources' bytes; none twice."""
    book = ReleaseBook(ledger)
    lines = [f"{intent.name}: not delivered" for intent in book.unfinished()]
    file, event = schema.release_file.c, schema.release_event.c
    with ledger.reading() as connection:
        sources = _Sources(
            contents,
            {
                int.from_bytes(digest[:8], "little"): bytes(digest)
                for digest in connection.execute(select(schema.source_file.c.digest)).scalars()
            },
        )
        files = connection.execute(
            select(file.file, file.name, file.receiver, file.item_count).where(file.sink != NO_SINK)
        ).all()
        prepared = {
            number: bytes(digest)
            for number, digest in connection.execute(
                select(event.file, event.digest).where(event.event == int(ReleaseEvent.PREPARED))
            )
        }
        done = Counter(
            connection.execute(
                select(event.file).where(event.event == int(ReleaseEvent.DONE))
            ).scalars()
        )
    seen = set(_names(released)) if released.is_dir() else set()
    for number, name, receiver, item_count in files:
        place = f"{receiver}/{name}"
        if done[number] != 1:
            lines.append(f"{place}: {done[number]} done rows")
        if place not in seen:
            lines.append(f"{place}: not there")
            continue
        seen.discard(place)
        data = (released / place).read_bytes()
        if blake3(data).digest() != prepared.get(number):
            lines.append(f"{place}: other bytes than were prepared")
        rows = np.frombuffer(book.body(number).rows, BODY_ROW)
        found = read_835(data)
        places = zip(found.transactions.offset, found.transactions.end, strict=True)
        sent = [data[int(start) : int(stop)] for start, stop in places]
        if len(rows) != item_count or sent != [sources.transaction(row) for row in rows]:
            lines.append(f"{place}: its transactions are not those of the sources")
    lines += [f"{PARTIAL} is not empty" for name in seen if name.startswith(f"{PARTIAL}/")]
    lines += [f"{name}: no file of the book" for name in seen if not name.startswith(PARTIAL)]
    return sorted(lines)[:TOLD_MAX]


# ---- replay ----


def _replayed(log: HomeLog, state: SqliteState, ledger: Ledger, vault: Vault) -> list[str]:
    """The log alone gives the state, and what was released."""
    expected = _ledger_tables(ledger)["released"]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = SqliteFile(Path(folder, "state.db"))
        stack.callback(file.close)
        again = Ledger.open(f"sqlite:///{Path(folder, 'ledger.db')}")
        stack.callback(again.close)
        copy, other = SqliteItemLog(file, lambda: ""), SqliteState(file)
        for tenant in [HOME_TENANT, *log.tenants()]:
            after = 0
            while entries := log.read(tenant, after, READ_ENTRIES):
                copy.append([(tenant, logged.entry) for logged in entries])
                after = entries[-1].position
        engine = Engine(
            Parts(
                log=HomeLog(copy),
                state=other,
                ledger=again,
                book=ReleaseBook(again),
                history=History(again),
                load_directory=lambda digest: _directory(vault, digest),
                now=lambda: "2026-01-01T00:00:00.000+00:00",
            )
        )
        while engine.match(MATCH_STEPS) or engine.publish():
            pass
        lines = [
            f"{tenant}: a replay of its log gives another state"
            for tenant in state.tenants()
            if state.dump(tenant) != other.dump(tenant)
        ]
        if _ledger_tables(again)["released"] != expected:
            lines.append("a replay of the logs releases other remittances")
    return lines


def _directory(vault: Vault, digest: bytes) -> Directory:
    return load_directory(vault.read(digest, 0, vault.size(digest)).decode())
