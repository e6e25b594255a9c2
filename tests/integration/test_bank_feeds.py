"""Bank reports and lockbox lists as inputs of a run, and what is passed over beside them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from bai2_build import detail, report
from small_feed import interchange, remittance

from reassoc.core.lockbox import LockboxLayout
from reassoc.core.policy import Policy
from reassoc.core.statuses import PaymentSource
from reassoc.stream import intake
from reassoc.stream.intake import Items, read_source
from reassoc.stream.job import run_match
from reassoc.stream.kinds import HEAD_BYTES, Kind, kind_of
from reassoc.stream.layouts import load_layout
from reassoc.stream.pools import pool
from reassoc.stream.sources import Source, discover
from reassoc.stream.summary import Summary

DAY = date(2026, 3, 17)
LAYOUT = """
name = "Example"
format = "csv"
header_rows = 1
[recognise]
first_line = "^Check,Amount"
[fields]
check_number = { column = "Check" }
amount = { column = "Amount" }
deposit_date = { column = "Date", format = "YYYY-MM-DD" }
payer_id = { column = "Payer" }
payee_account = { value = "5566778" }
payee_routing = { value = "021000021" }
"""
LIST = b"Check,Amount,Date,Payer\n0007654321,45.00,2026-03-16,1234567890\nX,bad,,\n"
REPORT = report(
    *detail(120000, "EXAMPLE DES:HCCLAIMPMT", more=["PMT INFO:TRN*1*0012345678*1234567890\\"]),
    *detail(4500, "DEPOSIT", code=115, bank="D1"),
    *detail(30, "MISC", code=399),
    total=124530,
)


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """Two 835s, a bank's report, a list, and the files that a user writes."""
    folder = tmp_path / "feed"
    folder.mkdir()
    sets = (
        remittance("0012345678", 120000),
        remittance("0007654321", 4500, method="CHK", control="0002"),
    )
    (folder / "x.835").write_bytes(interchange(*sets))
    (folder / "b.bai2").write_bytes(gzip.compress(REPORT))
    (folder / "list.csv").write_bytes(LIST)
    (folder / "layout.toml").write_text(LAYOUT)
    (folder / "policy.toml").write_text("# ours\ntrace_window_days = 30\n")
    (folder / "directory.toml").write_text('[[payees]]\nname = "A"\ntins = ["112223333"]\n')
    return folder


def run(feed: Path, out: Path) -> Summary:
    layouts = [load_layout(feed / "layout.toml")]
    return run_match([feed], out, as_of=DAY, policy=Policy(), layouts=layouts)


def rows(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def read(source: Source, scratch: Path, layouts: Sequence[LockboxLayout] = ()) -> Items:
    """The items of one input; its findings are let go."""
    items = read_source(source, scratch, layouts=layouts)
    if items.findings is not None:
        items.findings.close()
    return items


def test_reports_and_lists_are_payments_of_the_run(feed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(feed, out)
    payments = rows(out, "payments.csv")
    assert len(payments) == 5
    pairs = {
        (row["remit_ordinal"], row["payment_file"], row["payment_ordinal"])
        for row in rows(out, "matches.csv")
        if row["status"].upper() == "AUTO"
    }
    assert pairs == {("0", "b.bai2", "0"), ("1", "list.csv", "0")}
    findings = rows(out, "findings.csv")
    assert [(row["file"], row["segment_or_record"], row["code"]) for row in findings] == [
        ("list.csv", "record 3", "LOCKBOX_AMOUNT_BAD")
    ]


def test_the_files_that_a_user_writes_are_passed_over(feed: Path, tmp_path: Path) -> None:
    items = [read(source, tmp_path) for source in discover([feed]).sources]
    assert {one.source.name: one.kind for one in items} == {
        "b.bai2": Kind.BAI2,
        "directory.toml": Kind.SETTINGS,
        "layout.toml": Kind.SETTINGS,
        "list.csv": Kind.UNKNOWN,
        "policy.toml": Kind.SETTINGS,
        "x.835": Kind.X12,
    }
    for one in items:
        assert one.is_passed_over == one.source.name.endswith(".toml")


def test_items_of_reports_and_lists_in_the_pools(feed: Path, tmp_path: Path) -> None:
    layouts = [load_layout(feed / "layout.toml")]
    sources = [one for one in discover([feed]).sources if one.name in ("b.bai2", "list.csv")]
    items = [read(source, tmp_path, layouts) for source in sources]
    assert [one.kind for one in items] == [Kind.BAI2, Kind.LOCKBOX]
    assert [one.byte_count for one in items] == [len(REPORT), len(LIST)]
    pools = pool(items)
    assert pools.payment_ordinal.tolist() == [0, 1, 2, 0, 1]
    assert pools.payment_source.tolist() == [0, 0, 0, 1, 1]
    assert pools.payments.valid.tolist() == [True, True, True, True, False]
    assert pools.payments.source.tolist() == [
        PaymentSource.BANK_ACH,
        PaymentSource.DEPOSIT,
        PaymentSource.BANK_OTHER,
        PaymentSource.CHECK,
        PaymentSource.CHECK,
    ]
    assert pools.payments.id_offset.tolist()[0] == REPORT.index(b"16,165")
    assert len(set(pools.payments.id_digest.tolist())) == 2


def test_what_a_layout_does_not_fit_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(LIST.replace(b"Date", b"Day"))
    layout = tmp_path / "layout.toml"
    layout.write_text(LAYOUT)
    (source,) = discover([path]).sources
    items = read_source(source, tmp_path, layouts=[load_layout(layout)])
    assert "LOCKBOX_COLUMN_MISSING" in items.reason
    assert "fields.deposit_date" in items.reason


def test_inputs_that_are_read_whole_have_a_limit(
    feed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BAI2_BYTES_MAX", 10)
    for name, data in (("packed", gzip.compress(REPORT)), ("plain", REPORT)):
        (feed / name).write_bytes(data)
        (source,) = discover([feed / name]).sources
        assert "BAI2_BYTES_MAX" in read_source(source, tmp_path).reason


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (REPORT, Kind.BAI2),
        (b"\xef\xbb\xbf\r\n" + REPORT, Kind.BAI2),
        (REPORT.split(b"\n", 1)[1], Kind.BAI2),
        (REPORT.split(b"\n", 2)[2], Kind.BAI2),
        (REPORT.split(b"\n", 3)[3], Kind.BAI2),
        (b"16,shoes,4\n", Kind.UNKNOWN),
        (b"01,red,green\n", Kind.UNKNOWN),
        (LAYOUT.encode(), Kind.SETTINGS),
        (b"review_tiers = []\n", Kind.SETTINGS),
        (b"# nothing\n", Kind.UNKNOWN),
        (b'colour = "red"\n', Kind.UNKNOWN),
        (b'[[payees]]\nname = "A"\ncolour = "red"\n' * 9000, Kind.SETTINGS),
    ],
)
def test_kinds(data: bytes, kind: Kind) -> None:
    assert kind_of(data[:HEAD_BYTES]) is kind


def test_every_layout_key_tells_a_layout() -> None:
    for key in LockboxLayout.__struct_fields__:
        assert kind_of(f'{key} = "x"\n'.encode()) is Kind.SETTINGS
