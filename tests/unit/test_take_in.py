"""One input into the warehouse: what is logged, what is not, and what a crash leaves."""

from __future__ import annotations

import functools
import gzip
import io
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from pools import payments
from small_feed import TWO_TENANTS, Entry, ach_file, interchange, remittance
from taking import CrashError, FakeLog, FakeVault, Faults, ids_of, logged_rows, rows_of, sources_of

from reassoc.core.columns import TextColumn
from reassoc.core.directory import load_directory
from reassoc.core.pool import PaymentColumns
from reassoc.core.x12_835 import iter_835
from reassoc.stream import contents, intake, item_rows, take_in
from reassoc.stream.contents import close_archives
from reassoc.stream.intake import WindowPayments
from reassoc.stream.item_log import ItemsEntry, Routing
from reassoc.stream.item_rows import payment_rows
from reassoc.stream.items import PAYMENT_ITEM, ItemMark
from reassoc.stream.kinds import Kind
from reassoc.stream.profiles import decode_profile, profile_key
from reassoc.stream.routing import QUARANTINE, Router
from reassoc.stream.sources import Source
from reassoc.stream.take_in import Receipt, TakenIn, log_all, read_in
from reassoc.stream.verdicts import ALL_VALID

X12 = interchange(remittance("T1", 700), remittance("T2", 800, control="0002"))
ACH = ach_file(
    Entry(700, "T1"),
    Entry(900, payload=interchange(remittance("T3", 900), sender="OTHER")),
    Entry(5, "T9", account="42"),
    Entry(6, "T8", account="43"),
)


@pytest.fixture(scope="module")
def router() -> Router:
    return Router(load_directory(TWO_TENANTS))


class Warehouse:
    """A folder of inputs, and a vault and a log that outlive a crash."""

    def __init__(self, folder: Path, router: Router | None = None) -> None:
        self.folder, self.router = folder, router or Router(None)
        self.vault, self.log = FakeVault(), FakeLog()

    def put(self, name: str, data: bytes) -> Source:
        path = self.folder / name
        path.write_bytes(data)
        (source,) = sources_of(path)
        return source

    def take(self, source: Source, **more: Any) -> Receipt:
        return take_in.take_in(
            source,
            vault=self.vault,
            log=self.log,
            router=self.router,
            scratch=self.folder,
            **more,
        )

    def read(self, source: Source) -> TakenIn:
        return read_in(
            source, vault=self.vault, log=self.log, router=self.router, scratch=self.folder
        )

    def log_all(self, taken: Sequence[TakenIn]) -> list[Receipt]:
        return log_all(taken, self.log)

    def take_all(self, sources: Sequence[Source]) -> list[Receipt]:
        return self.log_all([self.read(source) for source in sources])


def routing_of(home: Warehouse, data: bytes) -> Routing | None:
    digest = blake3(data).digest()
    return home.log.routings([digest]).get(digest)


@pytest.fixture
def home(tmp_path: Path, router: Router) -> Warehouse:
    return Warehouse(tmp_path, router)


def test_remittances_are_logged_with_all_that_the_engine_needs(home: Warehouse) -> None:
    receipt = home.take(home.put("x", X12))
    digest = blake3(X12).digest()
    assert (receipt.digest, receipt.byte_count, receipt.kind) == (digest, len(X12), Kind.X12)
    assert (receipt.remittance_count, receipt.remittance_cents, receipt.claim_count) == (2, 1500, 2)
    assert (receipt.payment_count, receipt.is_copy, receipt.reason) == (0, False, "")
    assert receipt.tenants == ("north",)
    assert home.vault.contents == {digest: X12}
    (entry,) = home.log.items_entries("north")
    assert [(note.digest, note.name, note.kind, note.byte_count) for note in entry.sources] == [
        (digest, "x", "X12", len(X12))
    ]
    left, right = rows_of(entry)
    assert len(right["ordinal"]) == 0
    at = [X12.index(b"ST*"), X12.index(b"ST*", X12.index(b"SE*"))]
    wanted: dict[str, list[Any]] = {
        "id_digest": [int.from_bytes(digest[:8], "little")] * 2,
        "id_offset": at,
        "start": at,
        "stop": [at[1], X12.index(b"GE*")],
        "ordinal": [0, 1],
        "carrier_offset": [-1, -1],
        "checks": [ALL_VALID] * 2,
        "valid": [True] * 2,
        "claims": [1, 1],
        "paid_cents": [700, 800],
        "marks": [0, 0],
    }
    assert {name: left[name].tolist() for name in wanted} == wanted
    assert left["trace"].to_list() == ["T1", "T2"]
    assert left["control"].to_list() == ["0001", "0002"]
    assert left["body_hash"].all()
    (profile,) = map(decode_profile, entry.profiles)
    assert left["profile"].tolist() == [profile_key(profile)] * 2
    assert (profile.sender, profile.receiver) == (b"SENDER", b"RECEIVER")


def test_payments_and_what_they_carry_are_split_by_tenants(home: Warehouse) -> None:
    receipt = home.take(home.put("y", ACH))
    assert (receipt.payment_count, receipt.payment_cents) == (4, 1611)
    assert (receipt.remittance_count, receipt.remittance_cents) == (1, 900)
    assert set(receipt.tenants) == {"north", "south", QUARANTINE}
    left, right = logged_rows(home.log, "north")
    assert right["amount_cents"].tolist() == [700, 900]
    assert right["ordinal"].tolist() == [0, 1]
    assert left["carrier_offset"].tolist() == right["id_offset"].tolist()[1:]
    assert left["id_offset"].tolist() == [right["id_offset"].tolist()[1] + 1]
    assert (left["start"].tolist(), left["stop"].tolist()) == ([0], [1])
    assert logged_rows(home.log, "south")[1]["amount_cents"].tolist() == [5]
    (other,) = home.log.items_entries(QUARANTINE)
    assert other.profiles == ()
    assert rows_of(other)[1]["amount_cents"].tolist() == [6]


def test_what_a_remittance_holds_is_marked(home: Warehouse) -> None:
    nobody = "NM1*QC*1*DOE*JANE****MI*M1"
    sets = [
        ("CLP*A*22*-5.00*-5.00**12*P", nobody, "CLP*B*1*12.00*12.00**12*P", nobody),
        ("CLP*A*4*7.00*0.00**12*P", nobody, "CLP*B*1*7.00*7.00**12*P", nobody),
        ("CLP*A*1*7.00*0.00**12*P", nobody, "CLP*B*1*7.00*7.00**12*P", nobody),
        ("CLP*A*1*9.00*9.00**12*P", nobody, "PLB*1*20261231*WO:X*2.00"),
        ("CLP*A*1*7.00*7.00**12*P", nobody, "PLB*1*20261231*WO:X*0.00"),
        ("CLP*A*1*7.00*7.00**12*P", nobody),
    ]
    data = interchange(
        *(remittance(f"T{n}", 700, control=f"{n:04d}", claims=one) for n, one in enumerate(sets))
    )
    home.take(home.put("x", data))
    marks = logged_rows(home.log, "north")[0]["marks"].tolist()
    reversal, adjusted, denial = (
        ItemMark.REVERSAL,
        ItemMark.PROVIDER_ADJUSTMENT,
        ItemMark.DENIAL,
    )
    assert marks == [reversal, denial, denial, adjusted, 0, 0]


@pytest.mark.parametrize(
    ("end", "is_incomplete"),
    [
        (b"SE*9*0001~", False),  # valid or not: the wrong count
        (b"SE*9*0001~\r\n", False),
        (b"SE*9*0001", False),
        (b"SE*9*00\n01~", False),  # lines of 80 characters
        (b"S\r\nE*9*0001~\r\n", False),
        (b"SE*9*", True),
        (b"SE*9", True),
        (b"", True),
        (b"LX*1~CLP*A*1*7.00*7.00**12*P*X~NM1*QC*1*DOE*JANE****MI*SE", True),
    ],
)
def test_what_has_no_end_is_marked(home: Warehouse, end: bytes, is_incomplete: bool) -> None:
    whole = interchange(remittance("T1", 700), remittance("T2", 700, control="0002"))
    first = whole[: whole.index(b"SE*")] + end
    home.take(home.put("x", first))
    marks = logged_rows(home.log, "north")[0]["marks"].tolist()
    assert marks == [ItemMark.INCOMPLETE if is_incomplete else 0]


def test_many_files_become_one_entry_of_each_tenant(home: Warehouse) -> None:
    sources = [
        home.put(f"x{n}", interchange(remittance(f"T{n}", n, control=f"{n:04d}"), number=n))
        for n in range(1, 30)
    ]
    receipts = home.take_all([*sources, home.put("y", ACH), home.put("again", ACH)])
    assert home.log.append_count == 1
    assert home.log.tenants() == {"north": 1, "south": 1, QUARANTINE: 1}
    (entry,) = home.log.items_entries("north")
    assert len(entry.sources) == 30
    assert len(entry.profiles) == 2
    assert [receipt.is_copy for receipt in receipts] == [False] * 30 + [True]
    assert len(set(ids_of(home.log))) == len(ids_of(home.log)) == 29 + 5


def test_entries_keep_their_limits_and_carried_remittances_their_entry(
    home: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = b"".join(remittance(f"C{n}", 10, control=f"{n:04d}") for n in range(4))
    entries = [Entry(n, f"T{n}") if n % 3 else Entry(40, payload=payload) for n in range(40)]
    source = home.put("y", ach_file(*entries))
    home.take(source)
    whole = ids_of(home.log)
    for items, size in ((7, 1 << 20), (1000, 9000), (5, 4000)):
        monkeypatch.setattr(item_rows, "ENTRY_ITEMS_MAX", items)
        monkeypatch.setattr(item_rows, "ENTRY_BYTES_MAX", size)
        log = home.log = FakeLog()
        home.take(source)
        assert ids_of(log) == whole
        assert log.append_count == 1
        for entry in log.items_entries("north"):
            left, right = rows_of(entry)
            assert len(left["ordinal"]) + len(right["ordinal"]) <= items
            assert sum(map(len, (entry.remittances, entry.payments))) <= size
            assert set(left["carrier_offset"].tolist()) <= set(right["id_offset"].tolist())
        assert len(log.items_entries("north")) >= 3
    # One that is larger than an entry of the log is split after all.
    monkeypatch.setattr(item_rows, "ENTRY_ITEMS_MAX", 3)
    home.log = FakeLog()
    home.take(source)
    assert ids_of(home.log) == whole


def test_what_fits_whole_goes_as_what_is_cut_would(
    home: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = [interchange(remittance(f"C{n}", 10), sender=f"S{n % 4}") for n in range(12)]
    entries = [Entry(n, f"T{n}", account="42" if n % 2 else "5566778") for n in range(1, 12)]
    carrying = [Entry(10, payload=payload) for payload in payloads]
    files = [
        ach_file(*entries, *carrying),
        ach_file(*carrying[:5], Entry(7, "U1")),
        X12,
        interchange(*(remittance(f"V{n}", n, control=f"{n:04d}") for n in range(1, 9))),
    ]
    sources = [home.put(f"f{number}", data) for number, data in enumerate(files)]

    def logged(items: int, size: int, *, whole: bool) -> list[ItemsEntry]:
        with monkeypatch.context() as patch:
            patch.setattr(item_rows, "ENTRY_ITEMS_MAX", items)
            patch.setattr(item_rows, "ENTRY_BYTES_MAX", size)
            if not whole:
                patch.setattr(item_rows._Filling, "take_whole", lambda *_: 0)
            home.log = FakeLog()
            home.take_all(sources)
        tenants = sorted(home.log.tenants())
        return [entry for tenant in tenants for entry in home.log.items_entries(tenant)]

    for limits in ((1000, 1 << 20), (20, 1 << 20), (1000, 6000), (5, 4000)):
        found = logged(*limits, whole=True)
        assert found == logged(*limits, whole=False)
        assert len(found) >= (2 if limits[0] == 1000 and limits[1] > 6000 else 4)


def test_much_is_appended_in_several_calls(
    home: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(take_in, "APPEND_BYTES_MAX", 2000)
    monkeypatch.setattr(intake, "iter_835", functools.partial(iter_835, window_bytes=1000))
    sets = [remittance(f"T{n}", n, control=f"{n:04d}") for n in range(1, 60)]
    home.take(home.put("x", interchange(*sets)))
    assert home.log.append_count > 3
    left, _ = logged_rows(home.log, "north")
    assert left["paid_cents"].tolist() == list(range(1, 60))


# ---- copies and crashes ----


def test_the_same_content_is_logged_once(home: Warehouse) -> None:
    first = home.take(home.put("a", X12))
    before = ids_of(home.log)
    for source in (home.put("b", X12), home.put("c", gzip.compress(X12))):
        again = home.take(source)
        assert (again.is_copy, again.digest, again.byte_count) == (True, first.digest, len(X12))
        assert (again.remittance_count, again.reason) == (0, "")
    assert ids_of(home.log) == before
    assert home.vault.opened == 0


CALLS = ["put", "append"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, len(CALLS) + 1))
def test_a_crash_anywhere_is_mended_by_the_next_look(home: Warehouse, at: int, after: bool) -> None:
    source = home.put("y", ACH)
    clean = Warehouse(home.folder, home.router)
    clean.take(source)
    faults = Faults(at, after=after)
    home.vault.faults = home.log.faults = faults
    with pytest.raises(CrashError):
        home.take(source)
    assert faults.calls == CALLS[:at]
    home.vault.faults = home.log.faults = Faults()
    receipt = home.take(source)
    assert receipt.is_copy == ((at, after) == (2, True))
    assert ids_of(home.log) == ids_of(clean.log)
    known = routing_of(home, ACH)
    assert known is not None
    assert known.logged
    assert home.take(source).is_copy


def test_a_crash_between_two_appends_loses_and_moves_none(
    home: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = Warehouse(home.folder, home.router)
    source = home.put("y", ACH)
    clean.take(source)
    monkeypatch.setattr(take_in, "APPEND_BYTES_MAX", 1)
    home.log.faults = Faults(3)
    home.vault.faults = home.log.faults
    with pytest.raises(CrashError):
        home.take(source)
    known = routing_of(home, ACH)
    assert known is not None
    assert not known.logged
    # What the directory says by then does not move what is on the log already.
    home.vault.faults = home.log.faults = Faults()
    home.router = Router(None)
    assert not home.take(source).is_copy
    assert set(ids_of(home.log)) == set(ids_of(clean.log))
    assert home.take(source).is_copy


def test_what_was_logged_meanwhile_is_a_copy(home: Warehouse) -> None:
    first, second = (home.read(home.put(name, X12)) for name in "ab")
    assert not home.log_all([first])[0].is_copy
    assert home.log_all([second])[0].is_copy


def test_contents_whose_names_are_equal_are_never_mixed_up(home: Warehouse) -> None:
    digest = blake3(X12).digest()
    home.log.known[digest[:8]] = Routing(digest[:8] + bytes(24), logged=True)
    receipt = home.take(home.put("x", X12))
    assert "same first 8 bytes" in receipt.reason
    assert home.log.tenants() == {}


def test_an_input_that_was_read_otherwise_before_is_told(home: Warehouse) -> None:
    source = home.put("x", X12)
    home.take(source)
    digest = blake3(X12).digest()
    other = take_in.encode_route(take_in.RouteBuilder().route())
    home.log.known[digest] = Routing(other, logged=False)
    assert "it held 0 remittances" in home.take(source).reason


# ---- what is not taken ----


def test_an_input_that_changes_while_it_is_read_is_not_used(home: Warehouse) -> None:
    source = home.put("x", X12)
    put = home.vault.put

    def changing(pieces: Any) -> Any:
        stored = put(pieces)
        with source.path.open("r+b") as file:
            file.seek(X12.index(b"T1*"))
            file.write(b"T7")
        return stored

    home.vault.put = changing  # type: ignore[method-assign]
    assert "changed while it was read" in home.take(source).reason
    assert home.log.tenants() == {}
    assert routing_of(home, X12) is None


def test_bytes_that_were_stored_and_scanned_must_be_the_same(
    home: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(take_in, "UNPACKED_BYTES_MAX", 10)
    source = home.put("x", gzip.compress(X12))

    class Vault(FakeVault):
        def open_stream(self, digest: bytes) -> io.RawIOBase:
            self.contents[digest] = X12.replace(b"T1", b"T7")
            return super().open_stream(digest)

    home.vault = Vault()
    assert "changed while it was read" in home.take(source).reason
    assert home.log.tenants() == {}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"Dear all,\n", "neither X12"),
        (gzip.compress(X12 * 99)[:-9], "damaged or cut off"),
        (b"ISA*00*", "X12_NO_SEGMENTS"),
        (b"x = " + b"2" * 5000, "neither X12"),
    ],
)
def test_what_cannot_be_read_says_why(home: Warehouse, data: bytes, reason: str) -> None:
    receipt = home.take(home.put("x", data))
    assert reason in receipt.reason
    assert home.log.tenants() == {}
    assert home.log.known == {}


def test_a_fault_of_ours_costs_only_its_input(
    home: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError("a secret value")

    monkeypatch.setattr(intake, "x12_findings", fail)
    receipts = home.take_all([home.put("x", X12), home.put("y", ACH)])
    assert "internal error" in receipts[0].reason
    assert "secret" not in receipts[0].reason
    assert receipts[1].payment_count == 4


def test_a_fault_in_telling_what_it_is_costs_only_its_input(
    home: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind_of = intake.kind_of

    def fail(head: bytes) -> Kind:
        if head == X12:
            raise ZeroDivisionError("a secret value")
        return kind_of(head)

    monkeypatch.setattr(intake, "kind_of", fail)
    receipts = home.take_all([home.put("x", X12), home.put("y", ACH)])
    assert "internal error" in receipts[0].reason
    assert "secret" not in receipts[0].reason
    assert receipts[1].payment_count == 4


def test_a_vault_that_fails_is_no_fault_of_the_input(home: Warehouse) -> None:
    def fail(pieces: Any) -> Any:
        raise OSError(28, "No space left on device")

    home.vault.put = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space"):
        home.take(home.put("x", X12))


def test_a_limit_on_kinds_of_envelope_is_told(
    home: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(take_in, "PROFILES_MAX", 1)
    one, other = interchange(remittance("T1", 7)), interchange(remittance("T2", 7), sender="OTHER")
    assert "PROFILES_MAX" in home.take(home.put("x", one + other)).reason


# ---- containers, findings, threads ----


def test_compressed_inputs_give_the_same_items(home: Warehouse) -> None:
    home.take(home.put("y", ACH))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("plain", ACH)
        archive.writestr("packed", gzip.compress(ACH))
    path = home.folder / "a.zip"
    path.write_bytes(out.getvalue())
    for source in [*sources_of(path), home.put("z", gzip.compress(ACH))]:
        other = Warehouse(home.folder, home.router)
        receipt = other.take(source)
        assert receipt.payment_cents == 1611
        assert other.vault.contents == home.vault.contents
        assert ids_of(other.log) == ids_of(home.log)
    close_archives()


def test_findings_are_written_where_the_caller_wants_them(home: Warehouse) -> None:
    source = home.put("x", interchange(remittance("T1", 700, segment_count=99)))
    out = io.BytesIO()
    receipt = home.take(source, findings=out)
    assert sum(receipt.finding_counts.values()) == 1
    assert out.getvalue().startswith(b"x,")
    assert b"X12_SE_COUNT" in out.getvalue()
    assert not logged_rows(home.log, "north")[0]["valid"].any()
    again = io.BytesIO()
    home.take(source, findings=again)
    assert again.getvalue() == b""


def test_progress_tells_of_every_byte_on_disk_once(home: Warehouse) -> None:
    packed = gzip.compress(X12)
    for name, data in (("x", X12), ("copy", X12), ("z", packed), ("y", ACH)):
        told: list[int] = []
        home.take(home.put(name, data), progress=told.append)
        assert sum(told) - len(data) in (0, 2)  # a gzip's first two bytes are looked at apart


def test_many_threads_read_in_and_one_logs(home: Warehouse) -> None:
    sources = [
        home.put(f"x{n}", interchange(remittance(f"T{n}", n, control=f"{n:04d}"), number=n))
        for n in range(1, 40)
    ]
    common = {"vault": home.vault, "log": home.log, "router": home.router}

    def read(source: Source) -> TakenIn:
        return read_in(source, scratch=home.folder, **common)

    with ThreadPoolExecutor(4) as workers:
        taken = list(workers.map(read, sources))
    assert sum(one.byte_count for one in taken) > 0
    receipts = log_all(taken, home.log)
    assert sum(receipt.remittance_cents for receipt in receipts) == sum(range(1, 40))
    assert len(set(ids_of(home.log))) == 39
    assert [one.waiting for one in taken] == [None] * 39


def test_texts_that_no_row_can_hold_are_cut_and_their_items_not_valid() -> None:
    columns = payments({}, {})
    texts = TextColumn.from_values([b"x" * 70_000, b"y"])
    values = {name: getattr(columns, name) for name in columns.types()} | {"company_name": texts}
    window = WindowPayments(
        PaymentColumns(**values),
        np.arange(2, dtype=np.int32),
        np.full(2, ALL_VALID, np.uint8),
    )
    block, checks = payment_rows(window, 7)
    assert (checks == ALL_VALID).tolist() == [False, True]
    rows = PAYMENT_ITEM.unpack(block)
    assert [len(text) for text in rows["company_name"]] == [65_535, 1]


def test_pieces_for_the_vault_are_small_and_whole(
    home: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "PIECE_BYTES", 100)
    sizes: list[int] = []
    put = home.vault.put

    def counting(pieces: Any) -> Any:
        return put(sizes.append(len(piece)) or piece for piece in pieces)

    home.vault.put = counting  # type: ignore[method-assign]
    for name, data in (("x", X12), ("y", gzip.compress(ACH))):
        home.take(home.put(name, data))
    assert sum(sizes) == len(X12) + len(ACH)
    assert max(sizes) == 100
