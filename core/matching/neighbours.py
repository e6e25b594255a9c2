"""Which items can change each other's outcome in the surest tiers: those that share a key.

What `match` with surest_only makes of an item depends on the items that share a key with it, on
what shares a key with those, and so on, and on nothing else in a pool. Equal keys mean the same in
every call and process, under the same policy and directory, so that they can be kept beside items.

    remittances   trace (N4) and payer (P2); body, by which duplicates are told; the carrying entry
    payments      trace and payer; ACH trace numbers that a return or a notification names; account
                  and amount, by which reports, copies, repeated lines, reversals and returned
                  checks are told; amount and trace as a number, by which a line tells a check
                  without its account, or money that went back; the entry itself, where it carries
                  an 835
    offered       the payment's own ACH trace number

What a key offers is found by those that ask for it, and by nothing else: many banks number the
entries of each file from one, and what has the same number has nothing to do with each other until
a return names it. See `sought`, and docs/decisions/0022.

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

KEYS_VERSION = 2
"""Of how keys are made. They are kept beside items for years: where they change, this does, and the
items of a state of another version get new ones before anything else (stream/new_keys.py)."""

_TRACE, _BODY, _CARRIER, _NUMBER, _ACCOUNT, _WRITTEN, _COPY = range(1, 8)
"""What a key is made of, so that keys of different kinds do not meet."""
_COMMON, _OFFERS, _ASKS = (np.uint64(role) for role in range(3))
"""The last two bits of a key: what is found by its equals, what only those find that ask for it,
and what asks. A key that offers and the one that asks for it differ in both bits."""
_ROLE = np.uint64(3)


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
        _keyed(_TRACE, traced != 0, traced),
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
    placed = moved & ((account != 0) | ~entry)
    numbered = entry | (right.ach_trace >= 0)
    original, sent_back = right.original_trace, right.return_trace
    return [
        _keyed(_TRACE, (traced != 0) & money, traced),
        _keyed(_NUMBER, numbered, right.ach_trace, role=_OFFERS),
        _keyed(_NUMBER, original >= 0, original, role=_ASKS),
        _keyed(_NUMBER, sent_back > 0, sent_back, role=_ASKS),
        _keyed(_ACCOUNT, placed, account, cents),
        _keyed(_COPY, numbered & ~placed, right.ach_trace, account, cents),
        _keyed(_WRITTEN, money & (written != 0), written, cents),
        _keyed(_CARRIER, right.has_remittance, right.id_digest, right.id_offset),
    ]


def sought(keys: Keys) -> Keys:
    """uint64[k]: the keys that items have which bear on those that have `keys`. Of what is offered,
    those that ask for it; of what asks, what is offered, and those that ask for the same. O(n)."""
    role = keys & _ROLE
    return np.concatenate([keys[role != _OFFERS], keys[role != _COMMON] ^ _ROLE])


def meeting(keys: Keys) -> Keys:
    """uint64[n]: the same by which items meet where they are equal: what is offered has the key of
    those that ask for it, 0 where none of `keys` does. O(n log n)."""
    role = keys & _ROLE
    met: Keys = np.where(role == _OFFERS, keys ^ _ROLE, keys)
    met[(role == _OFFERS) & ~np.isin(met, keys[role == _ASKS])] = 0
    return met


def bear_on(keys: Keys, missing: Keys) -> Mask:
    """bool[n]: which keys are, or look for, any of those of which not all is known. O(n log n)."""
    found: Mask = np.isin(keys, missing)
    found |= ((keys & _ROLE) != _COMMON) & np.isin(keys ^ _ROLE, missing)
    return found


def waits_for_close(right: PaymentColumns) -> Mask:
    """bool[m]: checks and deposits, whose keys do not tell all that bears on them. What a
    neighbourhood says of their status and links is less than what the last close said."""
    found: Mask = right.source == PaymentSource.CHECK
    found |= right.source == PaymentSource.DEPOSIT
    return found


def _keyed(kind: int, on: Mask, *columns: npt.NDArray[Any], role: np.uint64 = _COMMON) -> Keys:
    keys: Keys = np.maximum(mix(np.full(len(on), kind), *columns) & ~_ROLE, _ROLE + 1) | role
    keys[~on] = 0
    return keys
