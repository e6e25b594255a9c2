"""Which items can change each other's outcome in the surest tiers: those that share a key.

What `match` with surest_only makes of an item depends on the items that share a key with it, on
what shares a key with those, and so on, and on nothing else in a pool. Equal keys mean the same in
every call and process, under the same policy and directory, so that they can be kept beside items.

    remittances   trace (N4) and payer (P2); body, by which duplicates are told; the carrying entry
    payments      trace and payer; ACH trace numbers, its own and those that a return or a
                  notification names; account and amount, by which reports, repeated lines,
                  reversals and returned checks are told; amount and trace as a number, by which a
                  line tells a check without its account, or money that went back; the entry itself,
                  where it carries an 835

The keys do not tell which checks a deposit holds, for that is told by whole days of an account; so
what checks and deposits are to each other is for the close (see `waits_for_close`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core._keys import mix
from reassoc.core.ach import EntryKind
from reassoc.core.directory import Directory
from reassoc.core.matching.keys import KeyRules, payment_items, remittance_items
from reassoc.core.matching.screening import Mask
from reassoc.core.matching.texts import hashes
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import PaymentSource

Keys = npt.NDArray[np.uint64]

_TRACE, _BODY, _CARRIER, _NUMBER, _ACCOUNT, _WRITTEN = range(1, 7)
"""What a key is made of, so that keys of different kinds do not meet. Kept beside items for years:
they never change."""


def remittance_keys(
    left: RemittanceColumns,
    policy: Policy,
    directory: Directory | None,
    carrier_offset: npt.NDArray[np.int64],
) -> list[Keys]:
    """uint64[n] each: the keys of remittances, 0 for none. O(bytes of traces and payers).

    carrier_offset : int64[n]   byte of the entry that carries each, in the same file; -1 for none
    """
    items = remittance_items(left, KeyRules.of(policy, directory), np.zeros(len(left), np.int64))
    no_body = left.body_hash == 0
    body = np.where(no_body, mix(left.id_digest, left.id_offset), left.body_hash)
    traced, everywhere = items.stable_keys(), np.ones(len(left), np.bool_)
    return [
        _keyed(_TRACE, (traced != 0) & (left.paid_cents > 0), traced),
        _keyed(_BODY, everywhere, body),
        _keyed(_CARRIER, carrier_offset >= 0, left.id_digest, carrier_offset),
    ]


def payment_keys(right: PaymentColumns, policy: Policy, directory: Directory | None) -> list[Keys]:
    """uint64[m] each: the keys of payments, 0 for none. O(bytes of traces, payers, accounts)."""
    items = payment_items(right, KeyRules.of(policy, directory), np.zeros(len(right), np.int64))
    traced, cents = items.stable_keys(), right.amount_cents
    money = (right.kind == EntryKind.CREDIT) & (cents > 0)
    entry = right.source == PaymentSource.ACH
    account = hashes(right.account, leading_zeros=False)
    written = hashes(right.trace, leading_zeros=False)
    moved = (cents > 0) & (money | (right.kind == EntryKind.DEBIT) | ~entry)
    return [
        _keyed(_TRACE, (traced != 0) & money, traced),
        _keyed(_NUMBER, entry | (right.ach_trace >= 0), right.ach_trace),
        _keyed(_NUMBER, right.original_trace >= 0, right.original_trace),
        _keyed(_NUMBER, right.return_trace > 0, right.return_trace),
        _keyed(_ACCOUNT, moved & ((account != 0) | ~entry), account, cents),
        _keyed(_WRITTEN, money & (written != 0), written, cents),
        _keyed(_CARRIER, right.has_remittance, right.id_digest, right.id_offset),
    ]


def waits_for_close(right: PaymentColumns) -> Mask:
    """bool[m]: checks and deposits, whose keys do not tell all that bears on them. What a
    neighbourhood says of their status and links is less than what the last close said."""
    found: Mask = right.source == PaymentSource.CHECK
    found |= right.source == PaymentSource.DEPOSIT
    return found


def _keyed(kind: int, on: Mask, *columns: npt.NDArray[Any]) -> Keys:
    keys = np.maximum(mix(np.full(len(on), kind), *columns), np.uint64(1))
    keys[~on] = 0
    return keys
