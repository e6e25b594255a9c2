"""Items of both sides in normal form, by the policy's and the directory's rules of payers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.directory import Directory
from reassoc.core.matching.payers import payment_steps, remittance_steps, rules
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns, text_parts

Flags = npt.NDArray[np.int64]
Days = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Who is one payer (P2), who is nobody, and what each puts around its traces (N4)."""

    payers: _keys.PayerTable
    affixes: _keys.Affixes

    @classmethod
    def of(cls, policy: Policy, directory: Directory | None) -> KeyRules:
        """The rules of a policy and a directory, see payers.rules."""
        return cls(*rules(policy, directory))


def payment_days(right: PaymentColumns) -> Days:
    """int32[m]: the effective date, else the settlement date."""
    dates = right.effective_date
    undated = dates == DATE_NONE
    return np.where(undated, right.settlement_date, dates) if undated.any() else dates


def remittance_items(
    left: RemittanceColumns, key_rules: KeyRules, hold: Flags, trace: TextColumn | None = None
) -> _keys.Items:
    """Remittances in normal form; `trace` stands in for their own traces."""
    return _keys.Items(
        *text_parts(left.trace if trace is None else trace), *text_parts(left.payer_id),
        key_rules.payers, key_rules.affixes,
        left.paid_cents, left.effective_date, left.id_digest, left.id_offset, hold,
        remittance_steps(left),
    )  # fmt: skip


def payment_items(right: PaymentColumns, key_rules: KeyRules, hold: Flags) -> _keys.Items:
    """Payments in normal form."""
    return _keys.Items(
        *text_parts(right.trace), *text_parts(right.payer_id),
        key_rules.payers, key_rules.affixes,
        right.amount_cents, payment_days(right), right.id_digest, right.id_offset, hold,
        payment_steps(right),
    )  # fmt: skip
