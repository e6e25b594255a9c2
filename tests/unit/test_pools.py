"""Pools and matches: what they say of themselves, and which of two equal items stays."""

from __future__ import annotations

import pytest
from pools import DAY, payments, remittances

from reassoc.core.calendar import BankingCalendar
from reassoc.core.match import Matches, match
from reassoc.core.matching.ordering import KEY_BITS, id_keys, sound_first
from reassoc.core.statuses import PaymentStatus, RemittanceStatus


def run(left: list[dict[str, object]], right: list[dict[str, object]]) -> Matches:
    calendar = BankingCalendar(payments().effective_date)
    return match(remittances(*left), payments(*right), calendar=calendar, as_of=DAY)


def test_no_repr_shows_what_a_pool_holds() -> None:
    m = run([{"trace": "987654"}], [{"trace": "987654"}, {}])
    assert repr(m) == "<Matches: 1 pairs>"
    assert repr(m.remittances) == "<RemittanceColumns: 1 rows>"
    assert repr(m.payments) == "<PaymentColumns: 2 rows>"


@pytest.mark.parametrize("cut_off", [0, 1])
def test_a_resend_is_no_duplicate_of_the_file_that_was_cut_off(cut_off: int) -> None:
    rows: list[dict[str, object]] = [
        {"body_hash": 5, "id_digest": digest, "id_offset": 9} for digest in (3, 8)
    ]
    rows[cut_off]["valid"] = False
    m = run(rows, [{}])
    assert m.remittance_status[cut_off] == RemittanceStatus.DUPLICATE
    assert m.release.tolist() == [cut_off == 1, cut_off == 0]
    rows = [{"ach_trace": 5, "id_digest": digest, "id_offset": 9} for digest in (3, 8)]
    rows[cut_off]["valid"] = False
    m = run([{}], rows)
    assert m.payment_status[cut_off] == PaymentStatus.DUPLICATE
    assert m.release.all()


def test_sound_first_keeps_the_order_of_ids_among_equals() -> None:
    pool = remittances(*({"id_digest": digest, "id_offset": 2} for digest in (9, 2**64 - 1, 0)))
    keys = id_keys(pool.id_digest, pool.id_offset)
    assert keys.max() < 2**KEY_BITS
    assert sound_first(keys, pool.valid).tolist() == keys.tolist()
    assert sound_first(keys, ~pool.valid).argsort().tolist() == keys.argsort().tolist()
