"""What holds of the engine whatever comes: a log replayed gives the same state, status changes
chain, what is released is released once, and no cent is lost.

The log is a walk: files of every kind, openings and closes, settings, and decisions of all kinds
about items that may or may not be fit for them.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from blake3 import blake3
from case_files import Entry, Line, Remit, ach, bai2, era, returned, reversal
from engine_world import Books, World

from reassoc.core.directory import Directory, load_directory
from reassoc.core.statuses import PaymentStatus, RemittanceStatus
from reassoc.stream import decisions, rerouting
from reassoc.stream import matcher as matcher_module
from reassoc.stream.engine import Engine
from reassoc.stream.home_tables import HomeItems, read_items
from reassoc.stream.item_log import DecisionEntry
from reassoc.stream.items import ItemFlag, RecordKind, id_bytes
from reassoc.stream.ledger_rows import (
    ITEM_ROW,
    STATUS_ROW,
    DecisionAnswer,
    LedgerBatch,
    decode_body,
    rows_of,
)
from reassoc.stream.live import Live
from reassoc.stream.matcher import Matcher
from reassoc.stream.routing import QUARANTINE, Router
from reassoc.stream.sqlite_file import SqliteFile, StoreError
from reassoc.stream.state import FencedError
from reassoc.stream.state_sqlite import SqliteState

NORTH = """
[[payees]]
tenant = "north"
name = "RIVER CLINIC"
npis = ["1999999984"]
tins = ["112223333"]
accounts = [{ routing = "021000021", account = "5566778" }]
"""
SOUTH = """
[[payees]]
tenant = "south"
name = "LAKE CLINIC"
npis = ["1888888883"]
tins = ["445556666"]
accounts = [{ routing = "021000021", account = "9988776" }]
"""
RULES = (
    "keep_closed_banking_days = 5\ndefault_release_banking_days = 6\n",
    "keep_closed_banking_days = 5\n[[hold]]\nabove_cents = 50000\n",
    'release_at = "clock"\nkeep_closed_banking_days = 8\n',
)
KINDS = (
    "match", "match", "match", "unmatch", "unmatch", "release", "resend", "hold", "unhold",
    "void", "suspense", "reopen", "alias",
)  # fmt: skip
DAYS = tuple(
    f"2026-{day}T{time}"
    for day in ("03-16", "03-17", "03-18", "03-19", "03-20", "03-24", "03-27", "04-03", "04-10")
    for time in ("12:00", "20:00")
)


class _Home(World):
    """A world that knows several directories."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.directories: dict[bytes, Directory] = {}
        super().__init__(folder, **options)

    def _load(self, digest: bytes) -> Directory:
        return self.directories[digest]

    def restart(self) -> None:
        """Go on as a new process does: with what lies on disk."""
        self.engine = Engine(self.engine._parts)

    def use(self, *, rules: str, directory: str) -> None:
        """New settings."""
        digest = blake3(directory.encode()).digest()
        self.directories[digest] = load_directory(directory)
        self.router = Router(self.directories[digest])
        assert self.log.settings is not None
        settings = msgspec.structs.replace(self.log.settings, rules=rules, directory=digest)
        self.log.settle(settings)


class Walk:
    """A home that lives through everything, as a seed says."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.world = _Home(folder / "world")
        self.world.use(rules=RULES[0], directory=NORTH)
        self.decision_count = 0
        self._folder = folder
        self._file_count = 0

    def go(self) -> None:
        """Two weeks and more: files in between, decisions, settings, and what follows."""
        files = self.random.permutation(np.array(_files(), dtype=object)).tolist()
        parts = np.array_split(np.arange(len(files)), len(DAYS))
        for number, (moment, part) in enumerate(zip(DAYS, parts, strict=True)):
            for few in np.array_split(part, 2):
                self.feed([files[place] for place in few.tolist()])
                self.decide(int(self.random.integers(0, 5)))
            if number in (4, 9):
                self.world.use(rules=RULES[number % 5 % 2 + 1], directory=NORTH + SOUTH)
            self.world.tick(moment)
            self.decide(int(self.random.integers(0, 5)))

    def feed(self, files: Sequence[bytes]) -> None:
        """Take files in as one."""
        paths = []
        for data in files:
            self._file_count += 1
            paths.append(self._folder / f"{self._file_count:03d}.txt")
            paths[-1].write_bytes(data)
        if paths:
            self.world.feed(self.world.sources(*paths))
            self.world.settle()

    def decide(self, count: int) -> None:
        """Ask for anything, whether it can be done or not."""
        for _ in range(count):
            tenants = sorted(self.world.log.tenants())
            if tenants:
                tenant = tenants[int(self.random.integers(len(tenants)))]
                self.world.log.append([(tenant, self._decision(tenant))])
                self.decision_count += 1
                self.world.settle()

    def _decision(self, tenant: str) -> DecisionEntry:
        kind = KINDS[int(self.random.integers(len(KINDS)))]
        items = read_items(self.world.state, [tenant])
        pairs = items.pairs["match_id"]
        left, right = self._some(items.remittances), self._some(items.payments)
        if kind == "match" and len(pairs) and self.random.random() < 0.7:
            row = int(self.random.integers(len(pairs)))
            left, right = (_ids_of(items.pairs, side)[row] for side in ("remittance", "payment"))
        if kind == "suspense":
            left = b""
        elif kind not in ("match", "reopen"):
            right = b""
        difference = int(self.random.choice([0, *[_difference(items, left, right)] * 4]))
        return DecisionEntry(
            kind, f"n{self.decision_count}", "somebody", "looked into",
            b"" if kind in ("unmatch", "alias") else left, right,
            match_id=int(self.random.choice(pairs)) if kind == "unmatch" and len(pairs) else 0,
            payers=("1234567890", "1555555555") if kind == "alias" else (),
            difference_cents=difference,
        )  # fmt: skip

    def _some(self, rows: dict[str, Any]) -> bytes:
        ids = id_bytes(rows["id_digest"], rows["id_offset"])
        count = min(len(ids), int(self.random.choice([1, 1, 1, 2])))
        chosen = self.random.permutation(len(ids))[:count]
        return b"".join(ids[row].tobytes() for row in chosen.tolist())


def _ids_of(pairs: dict[str, Any], side: str) -> list[bytes]:
    ids = id_bytes(pairs[f"{side}_digest"], pairs[f"{side}_offset"])
    return [row.tobytes() for row in ids]


def _difference(items: HomeItems, left: bytes, right: bytes) -> int:
    """Payments less remittances."""
    sums = []
    for rows, wanted, name in (
        (items.payments, right, "amount_cents"),
        (items.remittances, left, "paid_cents"),
    ):
        ids = [row.tobytes() for row in id_bytes(rows["id_digest"], rows["id_offset"])]
        chosen = {wanted[start : start + 16] for start in range(0, len(wanted), 16)}
        sums.append(sum(int(rows[name][row]) for row, one in enumerate(ids) if one in chosen))
    return sums[0] - sums[1]


def _files() -> list[bytes]:
    """Files of payments of every kind."""
    files = []
    for number in range(26):
        trace, cents = f"T{number:03d}", 10_000 + 4_000 * number
        day = DAYS[number % len(DAYS)][2:10].replace("-", "")
        south = number % 5 == 4
        payee = {"npi": "1888888883", "tin": "445556666"} if south else {}
        account = "9988776" if south else "5566778"
        remit = Remit(trace, (cents,), day=f"20{day}", account=account, **payee)
        paid = Entry(
            cents, trace, number=zlib.crc32(trace.encode()) % 900_000 + 1, effective=day,
            account=account,
        )  # fmt: skip
        files += [era(remit), ach(paid)]
        files += _more(number % 13, remit, paid)
    return files


def _more(case: int, remit: Remit, paid: Entry) -> list[bytes]:
    """What comes beside an 835 and its payment."""
    back = returned(paid, effective="260324")
    memo = f"EXAMPLE HEALTH DES:HCCLAIMPMT CCD PMT INFO:TRN*1*{paid.trace}*1234567890\\"
    cases: dict[int, list[bytes]] = {
        0: [ach(back, created="260320")],
        1: [ach(reversal(paid, effective="260320"), created="260320")],
        2: [era(remit, number=2)],
        3: [era(replace(remit, claims=(remit.cents - 100, 100)))],
        4: [era(replace(remit, trace=f"Z{remit.trace}", claims=()))],
        5: [bai2(Line(cents=paid.cents, text=memo), day=f"{paid.effective}")],
        6: [ach(back, created="260320"), ach(replace(paid, number=paid.number + 1))],
        7: [era(replace(remit, trace=f"B{remit.trace}", claims=(cents,)))
            for cents in (700, 800, 900)]
        + [ach(replace(paid, trace=f"B{remit.trace}", cents=2400, number=paid.number + 2))],
        8: [era(replace(remit, method="CHK", trace=f"9{remit.trace[1:]}"))],
        9: [ach(replace(paid, cents=0, code=23, number=paid.number + 3))],
        10: [ach(replace(paid, cents=paid.cents - 300, number=paid.number + 4))],
        11: [era(replace(remit, payer="1555555555", trace=f"P{remit.trace}")),
             ach(replace(paid, trace=f"P{remit.trace}", number=paid.number + 5))],
    }  # fmt: skip
    return cases.get(case, [])


@pytest.fixture(params=[1, 2])
def walk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Walk]:
    """One that has gone all its way."""
    walk = Walk(tmp_path, request.param)
    try:
        walk.go()
        yield walk
    finally:
        walk.world.close()


def _batches(world: World, tenant: str) -> list[LedgerBatch]:
    return [batch for _, batch in world.books.batches if batch.tenant == tenant]


def _everything(batches: Sequence[LedgerBatch], name: str, kind: np.dtype[Any]) -> np.ndarray:
    return np.concatenate([np.zeros(0, kind), *(rows_of(getattr(b, name), kind) for b in batches)])


def test_every_law_holds(walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = walk.world
    check_kinds(walk)
    check_releases(world)
    for tenant, read_max in zip(sorted(world.log.tenants()), (1, 64, 7), strict=False):
        check_chain(world, tenant)
        check_conservation(world, tenant)
        monkeypatch.setattr(matcher_module, "READ_ENTRIES_MAX", read_max)
        check_replay(world, tenant, tmp_path / f"{read_max}.db")


def check_kinds(walk: Walk) -> None:
    """The walk saw what it is for."""
    answers = Counter(
        row.answer for _, batch in walk.world.books.batches for row in batch.decisions
    )
    assert min(answers[DecisionAnswer.DONE], answers[DecisionAnswer.REFUSED]) > 3
    assert len(walk.world.books.released_rows()) > 5
    assert any(len(rows_of(b.alerts, np.dtype("u1"))) for _, b in walk.world.books.batches)
    assert any(b.closed for _, b in walk.world.books.batches)


def check_chain(world: World, tenant: str) -> None:
    """What a row says was before is what the item's last row said; the state is where it ends."""
    last: dict[tuple[int, int, int], tuple[int, int, int]] = {}
    for row in _everything(_batches(world, tenant), "statuses", STATUS_ROW):
        key = int(row["side"]), int(row["digest"]), int(row["offset"])
        before = int(row["before"]), int(row["funding_before"]), int(row["flags_before"])
        assert before == last.get(key, (0, 0, 0))
        last[key] = int(row["after"]), int(row["funding_after"]), int(row["flags_after"])
    items = read_items(world.state, [tenant])
    for side, rows in enumerate((items.remittances, items.payments)):
        funding = rows.get("funding", np.zeros(len(rows["status"]), np.uint8))
        ids = zip(rows["id_digest"].tolist(), rows["id_offset"].tolist(), strict=True)
        for row, one in enumerate(ids):
            now = int(rows["status"][row]), int(funding[row]), int(rows["flags"][row])
            assert last[(side, *one)] == now


def check_conservation(world: World, tenant: str) -> None:
    """The cents of what came are those of what is there by any status, and of what was closed."""
    batches = _batches(world, tenant)
    came = {
        (int(row["side"]), int(row["digest"]), int(row["offset"])): int(row["cents"])
        for row in _everything(batches, "items", ITEM_ROW)
    }
    closed = np.frombuffer(b"".join(batch.closed for batch in batches), "<u8").reshape(-1, 2)
    gone = {(int(digest), int(offset)) for digest, offset in closed}
    items = read_items(world.state, [tenant])
    for side, rows, name in (
        (0, items.remittances, "paid_cents"),
        (1, items.payments, "amount_cents"),
    ):
        by_status: Counter[int] = Counter()
        for status, cents in zip(rows["status"].tolist(), rows[name].tolist(), strict=True):
            by_status[status] += cents
        forgotten = sum(cents for key, cents in came.items() if key[0] == side and key[1:] in gone)
        total = sum(cents for key, cents in came.items() if key[0] == side)
        assert sum(by_status.values()) + forgotten == total


def check_releases(world: World) -> None:
    """Each order is of an item that is RELEASED, each sending of it once, in whatever tenant."""
    rows = world.books.released_rows()
    sendings = Counter(zip(rows["digest"].tolist(), rows["offset"].tolist(), strict=True))
    numbered = {(int(r["digest"]), int(r["offset"]), int(r["sending"])) for r in rows}
    assert len(numbered) == len(rows)
    turned: Counter[tuple[int, int]] = Counter()
    for _, batch in world.books.batches:
        for row in rows_of(batch.statuses, STATUS_ROW):
            if row["flags_after"] & ~row["flags_before"] & int(ItemFlag.RELEASED):
                turned[int(row["digest"]), int(row["offset"])] += 1
    assert set(turned) == set(sendings)
    assert set(turned.values()) <= {1}
    items = read_items(world.state, world.state.tenants())
    left = items.remittances
    ids = list(zip(left["id_digest"].tolist(), left["id_offset"].tolist(), strict=True))
    for row, one in enumerate(ids):
        if not left["flags"][row] & int(ItemFlag.MOVED):
            assert sendings.get(one, 0) == left["sendings"][row]


def check_replay(world: World, tenant: str, path: Path) -> None:
    """The log makes the same state again, byte for byte, and tells the ledger the same."""
    file = SqliteFile(path)
    try:
        state = SqliteState(file)
        matcher = _matcher(world, tenant, state)
        told: list[LedgerBatch] = []
        while matcher.step() or told_more(state, tenant, told):
            pass
        assert state.dump(tenant) == world.state.dump(tenant)
        assert told == _batches(world, tenant)
    finally:
        file.close()


def told_more(state: SqliteState, tenant: str, told: list[LedgerBatch]) -> bool:
    """Take the outbox; whether there was anything."""
    entries = state.outbox(tenant, 1000)
    if entries:
        told += [decode_body(entry.body).ledger for entry in entries]
        state.acknowledge(tenant, entries[-1].sequence)
    return bool(entries)


def _matcher(world: World, tenant: str, state: SqliteState) -> Matcher:
    return Matcher(tenant, log=world.log, state=state, history=Books(), load_directory=world._load)


# ---- what changes nothing ----


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A remittance that was released, one that waits, a payment that waits, one that went back."""
    world = World(tmp_path / "world")
    gone = Entry(700, "R1", number=9, effective="260316")
    files = [
        era(Remit("A1", (500,), day="20260316")),
        ach(Entry(500, "A1", number=1, effective="260316")),
        era(Remit("W1", (900,), day="20260316")),
        ach(Entry(650, "X1", number=3, effective="260316")),
        ach(gone),
        ach(returned(gone, effective="260317"), created="260317"),
    ]
    try:
        paths = [tmp_path / f"{number}.txt" for number in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(data)
        world.feed(world.sources(*paths))
        world.tick("2026-03-17T12:00")
        assert len(world.books.released_rows()) == 1
        yield world
    finally:
        world.close()


def _by_trace(world: World, side: str, trace: bytes) -> bytes:
    rows = getattr(read_items(world.state, ["default"]), side)
    row = [rows["trace"].raw(row) for row in range(len(rows["trace"]))].index(trace)
    return id_bytes(rows["id_digest"], rows["id_offset"])[row].tobytes()


REFUSED: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("hold", ("A1",), {}),
    ("release", ("A1",), {}),
    ("void", ("A1",), {}),
    ("resend", ("W1",), {}),
    ("reopen", ("W1",), {}),
    ("match", ("W1", "X1"), {}),
    ("match", ("A1", "X1"), {"difference_cents": 150}),
    ("match", ("W1", "R1"), {"difference_cents": -200}),
    ("suspense", ("R1",), {}),
    ("suspense", ("W1",), {}),
    ("unmatch", (), {"match_id": 7}),
    ("alias", (), {"payers": ("1234567890",)}),
    ("move", ("A1",), {"tenant": "north"}),
]


@pytest.mark.parametrize(("kind", "names", "more"), REFUSED)
def test_a_refused_decision_changes_nothing(
    world: World, kind: Any, names: tuple[str, ...], more: dict[str, Any]
) -> None:
    left = [_by_trace(world, "remittances", n.encode()) for n in names if n in ("A1", "W1")]
    right = [_by_trace(world, "payments", n.encode()) for n in names if n in ("X1", "R1")]
    entry = DecisionEntry(kind, "n1", "me", "why", b"".join(left), b"".join(right), **more)
    before, count = world.state.dump("default"), len(world.books.batches)
    world.log.append([("default", entry)])
    world.settle()
    assert world.state.dump("default")[8:] == before[8:], "behind the mark"
    (_, batch), *others = world.books.batches[count:]
    assert others == []
    assert [row.answer for row in batch.decisions] == [DecisionAnswer.REFUSED]
    assert batch.decisions[0].refusal
    tables = batch.items, batch.statuses, batch.pairs, batch.links, batch.alerts
    assert tables == (b"",) * 5


def test_a_decision_that_no_item_can_follow_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Should a decision ever ask for a status that an item cannot have, its tenant goes on.
    def void(live: Live, left: Any, _: Any) -> None:
        live.remittances.rows["flags"][left] |= np.uint16(ItemFlag.CLOSED)
        live.remittances.rows["status"][left] = RemittanceStatus.RELEASED

    monkeypatch.setattr(decisions, "_void", void)
    entry = DecisionEntry("void", "n1", "me", "why", _by_trace(world, "remittances", b"W1"), b"")
    before = world.state.dump("default")
    world.log.append([("default", entry)])
    world.settle()
    assert world.state.dump("default")[8:] == before[8:]
    _, batch = world.books.batches[-1]
    assert "without the flag of it; nothing was changed" in batch.decisions[0].refusal


def test_a_matcher_whose_claim_was_taken_over_stops(world: World, tmp_path: Path) -> None:
    old = Matcher(
        "default", log=world.log, state=world.state, history=Books(), load_directory=world._load
    )
    new = Matcher(
        "default", log=world.log, state=world.state, history=Books(), load_directory=world._load
    )
    left = _by_trace(world, "remittances", b"W1")
    world.log.append([("default", DecisionEntry("hold", "n1", "me", "why", left))])
    before = world.state.dump("default"), world.state.outbox("default", 10)
    with pytest.raises(FencedError):
        old.step()
    assert (world.state.dump("default"), world.state.outbox("default", 10)) == before
    assert new.step()
    assert world.state.dump("default") != before[0]


def test_an_unmatch_raises_the_generation_and_leaves_a_veto(world: World, tmp_path: Path) -> None:
    paths = [tmp_path / "later.835", tmp_path / "later.ach"]
    paths[0].write_bytes(era(Remit("L1", (800,), day="20260320")))
    paths[1].write_bytes(ach(Entry(800, "L1", number=50, effective="260320")))
    world.feed(world.sources(*paths))
    world.settle()
    left, right = _by_trace(world, "remittances", b"L1"), _by_trace(world, "payments", b"L1")
    pairs = read_items(world.state, ["default"]).pairs
    made = pairs["match_id"][_ids_of(pairs, "remittance").index(left)]
    world.log.append([("default", DecisionEntry("unmatch", "n1", "me", "w", match_id=int(made)))])
    world.tick("2026-03-19T20:00")
    for side, one, matched in (
        ("remittances", left, RemittanceStatus.MATCHED),
        ("payments", right, PaymentStatus.MATCHED),
    ):
        rows = getattr(read_items(world.state, ["default"]), side)
        row = [i.tobytes() for i in id_bytes(rows["id_digest"], rows["id_offset"])].index(one)
        assert rows["generation"][row] == 1
        assert rows["status"][row] != matched
    assert len(next(world.state.scan("default", [RecordKind.VETO]))) == 1
    world.log.append([("default", DecisionEntry("match", "n2", "me", "why", left, right))])
    world.tick("2026-03-20T12:00")
    assert len(world.books.released_rows()) == 2


# ---- out of the quarantine ----


def _lost(folder: Path, count: int) -> list[Path]:
    """Files of 835s and payments of the south."""
    south = {"npi": "1888888883", "tin": "445556666", "account": "9988776", "day": "20260317"}
    paths = []
    for number in range(count):
        trace = f"S{number}"
        paid = Entry(
            100 + number, trace, number=number + 1, effective="260317", account="9988776"
        )  # fmt: skip
        for kind, data in (
            ("835", era(Remit(trace, (100 + number,), **south))),
            ("ach", ach(paid)),
        ):
            paths.append(folder / f"{number}.{kind}")
            paths[-1].write_bytes(data)
    return paths


def test_the_quarantine_is_left_once_whatever_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerouting, "MOVE_ITEMS_MAX", 3)
    home = _Home(tmp_path / "world")
    try:
        home.use(rules="", directory=NORTH)
        home.feed(home.sources(*_lost(tmp_path, 4)))
        home.tick("2026-03-17T12:00")
        assert list(home.log.tenants()) == [QUARANTINE]
        assert len(home.books.released_rows()) == 0
        home.use(rules="", directory=NORTH + SOUTH)
        append, count = home.log.append, 0

        def crash(entries: Any) -> list[int]:
            nonlocal count
            count += 1
            if count == 2:
                raise StoreError("the disk is full")
            positions = append(entries)
            return positions

        monkeypatch.setattr(home.log, "append", crash)
        with pytest.raises(StoreError):
            home.settle()
        monkeypatch.setattr(home.log, "append", append)
        home.restart()
        home.settle()
        home.tick("2026-03-17T20:00")
        left = read_items(home.state, ["south"])
        assert len(left.remittances["status"]) == len(left.payments["status"]) == 4
        assert len(home.books.released_rows()) == 4
        moves = [row for _, b in home.books.batches for row in b.decisions]
        assert {(row.kind, row.answer) for row in moves} == {("move", DecisionAnswer.DONE)}
        assert sum(row.item_count for row in moves) == 8
        home.restart()
        home.tick("2026-03-18T12:00")
        again = [row for _, b in home.books.batches for row in b.decisions]
        assert again == moves
    finally:
        home.close()
