"""The hand-made files of the tests are sound themselves."""

from __future__ import annotations

from small_feed import Entry, ach_file, interchange, remittance

from reassoc.core.ach import read_ach
from reassoc.core.x12_835 import read_835


def test_hand_made_files_have_no_findings() -> None:
    sets = remittance("T1", 120_000), remittance("T2", 0, control="0002")
    x12 = read_835(interchange(*sets))
    assert [x12.message(row) for row in range(len(x12.findings))] == []
    assert x12.transactions.paid_cents.tolist() == [120_000, 0]
    payload = interchange(remittance("T3", 5))
    ach = read_ach(ach_file(Entry(120_000, "T1"), Entry(5, payload=payload)))
    assert [ach.message(row) for row in range(len(ach.findings))] == []
    assert ach.entries.trace.to_list() == ["T1", "T3"]
    assert ach.entries.amount_cents.tolist() == [120_000, 5]
