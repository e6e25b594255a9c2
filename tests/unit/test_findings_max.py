"""Findings have a limit: what lies beyond it is counted, and nothing is valid for it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ach_compare import NAMES as ACH_NAMES
from small_feed import Entry, ach_file, interchange, remittance
from x12_compare import table_rows

from reassoc.core import errors, reference_ach
from reassoc.core.ach import iter_ach, read_ach
from reassoc.core.errors import FindingCode
from reassoc.core.reference import read_835_plain
from reassoc.core.reference_tables import NAMES as X12_NAMES
from reassoc.core.x12_835 import iter_835, read_835, read_835_ranges
from reassoc.stream import findings
from reassoc.stream.chunks import plan
from reassoc.stream.message import RawMessage
from reassoc.stream.part_items import PartItems
from reassoc.stream.read_message import read_parts
from reassoc.stream.routing import Router

SOUND = remittance("T1", 700)
BAD = remittance("T2", 800, control="0002", segment_count=99)
ODD = remittance("T3", 900, control="0003").replace(b"~LX*1", b"~XX*1~YY*2~LX*1")
X12 = interchange(BAD, SOUND, ODD, BAD) + b"junk~" + interchange(ODD, BAD)
ACH = ach_file(Entry(7, "T1", account="42"), Entry(900, payload=interchange(ODD, BAD)))
ACH = ACH.replace(b"\n705", b"\n7051234567890\n705").replace(b"\n8", b"\n6\n7\n8")


def rows_of(tables: Any, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    return {name: table_rows(getattr(tables, name)) for name in names}


@pytest.mark.parametrize(
    ("read", "names", "more"),
    [
        (lambda: read_835(X12), X12_NAMES, FindingCode.X12_FINDINGS_MORE),
        (lambda: read_ach(ACH), ACH_NAMES, FindingCode.ACH_FINDINGS_MORE),
        (
            lambda: read_835_ranges(X12 * 3, np.arange(3) * len(X12), np.arange(1, 4) * len(X12)),
            X12_NAMES,
            FindingCode.X12_FINDINGS_MORE,
        ),
    ],
)
def test_what_is_left_out_is_counted_and_changes_nothing_else(
    read: Callable[[], Any], names: Iterable[str], more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows_of(read(), names)
    told = whole.pop("findings")
    assert len(told) > 5
    for limit in range(len(told) + 2):
        monkeypatch.setattr(errors, "FINDINGS_MAX", limit)
        found = rows_of(read(), names)
        kept = [row for row in found["findings"] if row["code"] != more]
        (*lasts,) = [row["length"] for row in found["findings"] if row["code"] == more]
        assert len(kept) == min(limit, len(told))
        assert lasts == ([len(told) - limit] if limit < len(told) else [])
        assert all(row in told for row in kept)
        del found["findings"]
        assert found == whole


@pytest.mark.parametrize("limit", [0, 1, 3, 1000])
def test_the_twins_leave_out_as_many(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "FINDINGS_MAX", limit)
    compiled, plain = read_835(X12), read_835_plain(X12, limit)
    assert len(compiled.findings) == len(plain.findings)
    assert [
        bool(row["valid"]) for row in plain.transactions
    ] == compiled.transactions.valid.tolist()
    ach = read_ach(ACH)
    assert len(ach.findings) == len(reference_ach.read(ACH, limit)["findings"])


@pytest.mark.parametrize("window_bytes", [1, 600, 1500])
def test_each_window_has_the_limit(window_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    valid, amounts = read_835(X12).transactions.valid.tolist(), read_ach(ACH).entries.valid.tolist()
    monkeypatch.setattr(errors, "FINDINGS_MAX", 1)
    windows = list(iter_835(X12, window_bytes=window_bytes))
    assert [flag for window in windows for flag in window.transactions.valid.tolist()] == valid
    assert max(len(window.findings) for window in windows) == 2
    parts = list(iter_ach(ACH, window_bytes=window_bytes))
    assert [flag for part in parts for flag in part.entries.valid.tolist()] == amounts
    assert max(len(part.findings) for part in parts) == 2


def parts_of(folder: Path, *values: bytes) -> list[PartItems]:
    messages = [RawMessage(value, (), "raw/0@7") for value in values]
    return read_parts(messages, router=Router(None), scratch=folder)


@pytest.mark.parametrize(("noisy", "quiet"), [(X12, interchange(BAD)), (ACH, ach_file(Entry(7)))])
def test_findings_of_one_message_are_not_left_out_for_those_of_another(
    tmp_path: Path, noisy: bytes, quiet: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "FINDINGS_MAX", 2)
    together = parts_of(tmp_path, noisy, quiet, noisy)
    alone = [parts_of(tmp_path, value)[0] for value in (noisy, quiet, noisy)]
    for one, other in zip(together, alone, strict=True):
        assert (one.findings, one.finding_counts) == (other.findings, other.finding_counts)
    assert b"_FINDINGS_MORE" in together[0].findings
    assert b"_FINDINGS_MORE" not in together[1].findings


def test_a_message_keeps_so_many_bytes_of_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in (X12, ACH):
        whole = parts_of(tmp_path, value)[0]
        monkeypatch.setattr(findings, "PART_FINDINGS_BYTES_MAX", 300)
        (items,) = parts_of(tmp_path, value)
        assert len(items.findings) <= 300
        assert items.findings.endswith(b"\n")
        assert whole.findings.startswith(items.findings)
        assert items.finding_counts == whole.finding_counts
        monkeypatch.undo()


def test_a_small_message_of_nothing_but_findings_gives_few(tmp_path: Path) -> None:
    count = 2_000_000
    data = interchange(remittance("T1", 700).replace(b"~LX*1", b"~" + b"X~" * count + b"LX*1"))
    (items,) = parts_of(tmp_path, gzip.compress(data))
    assert len(items.findings) <= findings.PART_FINDINGS_BYTES_MAX
    assert items.finding_counts[FindingCode.X12_UNKNOWN_SEGMENT] <= errors.FINDINGS_MAX
    assert sum(items.finding_counts.values()) >= count


def test_a_file_is_not_cut_where_it_is_not_known_what_was_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = ach_file(*(Entry(cents, f"T{cents}") for cents in range(1, 60)))
    sound = interchange(*(remittance(f"T{n}", n, control=f"{n:04}") for n in range(1, 30)))
    for data, mark, noise in ((sound, b"GE*", b"junk~SE*1*1~"), (entries, b"8220", b"6\n")):
        noisy = data.replace(mark, noise * 3 + mark, 1)
        assert len(plan("x", noisy, part_bytes=1500).parts) > 1
        monkeypatch.setattr(errors, "FINDINGS_MAX", 0)
        planned = plan("x", noisy, part_bytes=1500)
        assert len(planned.parts) == 1
        monkeypatch.undo()
