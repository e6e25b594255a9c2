"""Whose money an item is about: its payee and tenant, by the directory where there is one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reassoc.core import _payees
from reassoc.core.columns import TextColumn
from reassoc.core.directory import DEFAULT_TENANT, Directory
from reassoc.core.matching.holders import Days, Holders, Mask, Numbers
from reassoc.core.pool import PaymentColumns, RemittanceColumns, text_parts
from reassoc.core.statuses import Reason

Flags = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, repr=False)
class Identities:
    """Payees and tenants of both sides.

    left_payee, right_payee : uint32[n], uint32[m]     0 for unknown; equal numbers are one payee;
        with a directory number k is its payees[k - 1]
    left_tenant, right_tenant : uint32[n], uint32[m]   numbers in `tenants`; that of items without
        a payee is 0
    left_reason, right_reason : int64[n], int64[m]     UNKNOWN_PAYEE and PAYEE_CONTRADICTION, which
        quarantine an item; none without a directory
    """

    left_payee: Numbers
    right_payee: Numbers
    left_tenant: Numbers
    right_tenant: Numbers
    tenants: tuple[str, ...]
    left_reason: Flags
    right_reason: Flags


def identify(
    left: RemittanceColumns,
    right: PaymentColumns,
    left_day: Days,
    right_day: Days,
    directory: Directory | None,
) -> Identities:
    """Tell the payee of every item.

    left_day, right_day : int32[n], int32[m]    the day of each item, DATE_NONE for none

    Without a directory a payee is an account at a bank: BPR13 and BPR15, or RDFI and account. With
    one, every identifier that it knows on the item's day must mean the same payee: of a remittance
    its account, its NPI and its tax number, of a payment the account, in a bank's report without a
    routing number the account alone if only one payee has it. Items without a day take what holds
    on any day, if that is one payee. O(n + m), see Holders for what several payees hold.
    """
    if directory is None:
        return _by_account(left, right)
    left_payee, left_wrong = _payee_of_remittances(left, left_day, directory)
    right_payee = _payee_of_payments(right, right_day, directory)
    tenants = directory.tenant_numbers
    return Identities(
        left_payee=left_payee,
        right_payee=right_payee,
        left_tenant=tenants[left_payee],
        right_tenant=tenants[right_payee],
        tenants=directory.tenants,
        left_reason=_reasons(left_payee, left_wrong),
        right_reason=_reasons(right_payee, np.zeros(len(right), np.bool_)),
    )


def _by_account(left: RemittanceColumns, right: PaymentColumns) -> Identities:
    accounts = _payees.Identifiers()
    left_payee = accounts.number(
        *text_parts(left.payee_account), _payees.routings(*text_parts(left.payee_bank)),
        is_account=True,
    )  # fmt: skip
    right_payee = accounts.number(*text_parts(right.account), _routings_of(right), is_account=True)
    return Identities(
        left_payee=left_payee,
        right_payee=right_payee,
        left_tenant=np.zeros(len(left), np.uint32),
        right_tenant=np.zeros(len(right), np.uint32),
        tenants=(DEFAULT_TENANT,),
        left_reason=np.zeros(len(left), np.int64),
        right_reason=np.zeros(len(right), np.int64),
    )


def _routings_of(right: PaymentColumns) -> Days:
    known = right.rdfi_routing > 0
    if known.all():
        return np.ascontiguousarray(right.rdfi_routing)
    return np.where(known, right.rdfi_routing, np.int32(_payees.ROUTING_NONE))


def _payee_of_remittances(
    left: RemittanceColumns, days: Days, directory: Directory
) -> tuple[Numbers, Mask]:
    """Payees, and where identifiers contradict each other (there the payee is 0)."""
    is_npi = left.payee_entity_qualifier == b"XX"
    is_tin = left.payee_entity_qualifier == b"FI"
    banks = _payees.routings(*text_parts(left.payee_bank))
    known = [
        (directory.accounts, directory.accounts.number(left.payee_account, banks)),
        (directory.npis, directory.npis.number(_only(left.payee_entity_id, is_npi))),
        (directory.tins, directory.tins.number(left.payee_tin)),
    ]
    if is_tin.any():
        column = _only(left.payee_entity_id, is_tin)
        known.append((directory.tins, directory.tins.number(column)))
    return _agreed(known, days)


def _agreed(known: list[tuple[Holders, Numbers]], days: Days) -> tuple[Numbers, Mask]:
    payee = np.zeros(len(days), np.uint32)
    wrong = np.zeros(len(days), np.bool_)
    for holders, numbers in known:
        named = holders.payee(numbers, days)
        np.copyto(payee, named, where=payee == 0)
    for holders, numbers in known:
        wrong |= holders.contradicts(numbers, payee, days)
    payee[wrong] = 0
    return payee, wrong


def _payee_of_payments(right: PaymentColumns, days: Days, directory: Directory) -> Numbers:
    banks = _routings_of(right)
    payee = directory.accounts.payee(directory.accounts.number(right.account, banks), days)
    rows = np.flatnonzero(banks == _payees.ROUTING_NONE)
    if len(rows):
        holders = directory.account_numbers
        payee[rows] = holders.payee(holders.number(right.account[rows]), days[rows])
    return payee


def _only(column: TextColumn, where: Mask) -> TextColumn:
    """The column, empty where the mask is not set."""
    if where.all():
        return column
    refs = column.refs.copy()
    refs[:, 1][~where] = 0
    return TextColumn(column.source, refs)


def _reasons(payee: Numbers, contradiction: Mask) -> Flags:
    reasons = np.where(payee == 0, np.int64(Reason.UNKNOWN_PAYEE), np.int64(0))
    reasons[contradiction] = np.int64(Reason.PAYEE_CONTRADICTION)
    return reasons
