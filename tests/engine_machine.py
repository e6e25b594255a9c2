"""A home that lives through anything, as a seed says, and what must hold after every step.

Items are few and resemble each other, so that nearly everything collides: same traces, near traces,
same amounts, copies, carried 835s, bank lines, checks, deposits, returns and reversals. What they
are is known here from how they were made, and the laws are checked by the plainest means, against
what the outbox says and the state holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from engine_world import Books, World
from msgspec import structs
from pools import DAY, payments, remittances

from reassoc.core.ach import EntryKind
from reassoc.core.directory import Directory, load_directory
from reassoc.core.statuses import (
    Funding,
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    RemittanceStatus,
    Tier,
)
from reassoc.stream.asking import Asked, AskingError, check_never_there
from reassoc.stream.clock import parse_as_of
from reassoc.stream.engine import Engine
from reassoc.stream.home_tables import read_items
from reassoc.stream.item_log import (
    ClockEntry,
    DecisionEntry,
    DecisionKind,
    Entry,
    ItemsEntry,
    SettingsEntry,
)
from reassoc.stream.items import (
    PAYMENT_ITEM,
    REMITTANCE_ITEM,
    VETO,
    ItemFlag,
    RecordKind,
    ReleaseKind,
    id_bytes,
)
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_history import History
from reassoc.stream.ledger_rows import (
    ITEM_ROW,
    ORDER_ROW,
    PAIR_ROW,
    STATUS_ROW,
    DecisionAnswer,
    LedgerBatch,
    OutboxBody,
    PairEvent,
    decode_body,
    rows_of,
)
from reassoc.stream.records import Block, take

Row = dict[str, Any]
Id = tuple[int, int]

NEVER = 1 << 60
"""A position that no log comes to."""
TENANTS = ("north", "south")
DIRECTORY = """
[[payees]]
tenant = "north"
name = "RIVER CLINIC"
npis = ["1999999984"]
tins = ["112223333"]
accounts = [{ routing = "021000021", account = "5566778" }]
"""
TRACES = (
    ("12345", "0012345", "12-345", "EFT12345"),
    ("ABCD12345678", "ABCD1234", "12345678"),
    ("7712034", "7712034-1", "7712034.2"),
    ("LONGTRACENUMBERTHATDOESNOTFIT", "0LONGTRACENUMBERTHATDOESNOTFIT"),
    ("99887766", "99887766", ""),
)
PAYERS = ("1234567890", "1234567890", "1234567890", "1341858386", "3234567890")
DATES = (DAY, DAY, DAY, DAY + 1, DAY + 2, DAY + 4, DAY + 7, None)
RULE = 'payers = [{ids = ["1234567890", "1341858386"], trace_prefixes = ["EFT"]}]\n'
POLICIES = (
    "",
    "",
    'auto_tiers = ["T6", "T7", "T8", "T9"]\n',
    'auto_tiers = ["T6", "T7", "T8", "T9"]\nclose_tiers = []\n',
    "close_tiers = []\n" + RULE,
    'review_tiers = ["T1", "T3"]\n',
    'close_tiers = ["T1", "T2", "T8"]\ntrace_window_days = 3\nreturn_window_days = 4\n' + RULE,
)
RULES = (
    "",
    "",
    "default_release_banking_days = 2\n",
    "default_release_banking_days = 0\n",
    "[[hold]]\nabove_cents = 250\n",
    'funded_by = "posted"\n',
    'default_release_banking_days = 3\nfunded_by = "posted"\n',
)
KINDS: tuple[DecisionKind, ...] = (
    "match", "match", "match", "match", "unmatch", "unmatch", "release", "resend", "hold", "unhold",
    "void", "suspense", "reopen", "reopen", "alias", "move",
)  # fmt: skip
MOMENTS = tuple(
    f"2026-{day}T{time}"
    for day in ("03-16", "03-17", "03-18", "03-19", "03-20", "03-23", "03-25", "03-30", "04-03")
    for time in ("12:00", "20:00")
)


# ---- items ----


@dataclass
class Supply:
    """All items of a world, before any of them came."""

    remittances: dict[str, Any]
    payments: dict[str, Any]
    rows: tuple[list[Row], list[Row]]

    def entry(self, left: Sequence[int], right: Sequence[int]) -> ItemsEntry:
        """An entry of some of them."""
        return pack(
            take(self.remittances, np.array(left, np.int64)),
            take(self.payments, np.array(right, np.int64)),
        )


def pack(left: dict[str, Any], right: dict[str, Any]) -> ItemsEntry:
    """Rows of the item schemas as an entry of a log."""
    packed = []
    for schema, rows in ((REMITTANCE_ITEM, left), (PAYMENT_ITEM, right)):
        block = schema.pack(rows)
        packed += [block.data, block.stops.astype("<i8").tobytes()]
    return ItemsEntry((), packed[0], packed[1], packed[2], packed[3], ())


def unpack(entry: ItemsEntry) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows of an entry."""
    stops = (entry.remittance_stops, entry.payment_stops)
    left, right = (np.frombuffer(part, "<i8").astype(np.int64) for part in stops)
    return (
        REMITTANCE_ITEM.unpack(Block(entry.remittances, left)),
        PAYMENT_ITEM.unpack(Block(entry.payments, right)),
    )


def made_of(left: Sequence[Row], right: Sequence[Row]) -> Supply:
    """Items as `pools` makes them of rows; none is carried."""
    return _supply(
        [{"id_digest": 4, "id_offset": 1000 * n + 500, "carrier": -1, **row}
         for n, row in enumerate(left)],
        [{"id_digest": 1, "id_offset": 1000 * n, **row} for n, row in enumerate(right)],
    )  # fmt: skip


def supply_of(random: Random) -> Supply:
    """A few families of items that could be each other's, and what went wrong with them."""
    left: list[Row] = []
    right: list[Row] = []
    for number in range(random.randint(1, 4)):
        _family(random, 10 * number, left, right)
    for number, row in enumerate(right):
        row |= {"id_digest": random.choice([1, 2, 3]), "id_offset": 1000 * (number + 1)}
    entries = [row for row in right if row.get("source", 0) == 0]
    for number, row in enumerate(left):
        row |= {"id_digest": random.choice([4, 5, 6]), "id_offset": 1000 * (number + 1) + 500}
        row["carrier"] = -1
        if entries and random.random() < 0.15:
            entry = random.choice(entries)
            entry["has_remittance"] = True
            row |= {"id_digest": entry["id_digest"], "id_offset": entry["id_offset"] + 1 + number}
            row["carrier"] = entry["id_offset"]
    return _supply(left, right)


def _supply(left: list[Row], right: list[Row]) -> Supply:
    carriers = np.array([row["carrier"] for row in left], np.int64)
    plain = [{name: row[name] for name in row if name != "carrier"} for row in left]
    remits, paid = remittances(*plain), payments(*right)
    count = len(left)
    numbers = np.arange(count, dtype=np.int32)
    columns = {n: getattr(remits, n) for n in REMITTANCE_ITEM.types if hasattr(remits, n)}
    columns |= {
        "carrier_offset": carriers,
        "ordinal": numbers,
        "start": np.full(count, -1, np.int64),
        "stop": np.full(count, -1, np.int64),
        "profile": np.zeros(count, np.uint64),
        "checks": np.full(count, 255, np.uint8),
        "claims": np.ones(count, np.int32),
        "marks": np.zeros(count, np.uint8),
        "control": remits.trace,
    }
    of_payments = {n: getattr(paid, n) for n in PAYMENT_ITEM.types if hasattr(paid, n)}
    of_payments["ordinal"] = np.arange(len(right), dtype=np.int32)
    return Supply(columns, of_payments, (left, right))


def _family(random: Random, number: int, left: list[Row], right: list[Row]) -> None:
    traces, payers = random.choice(TRACES), random.sample(PAYERS, 2)
    amounts = random.sample([100, 200, 300, 400], 2)
    account = random.choice(["5566778", "5566778", f"9{number}1"])
    for place in range(random.randint(0, 3)):
        row: Row = {
            "trace": random.choice(traces),
            "payer_id": random.choice(payers),
            "paid_cents": random.choice([*amounts, *amounts, 0]),
            "effective_date": random.choice(DATES),
            "payment_method": random.choice(["ACH"] * 8 + ["CHK", "NON", "FWT", "CCC"]),
            "currency": random.choice([""] * 8 + ["CAD"]),
            "payee_account": account,
            "payee_tin": random.choice(["112223333", "112223333", "445556666"]),
            "body_hash": random.choice([0, 7000 + number + place]),
            "valid": random.random() < 0.95,
        }
        left.append(row)
        if random.random() < 0.6:
            right.append(_paid(random, row))
            _troubles(random, right[-1], right)
        if random.random() < 0.25:
            left.append({**row, "valid": random.random() < 0.8})
    for _ in range(random.randint(0, 2)):
        right.append(_payment(random, traces, payers, [*amounts, sum(amounts)], account))
        if random.random() < 0.15:
            right.append(dict(right[-1]))
        _troubles(random, right[-1], right)


def _paid(random: Random, remittance: Row) -> Row:
    """The payment that a remittance announces, and not always quite so."""
    row: Row = {
        "trace": remittance["trace"],
        "payer_id": remittance["payer_id"],
        "company_id": remittance["payer_id"],
        "amount_cents": remittance["paid_cents"] or 100,
        "settlement_date": random.choice([remittance["effective_date"], *DATES]),
        "effective_date": remittance["effective_date"],
        "account": remittance["payee_account"],
        "ach_trace": random.choice([91000010000000 + random.randrange(90), 91000010000001]),
        "valid": random.random() < 0.95,
    }
    if remittance["payment_method"] in ("CHK", "FWT"):
        row |= {**_line(random), "source": 2 if remittance["payment_method"] == "CHK" else 4}
    return row


def _payment(
    random: Random, traces: Sequence[str], payers: list[str], amounts: list[int], account: str
) -> Row:
    payer = random.choice(payers)
    row: Row = {
        "trace": random.choice(traces),
        "payer_id": payer,
        "company_id": payer,
        "amount_cents": random.choice(amounts),
        "settlement_date": random.choice(DATES),
        "effective_date": random.choice(DATES),
        "account": account,
        "ach_trace": random.choice([0, 91000010000001, 91000010000002, 91000010000003]),
        "valid": random.random() < 0.9,
    }
    if random.random() < 0.2:
        row |= _line(random)
    elif random.random() < 0.08:
        row |= {"kind": int(EntryKind.PRENOTE), "amount_cents": 0}
    return row


def _line(random: Random) -> Row:
    kinds = [1, 1, PaymentSource.CHECK, PaymentSource.DEPOSIT, PaymentSource.WIRE]
    return {
        "source": int(random.choice(kinds)),
        "ach_trace": -1,
        "report": random.choice([0, 0, 1, -1]),
        "rdfi_routing": random.choice([-1, 21000021]),
        "account": random.choice(["5566778", "005566778", ""]),
        "bank_reference": random.choice(["", "R1"]),
    }


def _troubles(random: Random, row: Row, right: list[Row]) -> None:
    """Returns, reversals, notifications and reports of a payment."""
    if row.get("source"):
        return
    kind = random.choices(["none", "return", "reversal", "change", "line"], [6, 3, 1, 1, 2])[0]
    if kind == "return":
        back = {**row, "kind": int(EntryKind.RETURN), "original_trace": row["ach_trace"]}
        back |= {"ach_trace": random.choice([5, 6]), "original_rdfi": 2100002}
        right.append(back)
        if random.random() < 0.3:
            named = {"original_trace": random.choice([-1, row["ach_trace"]])}
            refused = {"return_form": 1, "return_trace": back["ach_trace"], "ach_trace": 8}
            right.append({**back, **refused, **named})
    elif kind == "reversal":
        debit = {"entry_description": "REVERSAL", "kind": int(EntryKind.DEBIT), "ach_trace": 77}
        right.append({**row, **debit})
    elif kind == "change":
        told = {"kind": int(EntryKind.NOTIFICATION), "original_trace": row["ach_trace"]}
        right.append({**row, **told, "amount_cents": 0, "ach_trace": 78, "return_form": 3})
    elif kind == "line":
        right.append({**row, **_line(random), "source": 1, "report": 0})


# ---- the home ----


class PlainHistory(Books):
    """Books that know what was logged below a position, by the plainest means."""

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[tuple[str, Id], int] = {}
        self._business: dict[tuple[str, int], int] = {}

    def append_many(self, batches: Sequence[tuple[int, LedgerBatch]]) -> list[bool]:
        for _, batch in batches:
            for row in rows_of(batch.items, ITEM_ROW):
                one = int(row["digest"]), int(row["offset"])
                self._items.setdefault((batch.tenant, one), int(row["position"]))
                key = int(row["business_key"])
                if key:
                    self._business.setdefault((batch.tenant, key), int(row["position"]))
        return super().append_many(batches)

    def read_on(self) -> None:
        pass  # it is never behind

    def may_know(self, digests: Any, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        return np.ones(len(offsets), np.bool_)

    def may_know_business(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        return np.ones(len(keys), np.bool_)

    def known(
        self, tenant: str, digests: Any, offsets: npt.NDArray[np.int64], below_position: int
    ) -> npt.NDArray[np.bool_]:
        ids = zip(digests.tolist(), offsets.tolist(), strict=True)
        return _mask(self._items.get((tenant, one), NEVER) < below_position for one in ids)

    def ever_had(
        self, tenant: str, digests: Any, offsets: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        return self.known(tenant, digests, offsets, NEVER)

    def known_business(
        self, tenant: str, keys: npt.NDArray[np.uint64], below_position: int
    ) -> npt.NDArray[np.bool_]:
        found = (self._business.get((tenant, key), NEVER) for key in keys.tolist())
        return _mask(position < below_position for position in found)


def _mask(values: Iterator[bool]) -> npt.NDArray[np.bool_]:
    return np.array([*values], np.bool_)


class Home(World):
    """A world with a history, that may begin again at any time."""

    def __init__(self, folder: Path, settings: SettingsEntry | None, with_ledger: bool) -> None:
        super().__init__(folder)
        self.known = load_directory(DIRECTORY)
        self.books: PlainHistory = PlainHistory()
        self.ledger: Ledger | None = None
        parts = replace(self.engine._parts, ledger=self.books, book=self.books)
        parts = replace(parts, history=self.books)
        if with_ledger:
            self.ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
            both = _Both(self.ledger, self.books)
            parts = replace(parts, ledger=both, history=History(self.ledger))
        self.engine = Engine(parts)
        if settings is not None:
            self.log.settle(settings)

    def _load(self, digest: bytes) -> Directory:
        return self.known

    def restart(self) -> None:
        """Go on as a new process does: with what lies on disk."""
        parts = self.engine._parts
        if self.ledger is not None:
            parts = replace(parts, history=History(self.ledger))
        self.engine = Engine(parts)

    def close(self) -> None:
        if self.ledger is not None:
            self.ledger.close()
        super().close()


class _Both:
    """A ledger, and the plain books beside it."""

    def __init__(self, ledger: Ledger, books: Books) -> None:
        self._ledger, self._books = ledger, books

    def append_many(self, batches: Sequence[tuple[int, LedgerBatch]]) -> list[bool]:
        written = self._ledger.append_many(batches)
        new = [batch for batch, fresh in zip(batches, written, strict=True) if fresh]
        self._books.append_many(new)
        return written


def settings_of(random: Random, release_at: str = "") -> SettingsEntry:
    """Any settings. release_at : that of the rules, empty for any"""
    rules = random.choice(RULES)
    at = release_at or random.choice(["match", "clock"])
    keep = random.choice([5, 5, 8, 45])
    head = f'release_at = "{at}"\nkeep_closed_banking_days = {keep}\n'
    holidays = np.array(random.choice([[], [DAY + 1], [DAY + 3, DAY + 4]]), "<i4").tobytes()
    directory = random.choice([b"", b"", b"d" * 32])
    return SettingsEntry(random.choice(POLICIES), head + rules, directory, holidays)


# ---- what must hold ----


@dataclass
class Known:
    """What is known of a tenant by what the outbox said, and by how items were made."""

    statuses: dict[tuple[int, Id], tuple[int, int, int]] = field(default_factory=dict)
    pairs: dict[tuple[Id, Id, int], Any] = field(default_factory=dict)
    forgotten: set[Id] = field(default_factory=set)
    came: set[tuple[int, Id]] = field(default_factory=set)
    sent: dict[Id, int] = field(default_factory=lambda: defaultdict(int))
    sequence: int = 0


class BrokenError(AssertionError):
    """A law does not hold."""


def law(holds: object, text: str, *things: object) -> None:
    """Say which law is broken, and by what."""
    if not holds:
        raise BrokenError(f"{text}: {things}")


def by_id(rows: dict[str, Any], names: Sequence[str]) -> dict[Id, dict[str, Any]]:
    """Rows of items as plain values."""
    columns = [rows[name].tolist() for name in names]
    ids = zip(rows["id_digest"].tolist(), rows["id_offset"].tolist(), strict=True)
    values = zip(*columns, strict=True)
    return {one: dict(zip(names, row, strict=True)) for one, row in zip(ids, values, strict=True)}


LEFT = ("status", "flags", "reason", "paid_cents", "valid", "sendings", "release_kind",
        "body_hash", "closed_day", "effective_date", "seen_day", "position",
        "carrier_offset")  # fmt: skip
RIGHT = ("status", "flags", "reason", "amount_cents", "valid", "kind", "source", "funding",
         "settlement_date", "effective_date", "closed_day", "position")  # fmt: skip
PAIRED = ("match_id", "status", "tier", "person", "difference_cents", "standing", "reason",
          "funded")  # fmt: skip
OUT = int(ItemFlag.KNOWN_BEFORE | ItemFlag.CLOSED | ItemFlag.MOVED)
GONE = (PaymentStatus.RETURNED, PaymentStatus.REVERSED)
NO_MORE_MONEY = (*GONE, PaymentStatus.DUPLICATE, PaymentStatus.REPORTED)
SETTLED = (int(Funding.SETTLED), int(Funding.POSTED))


class View:
    """The state of a tenant in plain values."""

    def __init__(self, world: World, tenant: str) -> None:
        items = read_items(world.state, [tenant])
        self.left = by_id(items.remittances, LEFT)
        self.right = by_id(items.payments, RIGHT)
        self.pairs: dict[tuple[Id, Id, int], dict[str, Any]] = {}
        self.dormant: set[tuple[Id, Id, int]] = set()
        table = items.pairs
        lefts = zip(
            table["remittance_digest"].tolist(), table["remittance_offset"].tolist(), strict=True
        )
        rights = zip(
            table["payment_digest"].tolist(), table["payment_offset"].tolist(), strict=True
        )
        values = zip(*(table[name].tolist() for name in PAIRED), strict=True)
        for left, right, row in zip(lefts, rights, values, strict=True):
            pair = dict(zip(PAIRED, row, strict=True))
            key = left, right, pair["match_id"]
            if pair["status"]:
                self.pairs[key] = pair
            else:
                self.dormant.add(key)
        records = list(world.state.scan(tenant, [RecordKind.VETO]))
        self.vetoes = {
            ((int(r["remittance_digest"]), int(r["remittance_offset"])),
             (int(r["payment_digest"]), int(r["payment_offset"])))
            for part in records for r in _plain_rows(VETO.unpack(part.bodies))
        }  # fmt: skip

    @property
    def made(self) -> dict[tuple[Id, Id, int], dict[str, Any]]:
        return {k: p for k, p in self.pairs.items() if p["status"] == MatchStatus.AUTO}


def _plain_rows(columns: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        yield dict(zip(columns, values, strict=True))


class Laws:
    """Checks after every step of a tenant."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.known: dict[str, Known] = defaultdict(Known)
        self.released: set[Id] = set()
        self.counts: dict[str, int] = defaultdict(int)

    def check(self, tenant: str, entry: Entry, before: View, after: View) -> None:
        known, world = self.known[tenant], self.life.home
        bodies = [
            (e.sequence, decode_body(e.body))
            for e in world.state.outbox(tenant, 1000)
            if e.sequence > known.sequence
        ]
        law(bodies, "a step writes an outbox entry")
        law(bodies[0][0] == known.sequence + 1, "outbox counts on")
        known.sequence = bodies[-1][0]
        done = self._events(known, [body for _, body in bodies])
        self._told(known, after)
        self._items(known, entry, after)
        self._pairs(known, after, entry, done, before)
        self._orders(tenant, known, entry, done, [b for _, b in bodies], before, after)

    # ---- the ledger's view ----

    def _events(self, known: Known, bodies: Sequence[OutboxBody]) -> bool:
        done = False
        for body in bodies:
            batch = body.ledger
            for row in rows_of(batch.items, ITEM_ROW):
                one = int(row["side"]), (int(row["digest"]), int(row["offset"]))
                law(one not in known.came, "an item comes once", one)
                known.came.add(one)
            for row in rows_of(batch.statuses, STATUS_ROW):
                one = int(row["side"]), (int(row["digest"]), int(row["offset"]))
                was = int(row["before"]), int(row["funding_before"]), int(row["flags_before"])
                law(known.statuses.get(one, (0, 0, 0)) == was, "status rows chain", one, was)
                now = int(row["after"]), int(row["funding_after"]), int(row["flags_after"])
                known.statuses[one] = now
            for row in rows_of(batch.pairs, PAIR_ROW):
                self._pair_event(known, row)
            for answer in batch.decisions:
                done = answer.answer == DecisionAnswer.DONE
                self.counts[f"{answer.kind} {'done' if done else 'refused'}"] += 1
            gone = np.frombuffer(batch.closed, "<u8").reshape(-1, 2).tolist()
            known.forgotten |= {(digest, offset) for digest, offset in gone}
        return done

    def _pair_event(self, known: Known, row: Any) -> None:
        left = int(row["remittance_digest"]), int(row["remittance_offset"])
        right = int(row["payment_digest"]), int(row["payment_offset"])
        key = left, right, int(row["match_id"])
        if row["event"] == PairEvent.MADE:
            law(key not in known.pairs, "a pair that is there is not made again", key)
        else:
            law(key in known.pairs, "only a pair that is there changes or goes", key)
        if row["event"] == PairEvent.GONE:
            del known.pairs[key]
        else:
            known.pairs[key] = int(row["status"]), int(row["tier"]), bool(row["person"])

    def _told(self, known: Known, view: View) -> None:
        for side, rows in enumerate((view.left, view.right)):
            for one, row in rows.items():
                now = row["status"], row.get("funding", 0), row["flags"]
                law(known.statuses[side, one] == now, "the ledger ends where the state is", one)
        for key in [k for k in known.pairs if k[0] in known.forgotten]:
            law(key[1] in known.forgotten, "what is paired is forgotten together", key)
            del known.pairs[key]
        shown = {k: (p["status"], p["tier"], p["person"]) for k, p in view.pairs.items()}
        law(known.pairs == shown, "pair events give the pairs", set(known.pairs) ^ set(shown))

    def _items(self, known: Known, entry: Entry, view: View) -> None:
        here = {(0, one) for one in view.left} | {(1, one) for one in view.right}
        away = {(side, one) for side, one in known.came if one in known.forgotten}
        law(not here & away, "what is forgotten is not here")
        law(here | away == known.came, "what came is here or forgotten", known.came - here - away)
        if isinstance(entry, ItemsEntry):
            left, right = unpack(entry)
            for side, rows in enumerate((left, right)):
                for one in zip(rows["id_digest"].tolist(), rows["id_offset"].tolist(), strict=True):
                    law((side, one) in known.came, "what is logged has come", one)

    # ---- pairs ----

    def _pairs(self, known: Known, view: View, entry: Entry, done: bool, before: View) -> None:
        of_left: dict[Id, set[int]] = defaultdict(set)
        of_right: dict[Id, set[int]] = defaultdict(set)
        matches: dict[int, list[tuple[Id, Id]]] = defaultdict(list)
        made = view.made
        for (left, right, match), _ in made.items():
            of_left[left].add(match)
            of_right[right].add(match)
            matches[match].append((left, right))
        for owners, what in ((of_left, "a remittance"), (of_right, "a payment")):
            for one, owned in owners.items():
                law(len(owned) == 1, f"{what} is in one match", one, owned)
        for match, rows in matches.items():
            self._match(view, match, rows, made)
        for left, right, _ in view.pairs:
            law(left in view.left and right in view.right, "both items of a pair are here")
        for one, row in view.left.items():
            if row["status"] == RemittanceStatus.MATCHED:
                law(one in of_left, "what is MATCHED has a match", one)
            if one in of_left and not row["flags"] & int(ItemFlag.RELEASED):
                allowed = (RemittanceStatus.MATCHED, RemittanceStatus.INVALID)
                law(row["status"] in allowed, "what has a match is MATCHED", one, row)
        for one, row in view.right.items():
            matched = row["status"] in (PaymentStatus.MATCHED, PaymentStatus.PARTIAL)
            if not row["flags"] & int(ItemFlag.MOVED):
                law(matched == (one in of_right), "MATCHED is what has a match", one, row)
        self._persons(known, view, entry, done, before)

    def _match(
        self, view: View, match: int, rows: list[tuple[Id, Id]], made: dict[Any, Any]
    ) -> None:
        lefts, rights = {left for left, _ in rows}, {right for _, right in rows}
        pairs = [made[left, right, match] for left, right in rows]
        law(len({p["person"] for p in pairs}) == 1, "a match is a person's as a whole")
        law(min(len(lefts), len(rights)) == 1, "a sum has one of one side", rows)
        law(len(rows) == max(len(lefts), len(rights)), "a sum is whole", rows)
        difference = sum(view.right[one]["amount_cents"] for one in rights) - sum(
            view.left[one]["paid_cents"] for one in lefts
        )
        person = pairs[0]["person"]
        confirmed = self.life.confirmed.get(match, 0) if person else 0
        law(difference == confirmed, "a match is right to the cent", rows, difference)
        law(all(p["difference_cents"] == difference for p in pairs), "and says so", rows, pairs)
        for one in rights:
            law(view.right[one]["status"] not in NO_MORE_MONEY, "its money is there", one)
            law(view.right[one]["flags"] & OUT == 0, "its payment takes part", one)
        for one in lefts:
            law(view.left[one]["flags"] & OUT == 0, "its remittance takes part", one)
        if person:
            return
        for left, right in rows:
            law((left, right) not in view.vetoes, "no veto is made by itself", left, right)
            self._own_pair(left, right, view)

    def _own_pair(self, left: Id, right: Id, view: View) -> None:
        one, other = self.life.row(0, left), self.life.row(1, right)
        rail = {"CHK": 1, "FWT": 2}.get(one["payment_method"], 0)
        of_source = (0, 0, 1, 1, 2, 3)[other.get("source", 0)]
        law(rail == of_source, "no pair crosses rails", left, right)
        law(other.get("kind", 1) == EntryKind.CREDIT, "only credits pay", right)
        law(one.get("currency", "") in ("", "USD"), "only dollars are matched", left)
        law(one["payment_method"] not in ("NON", "CCC"), "NON and cards pair with none", left)
        status = view.left[left]["status"]
        law(status != RemittanceStatus.DUPLICATE, "a duplicate is not matched", left)

    def _persons(self, known: Known, view: View, entry: Entry, done: bool, before: View) -> None:
        undone = isinstance(entry, DecisionEntry) and done and entry.kind == "unmatch"
        for key, pair in before.made.items():
            released = before.left[key[0]]["flags"] & int(ItemFlag.RELEASED)
            stays = pair["person"] or (released and pair["standing"])
            if not stays or key in view.made or key[0] in known.forgotten:
                continue
            if undone and entry.match_id == key[2]:
                law(not before.left[key[0]]["flags"] & 2, "what was released is not undone")
                continue
            rights = [right for _, right, match in before.made if match == key[2]]
            back = any(view.right[one]["status"] in GONE for one in rights)
            law(back, "what a person made or was released stands until money goes back", key)

    # ---- releases ----

    def _orders(
        self,
        tenant: str,
        known: Known,
        entry: Entry,
        done: bool,
        bodies: Sequence[OutboxBody],
        before: View,
        view: View,
    ) -> None:
        day = self.life.day_of(tenant)
        named: set[Id] = set()
        if isinstance(entry, DecisionEntry) and done and entry.kind in ("release", "resend"):
            named = set(_ids_of(entry.remittances))
        ordered: list[Id] = []
        for body in bodies:
            if body.release is None:
                continue
            for row in np.frombuffer(body.release.items, ORDER_ROW):
                one = int(row["digest"]), int(row["offset"])
                ordered.append(one)
                sending = int(row["sending"])
                law(sending == known.sent[one] + 1, "sendings count on", one, sending)
                known.sent[one] = sending
                law(view.left[one]["flags"] & int(ItemFlag.RELEASED), "it is RELEASED", one)
                law(view.left[one]["sendings"] == sending, "the state counts along", one)
                if sending > 1:
                    law(one in named and entry.kind == "resend", "only people resend", one)
                    continue
                law(one not in self.released, "released once, whatever the tenant", one)
                self.released.add(one)
                kind = int(row["release_kind"])
                self.counts[f"released {ReleaseKind(kind).name}"] += 1
                law((kind == ReleaseKind.MANUAL) == (one in named), "by hand if named", one)
                if kind != ReleaseKind.MANUAL:
                    self._own_release(tenant, one, kind, day, entry, view, before)
        law(len(ordered) == len(set(ordered)), "once in a step")
        was = {one for one, row in before.left.items() if row["flags"] & int(ItemFlag.RELEASED)}
        is_now = {one for one, row in view.left.items() if row["flags"] & int(ItemFlag.RELEASED)}
        first = {one for one in ordered if known.sent[one] == 1}
        law(is_now - was == first, "the flag comes with the order", is_now - was, first)

    def _own_release(
        self, tenant: str, one: Id, kind: int, day: int, entry: Entry, view: View, before: View
    ) -> None:
        row, rules = view.left[one], self.life.rules(tenant)
        at_clock = isinstance(entry, ClockEntry)
        law(row["valid"], "only what is valid is released", one)
        law(row["flags"] & (OUT | int(ItemFlag.HELD)) == 0, "and not held", one, row)
        law(at_clock or rules.release_at == "match", "release_at", one)
        for hold in rules.hold:
            law(not row["paid_cents"] > hold.above_cents, "a rule holds it", one)
        for other, twin in view.left.items():
            same = twin["body_hash"] == row["body_hash"] != 0 and other != one
            if same and twin["paid_cents"] == row["paid_cents"] and twin["flags"] & OUT == 0:
                law(
                    not twin["flags"] & int(ItemFlag.RELEASED) or self.life.is_by_hand(other),
                    "of two copies one is released",
                    one,
                    other,
                )
        pairs = {key: pair for key, pair in view.made.items() if key[0] == one}
        if kind == ReleaseKind.ZERO_PAY:
            law(row["paid_cents"] == 0 and not pairs, "a zero pay expects nothing", one)
        elif kind == ReleaseKind.DEFAULT:
            law(at_clock and not pairs, "by default without money", one)
            law(row["paid_cents"] > 0, "a default expects money", one)
            days = rules.default_release_banking_days
            law(days is not None, "only where rules say so", one)
            anchor = row["effective_date"] if row["effective_date"] > -(2**31) else row["seen_day"]
            waited = self.life.banking_days(tenant, anchor, day)
            law(waited >= days, "not before its days are over", one, waited)
        else:
            law(pairs, "by match with a match", one)
            for key, pair in pairs.items():
                self._money(tenant, key, pair, day, at_clock, view, rules)

    def _money(
        self,
        tenant: str,
        key: tuple[Id, Id, int],
        pair: dict[str, Any],
        day: int,
        at_clock: bool,
        view: View,
        rules: Any,
    ) -> None:
        left, right, _ = key
        paid = view.right[right]
        law(paid["valid"] and paid["kind"] == EntryKind.CREDIT, "sound money", right)
        law(paid["funding"] in SETTLED, "money that is there", right, paid)
        if rules.funded_by == "posted":
            law(paid["funding"] == Funding.POSTED, "posted where rules say so", right)
        if paid["source"] == PaymentSource.ACH and paid["funding"] == Funding.SETTLED:
            due = self.life.settles(tenant, paid)
            law(due is not None and due <= day, "settled by the open day", right, due, day)
        if not at_clock and not pair["person"]:
            law(pair["tier"] in (Tier.T0, Tier.T1), "only the surest at once", key, pair)
        if pair["person"] or len([k for k in view.made if k[2] == key[2]]) > 1:
            return
        self._unique(left, right, pair, view)

    def _unique(self, left: Id, right: Id, pair: dict[str, Any], view: View) -> None:
        """No other open row says just the same: trace, payer, cents, account, day."""
        if pair["tier"] == Tier.T0:
            return
        mine, its = self.life.row(0, left), self.life.row(1, right)
        for one, row in view.right.items():
            other = self.life.row(1, one)
            if one == right or row["flags"] & OUT or not row["valid"]:
                continue
            waits = row["status"] in (PaymentStatus.UNMATCHED, PaymentStatus.SUGGESTED)
            same = _same(other, its, ("trace", "payer_id", "amount_cents", "account", "source",
                                      "settlement_date", "effective_date", "kind"))  # fmt: skip
            vetoed = (left, one) in view.vetoes
            carried = other.get("has_remittance", False)
            law(not (waits and same) or vetoed or carried, "no other payment fits", right, one)
        for one, row in view.left.items():
            if one == left or row["flags"] & OUT or not row["valid"]:
                continue
            waits = row["status"] in (RemittanceStatus.AWAITING_EFT, RemittanceStatus.PROBABLE)
            same = _same(self.life.row(0, one), mine, (
                "trace", "payer_id", "paid_cents", "payee_account", "effective_date", "payee_tin",
                "currency", "payment_method",
            ))  # fmt: skip
            vetoed = (one, right) in view.vetoes
            carried = self.life.row(0, one)["carrier"] >= 0
            law(not (waits and same) or vetoed or carried, "no other 835 fits", left, one)


def _same(one: Row, other: Row, names: Sequence[str]) -> bool:
    return all(one.get(name) == other.get(name) for name in names)


def _ids_of(data: bytes) -> list[Id]:
    parts = np.frombuffer(data, "<u8").reshape(-1, 2).tolist()
    return [(digest, offset) for digest, offset in parts]


def id_of(one: Id) -> bytes:
    """The 16 bytes of an id."""
    return id_bytes(np.array([one[0]], np.uint64), np.array([one[1]], np.int64)).tobytes()


# ---- a life ----


class Life:
    """A home, its items, and what happens to it, as a seed says."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        settings: SettingsEntry | None = None,
        decides: bool = True,
        with_ledger: bool = False,
        moments: Sequence[str] = (),
        release_at: str = "",
    ) -> None:
        self.random = Random(seed)
        moments = moments or MOMENTS[: self.random.choice([3, 4, 6, 8, 12, 18])]
        self.supply = supply_of(self.random)
        self.decides = decides
        self.moments = moments
        self.release_at = release_at
        settings = settings or settings_of(self.random, release_at)
        self.home = Home(folder, settings, with_ledger)
        self.laws = Laws(self)
        self.confirmed: dict[int, int] = {}
        self.steps = 0
        self._rows = [
            {(row["id_digest"], row["id_offset"]): row for row in rows} for rows in self.supply.rows
        ]
        self._by_hand: set[Id] = set()
        self._decisions = 0
        self._views: dict[str, View] = {}

    def row(self, side: int, one: Id) -> Row:
        """How an item was made."""
        return self._rows[side][one]

    def is_by_hand(self, one: Id) -> bool:
        """Whether a person had released or reopened it."""
        return one in self._by_hand

    # ---- what holds now ----

    def _record(self, tenant: str) -> Any:
        return self.home.engine._matcher(tenant).record

    def rules(self, tenant: str) -> Any:
        """The rules that a tenant has now."""
        return self._record(tenant).rules()

    def day_of(self, tenant: str) -> int:
        """The open day."""
        return int(self._record(tenant).day)

    def settles(self, tenant: str, paid: dict[str, Any]) -> int | None:
        """The day on which an entry settles, by the plainest means."""
        if paid["settlement_date"] > -(2**31):
            return int(paid["settlement_date"])
        if paid["effective_date"] == -(2**31):
            return None
        day = int(paid["effective_date"])
        while not self._is_banking_day(tenant, day):
            day += 1
        return day

    def _is_banking_day(self, tenant: str, day: int) -> bool:
        holidays = np.frombuffer(self._record(tenant).settings.holidays, "<i4").tolist()
        return (day + 3) % 7 < 5 and day not in holidays

    def banking_days(self, tenant: str, start: int, stop: int) -> int:
        """Banking days from a day, rolled forward, to another."""
        law(start > -(2**31), "what waits has come on some day")
        while not self._is_banking_day(tenant, start):
            start += 1
        return sum(self._is_banking_day(tenant, day) for day in range(start + 1, stop + 1))

    # ---- what happens ----

    def go(self) -> None:
        """Live through all of it, and check every step."""
        random = self.random
        counts = len(self.supply.rows[0]), len(self.supply.rows[1])
        waiting = [(0, n) for n in range(counts[0])] + [(1, n) for n in range(counts[1])]
        random.shuffle(waiting)
        part = max(1, len(waiting) * 2 // len(self.moments))
        for moment in self.moments:
            for _ in range(random.choice([0, 1, 2])):
                size = random.randint(1, part)
                some, waiting = waiting[:size], waiting[size:]
                if some:
                    self._arrive(some)
                elif random.random() < 0.3:
                    self._again()
                self._meanwhile()
            if random.random() < 0.85:
                self.home.engine.tick(parse_as_of(moment))
                self._meanwhile()
        self._arrive(waiting)
        last = self.moments[-1][:10]
        self.home.engine.tick(parse_as_of(f"{last}T21:00"))
        self.settle()

    def _arrive(self, some: Sequence[tuple[int, int]]) -> None:
        for tenant in TENANTS:
            chosen = [s for s in some if self._tenant_of(*s) == tenant]
            left = [number for side, number in chosen if side == 0]
            right = [number for side, number in chosen if side == 1]
            if left or right:
                self.home.log.append([(tenant, self.supply.entry(left, right))])

    def _tenant_of(self, side: int, number: int) -> str:
        row = self.supply.rows[side][number]
        account = row["account" if side else "payee_account"]
        return "south" if account in ("911", "9201") else "north"

    def _again(self) -> None:
        """A file comes again."""
        tenants = self.home.log.tenants()
        if not tenants:
            return
        tenant = self.random.choice(sorted(tenants))
        entries = [
            logged.entry
            for logged in self.home.log.read(tenant, 0, 1000)
            if isinstance(logged.entry, ItemsEntry)
        ]
        if entries:
            self.home.log.append([(tenant, self.random.choice(entries))])

    def _meanwhile(self) -> None:
        random = self.random
        if self.decides and random.random() < 0.06:
            self.home.log.settle(settings_of(random, self.release_at))
        if random.random() < 0.7:
            self.settle()
        if self.decides:
            for _ in range(random.choice([0, 0, 1, 1, 2])):
                self._decide()
                if random.random() < 0.7:
                    self.settle()
        if random.random() < 0.1:
            self.home.restart()
            self._views.clear()

    def settle(self) -> None:
        """Make all steps, each checked, and publish now and then."""
        while True:
            marks = {t: self.home.state.mark(t) for t in self.home.log.tenants()}
            views = {t: self._view(t) for t in marks}
            if self.home.engine.match(1):
                for tenant in [t for t in marks if self.home.state.mark(t) != marks[t]]:
                    self._stepped(tenant, views[tenant])
            elif not self.home.engine.publish():
                law(self.home.engine.is_matched(), "nothing waits for nothing")
                return
            if self.random.random() < 0.3:
                self.home.engine.publish()

    def _view(self, tenant: str) -> View:
        if tenant not in self._views:
            self._views[tenant] = View(self.home, tenant)
        return self._views[tenant]

    def _stepped(self, tenant: str, before: View) -> None:
        self.steps += 1
        mark = self.home.state.mark(tenant)
        (logged,) = self.home.log.read(tenant, mark - 1, 1)
        view = self._views[tenant] = View(self.home, tenant)
        for (_, _, match), pair in view.pairs.items():
            if pair["person"] and isinstance(logged.entry, DecisionEntry):
                self.confirmed.setdefault(match, logged.entry.difference_cents)
        if isinstance(logged.entry, DecisionEntry) and logged.entry.kind in ("release", "reopen"):
            self._by_hand |= set(_ids_of(logged.entry.remittances))
        self.laws.check(tenant, logged.entry, before, view)

    # ---- decisions ----

    def _decide(self) -> None:
        tenants = sorted(self.home.log.tenants())
        if not tenants:
            return
        random, tenant = self.random, self.random.choice(tenants)
        view = View(self.home, tenant)
        kind = random.choice(KINDS)
        left = random.sample(sorted(view.left), min(len(view.left), random.choice([1, 1, 1, 2])))
        right = random.sample(sorted(view.right), min(len(view.right), random.choice([1, 1, 2])))
        pairs = sorted(view.pairs)
        match = 0
        if kind == "match" and pairs and random.random() < 0.7:
            one = random.choice(pairs)
            left = sorted({k[0] for k in pairs if k[2] == one[2]})
            right = sorted({k[1] for k in pairs if k[2] == one[2]})
        if kind == "unmatch":
            made = [k for k in sorted(view.made) if not view.left[k[0]]["flags"] & 2] or pairs
            match = random.choice(made)[2] if made else 7
        if kind == "resend" and random.random() < 0.8:
            left = [one for one in left if view.left[one]["flags"] & 2]
        if kind == "suspense":
            left = []
        elif kind not in ("match", "reopen", "move"):
            right = []
        difference = sum(view.right[one]["amount_cents"] for one in right) - sum(
            view.left[one]["paid_cents"] for one in left
        )
        self._decisions += 1
        entry = DecisionEntry(
            kind, f"n{self._decisions}", "somebody", "looked into",
            b"" if kind in ("unmatch", "alias") else b"".join(map(id_of, left)),
            b"" if kind in ("unmatch", "alias") else b"".join(map(id_of, right)),
            match_id=match,
            payers=tuple(random.sample(sorted(set(PAYERS)), 2)) if kind == "alias" else (),
            difference_cents=(
                0 if kind != "match" or random.random() < 0.2 else difference
            ),
        )  # fmt: skip
        if kind != "move":
            self.home.log.append([(tenant, entry)])
            return
        self._move(tenant, entry, left, right)

    def _move(self, tenant: str, entry: DecisionEntry, left: list[Id], right: list[Id]) -> None:
        target = TENANTS[1 - TENANTS.index(tenant)]
        asked = Asked()
        asked.remittances += [id_of(one) for one in left]
        asked.payments += [id_of(one) for one in right]
        with suppress(AskingError):
            check_never_there(self.home.state, self.home.books.ever_had, target, [asked])
            self.home.log.append([(tenant, structs.replace(entry, tenant=target))])


# ---- the same log once more ----


def again(life: Life, folder: Path, random: Random | None) -> Home:
    """Another home that lived through the same logs; with `random`, what came between two other
    entries came in another order and in other pieces."""
    home = Home(folder, None, with_ledger=False)
    for tenant in sorted(life.home.log.tenants()):
        entries = [logged.entry for logged in life.home.log.read(tenant, 0, 100_000)]
        for entry in entries if random is None else _rearranged(entries, random):
            home.log._log.append([(tenant, entry)])
    while home.engine.match(1) or home.engine.publish():
        pass
    law(home.engine.is_matched(), "the same logs are lived through again")
    return home


def _rearranged(entries: Sequence[Entry], random: Random) -> Iterator[Entry]:
    waiting: list[ItemsEntry] = []
    for entry in [*entries, None]:
        if isinstance(entry, ItemsEntry):
            waiting.append(entry)
            continue
        if waiting:
            yield from _pieces(waiting, random)
            waiting = []
        if entry is not None:
            yield entry


def _pieces(entries: Sequence[ItemsEntry], random: Random) -> Iterator[ItemsEntry]:
    """The items of some entries, shuffled and cut anywhere."""
    parts = [unpack(entry) for entry in entries]
    left = REMITTANCE_ITEM.concat([REMITTANCE_ITEM.empty(), *(part[0] for part in parts)])
    right = PAYMENT_ITEM.concat([PAYMENT_ITEM.empty(), *(part[1] for part in parts)])
    both = [(0, n) for n in range(len(left["ordinal"]))]
    both += [(1, n) for n in range(len(right["ordinal"]))]
    random.shuffle(both)
    while both:
        size = random.choice([1, 1, 2, 3, len(both)])
        some, both = both[:size], both[size:]
        rows = [np.array([n for side, n in some if side == which], np.int64) for which in (0, 1)]
        yield pack(take(left, rows[0]), take(right, rows[1]))


def outcome(home: Home) -> dict[str, Any]:
    """What became of everything, without what tells of the order in which it came."""
    found: dict[str, Any] = {}
    for tenant in sorted(home.log.tenants()):
        view = View(home, tenant)
        for rows in (view.left, view.right):
            for row in rows.values():
                del row["position"]
        found[tenant] = view.left, view.right, view.pairs, view.dormant, view.vetoes
    found["released"] = sorted(home.books.released_rows().tolist())
    return found


def dumps(home: Home) -> dict[str, bytes]:
    """The states, byte for byte."""
    return {tenant: home.state.dump(tenant) for tenant in sorted(home.log.tenants())}
