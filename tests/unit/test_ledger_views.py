"""The open list and an item's history, on worlds small enough to count by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ledgers
import msgspec
import numpy as np
import pytest
from ledgers import DAY, FILE, TENANT, P, R, change, item
from sqlalchemy import delete

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import LimitError
from reassoc.stream import ledger_schema as schema
from reassoc.stream.ageing import AgeBucket, ages, buckets
from reassoc.stream.items import ItemFlag, item_name
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_item import find_items, history
from reassoc.stream.ledger_rows import PAIR_ROW, ItemSide
from reassoc.stream.ledger_views import OpenFilter, OpenList, Order, open_items

CALENDAR = BankingCalendar([DAY - 3])
"""DAY is a Monday, the Friday before it a holiday: DAY - 10 is five banking days ago."""
REMITTANCE, PAYMENT = ItemSide.REMITTANCE, ItemSide.PAYMENT
TEXTS = [
    {"trace": b"TR-001", "payer_id": b"1341858386", "payer_name": b"ACME HEALTH"},
    {"trace": b"TR-002", "payer_id": b"1341858386", "payer_name": b"ACME HEALTH"},
    {"trace": b"TR-003", "payer_id": b"", "payer_name": b"Sunrise 100% Plan"},
    {"trace": b"tr001", "payee_account": b"000123", "payee_id": b"1000000001"},
    {"payee_account": b"000999", "payee_id": b"1000000001"},
]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Three remittances and two payments of one tenant, one remittance of another."""
    opened = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    items = [
        item(1, REMITTANCE, 500, day=DAY - 10),
        item(2, REMITTANCE, 700, day=DAY - 100),
        item(3, REMITTANCE, 900, day=DATE_NONE),
        item(4, PAYMENT, 500, day=DAY),
        item(5, PAYMENT, 1200, day=DAY + 2),
    ]
    statuses = [
        change(1, REMITTANCE, R.RECEIVED, R.AWAITING_EFT),
        change(2, REMITTANCE, R.RECEIVED, R.PROBABLE),
        change(3, REMITTANCE, R.RECEIVED, R.INVALID),
        change(4, PAYMENT, P.RECEIVED, P.UNMATCHED, funding_after=2),
        change(5, PAYMENT, P.RECEIVED, P.SUGGESTED, funding_after=1),
    ]
    batch = ledgers.batch(items, statuses, details=ledgers.details(*TEXTS))
    other = ledgers.batch(
        [item(9, REMITTANCE, 40)], [change(9, REMITTANCE, R.RECEIVED, R.AWAITING_CHECK)]
    )
    opened.append_many([(1, batch), (1, msgspec.structs.replace(other, tenant="south"))])
    yield opened
    opened.close()


def ask(ledger: Ledger, order: Order = "age", limit: int = 100, **filters: Any) -> OpenList:
    wanted = OpenFilter(**filters)
    return open_items(ledger, wanted, day=DAY, calendar=CALENDAR, limit=limit, order=order)


def offsets(ledger: Ledger, **filters: Any) -> list[int]:
    found = ask(ledger, **filters)
    assert sum(total.count for total in found.totals) == len(found.rows)
    assert sum(total.cents for total in found.totals) == sum(row.cents for row in found.rows)
    return [row.offset for row in found.rows]


def test_rows_come_by_age_or_by_cents(ledger: Ledger) -> None:
    assert offsets(ledger) == [2, 1, 4, 9, 5, 3]
    assert offsets(ledger, order="cents") == [5, 3, 2, 1, 4, 9]
    found = ask(ledger, limit=2)
    assert [row.offset for row in found.rows] == [2, 1]
    assert sum(total.count for total in found.totals) == 6
    assert ask(ledger, limit=0).rows == []


def test_a_row_has_everything_that_is_shown(ledger: Ledger) -> None:
    row = ask(ledger, trace="tr 001", side=PAYMENT).rows[0]
    assert row.name == item_name(FILE, 4)
    assert (row.tenant, row.status, row.funding, row.flags) == (TENANT, P.UNMATCHED, 2, 0)
    assert (row.cents, row.day, row.age_banking_days) == (500, DAY, 0)
    assert (row.trace, row.payee_account, row.payee_id) == ("tr001", "000123", "1000000001")
    assert ask(ledger, side=REMITTANCE, status=R.INVALID).rows[0].age_banking_days is None


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"tenant": TENANT}, [2, 1, 4, 5, 3]),
        ({"tenant": "south"}, [9]),
        ({"tenant": "west"}, []),
        ({"side": PAYMENT}, [4, 5]),
        ({"side": REMITTANCE, "status": R.AWAITING_EFT}, [1]),
        ({"payer": "1341858386"}, [2, 1]),
        ({"payer": "341858386"}, [2, 1]),
        ({"payer": "acme"}, [2, 1]),
        ({"payer": "100%"}, [3]),
        ({"payer": "0% p"}, [3]),
        ({"payer": "_"}, []),
        ({"payee": "1000000001"}, [4, 5]),
        ({"payee": "000999"}, [5]),
        ({"trace": "TR001"}, [1, 4]),
        ({"trace": "---"}, []),
        ({"cents_min": 700, "cents_max": 900}, [2, 3]),
        ({"bucket": AgeBucket.NO_DATE}, [3]),
        ({"bucket": AgeBucket.IN_TOLERANCE}, [4, 9, 5]),
        ({"bucket": AgeBucket.DAYS_5_TO_10}, [1]),
        ({"bucket": AgeBucket.DAYS_61_AND_MORE}, [2]),
        ({"older_than_banking_days": 4}, [2, 1]),
        ({"older_than_banking_days": 5}, [2]),
        ({"payer": "acme", "cents_max": 600, "side": REMITTANCE, "trace": "TR-001"}, [1]),
        ({"payer": "acme", "payee": "000999"}, []),
    ],
)
def test_filters(ledger: Ledger, filters: dict[str, Any], expected: list[int]) -> None:
    assert offsets(ledger, **filters) == expected


def test_totals_are_by_side_status_and_bucket(ledger: Ledger) -> None:
    totals = {
        (total.side, total.status, total.bucket): (total.count, total.cents)
        for total in ask(ledger, tenant=TENANT).totals
    }
    assert totals == {
        (REMITTANCE, R.AWAITING_EFT, AgeBucket.DAYS_5_TO_10): (1, 500),
        (REMITTANCE, R.PROBABLE, AgeBucket.DAYS_61_AND_MORE): (1, 700),
        (REMITTANCE, R.INVALID, AgeBucket.NO_DATE): (1, 900),
        (PAYMENT, P.UNMATCHED, AgeBucket.IN_TOLERANCE): (1, 500),
        (PAYMENT, P.SUGGESTED, AgeBucket.IN_TOLERANCE): (1, 1200),
    }


def test_buckets_are_those_of_ageing(ledger: Ledger) -> None:
    days = np.arange(DAY - 140, DAY + 5)
    items = [item(1000 + int(day), PAYMENT, 1, day=int(day)) for day in days]
    statuses = [change(1000 + int(day), PAYMENT, P.RECEIVED, P.UNMATCHED) for day in days]
    ledger.append(2, ledgers.batch(items, statuses))
    wanted = np.bincount(buckets(ages(days, DAY, CALENDAR)), minlength=len(AgeBucket))
    wanted += np.bincount([AgeBucket.IN_TOLERANCE], minlength=len(AgeBucket))
    found = np.zeros(len(AgeBucket), np.int64)
    for total in ask(ledger, side=PAYMENT, status=P.UNMATCHED).totals:
        found[total.bucket] += total.count
    assert found.tolist() == wanted.tolist()
    for bucket in AgeBucket:
        asked = ask(ledger, side=PAYMENT, status=P.UNMATCHED, bucket=bucket, limit=1000)
        assert len(asked.rows) == wanted[bucket]


def test_what_is_released_voided_or_matched_money_is_not_open(ledger: Ledger) -> None:
    released = (0, int(ItemFlag.RELEASED))
    statuses = [
        change(1, REMITTANCE, R.AWAITING_EFT, R.MATCHED),
        change(2, REMITTANCE, R.PROBABLE, R.RELEASED, released),
        change(3, REMITTANCE, R.INVALID, R.VOIDED, (0, int(ItemFlag.CLOSED))),
        change(4, PAYMENT, P.UNMATCHED, P.MATCHED),
    ]
    ledger.append(2, ledgers.batch((), statuses))
    assert offsets(ledger, tenant=TENANT) == [1, 5]
    back = [
        change(4, PAYMENT, P.MATCHED, P.UNMATCHED),
        change(2, REMITTANCE, R.RELEASED, R.UNMATCHED_BY_RETURN, (2, 2)),
    ]
    ledger.append(3, ledgers.batch((), back))
    assert offsets(ledger, tenant=TENANT) == [1, 4, 5]
    assert ask(ledger, payee="000123").rows[0].cents == 500, "texts are known again"


def test_erased_texts_leave_the_row(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        connection.execute(delete(schema.item_detail))
    row = ask(ledger, tenant=TENANT).rows[0]
    assert (row.offset, row.trace, row.payer_name) == (2, "", "")


def test_wrong_questions_are_refused(ledger: Ledger) -> None:
    with pytest.raises(LimitError, match="OPEN_LIMIT_MAX"):
        ask(ledger, limit=1_000_000)
    with pytest.raises(ValueError, match="name the side"):
        ask(ledger, status=3)
    with pytest.raises(ValueError, match="banking days"):
        ask(ledger, older_than_banking_days=-1)


def test_items_are_found_by_id_prefix_and_trace(ledger: Ledger) -> None:
    name = item_name(FILE, 4)
    assert [found.name for found in find_items(ledger, f" {name.upper()} ")] == [name]
    assert len(find_items(ledger, name[:16])) == 6
    assert [found.offset for found in find_items(ledger, name[:5])] == [1, 2, 3, 4, 5, 9]
    assert find_items(ledger, name[:3]) == find_items(ledger, "0000-1") == []
    found = find_items(ledger, "TR-001")
    assert [(one.offset, one.side, one.trace) for one in found] == [
        (1, REMITTANCE, "TR-001"),
        (4, PAYMENT, "tr001"),
    ]
    assert find_items(ledger, item_name(FILE, 9))[0].tenant == "south"
    assert find_items(ledger, "") == find_items(ledger, "--") == []


def test_history_tells_everything_in_order(ledger: Ledger) -> None:
    pair = {"remittance_digest": FILE, "remittance_offset": 1, "payment_digest": FILE}
    pair |= {"payment_offset": 4, "match_id": 1 << 63, "event": 1, "status": 1, "tier": 1}
    made = ledgers.batch(
        (),
        [change(1, REMITTANCE, R.AWAITING_EFT, R.MATCHED, reason=1)],
        pairs=ledgers.rows(PAIR_ROW, pair | {"agreed": 1, "person": 1}).tobytes(),
        cause="decision",
        position=7,
        decisions=(ledgers.decision("d1"),),
    )
    ledger.append(2, made)
    ledger.append(3, ledgers.batch((), [change(2, REMITTANCE, R.PROBABLE, R.AWAITING_EFT)]))
    with ledger.writing() as connection:
        ledger.append_release(connection, **ledgers.release_rows())
    events = history(ledger, FILE, 1)
    assert [(event.kind, event.position, event.cause) for event in events] == [
        ("item", 1, "items"),
        ("status", 1, "items"),
        ("status", 7, "decision"),
        ("pair", 7, "decision"),
        ("release", 0, "release"),
        ("release", 0, "release"),
        ("release", 0, "release"),
    ]
    assert events[1].text == "RECEIVED to AWAITING_EFT"
    assert events[2].text.startswith("AWAITING_EFT to MATCHED; several candidates")
    assert events[3].text.startswith("pair made: AUTO, T1, by a person")
    assert events[3].other == item_name(FILE, 4)
    assert events[3].match_id == 1 << 63
    assert [(one.who, one.why) for one in events[3].decisions] == [("Ann", "she called them")]
    assert events[1].decisions == ()
    assert {event.file for event in events[4:]} == {"RECEIVER_SENDER_000000001.x12"}
    assert [event.text for event in events[5:]] == ["file prepared", "file done"]
    assert [event.other for event in history(ledger, FILE, 4) if event.kind == "pair"] == [
        item_name(FILE, 1)
    ]
    assert history(ledger, FILE, 77) == history(ledger, 5, 1) == []
