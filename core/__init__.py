"""reassoc.core: bytes to columns to pairs.

Pure: no file, no socket, no clock, no randomness, no log. Bytes and arrays go in, arrays and values
come out.

    read_835, iter_835      X12 835 files as tables of claims, services, adjustments, findings ...
    read_ach, iter_ach      ACH files as tables of batches, entries, addenda, findings ...
    read_bai2               bank reports as tables of groups, accounts, details, findings ...
    read_lockbox            lockbox lists, by a layout
    RemittanceColumns, PaymentColumns   pools of these, of any number of files: from_tables,
                            from_ach, bank_payments and lockbox_payments fill them, concat joins
    load_directory          payees and payers by their identifiers
    match                   which payment belongs to which remittance, by a Policy; what its columns
                            hold say the enums (MatchStatus, Tier, Reason ...), see `statuses`
"""

from reassoc.core._x12scan import active_kernel, kernels, release_memory
from reassoc.core.ach import AchFiles, iter_ach, read_ach
from reassoc.core.bai2 import BankReports, read_bai2
from reassoc.core.bank_lines import payments as bank_payments
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE, Table, TextColumn
from reassoc.core.directory import Account, Directory, Payee, Payer, load_directory
from reassoc.core.errors import (
    DirectoryError,
    FindingCode,
    LayoutError,
    LimitError,
    ParseError,
    PolicyError,
    ReassocError,
    Severity,
)
from reassoc.core.lockbox import LockboxLayout, LockboxList, read_lockbox
from reassoc.core.lockbox import payments as lockbox_payments
from reassoc.core.match import Links, Matches, Pairs, match, reason_text
from reassoc.core.policy import PayerRule, Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import (
    Field,
    Funding,
    LinkKind,
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    Rail,
    Reason,
    RemittanceStatus,
    Rewrite,
    Tier,
    VarianceCause,
)
from reassoc.core.x12_835 import Remittances, iter_835, read_835, read_835_ranges

__all__ = [
    "DATE_NONE",
    "Account",
    "AchFiles",
    "BankReports",
    "BankingCalendar",
    "Directory",
    "DirectoryError",
    "Field",
    "FindingCode",
    "Funding",
    "LayoutError",
    "LimitError",
    "LinkKind",
    "Links",
    "LockboxLayout",
    "LockboxList",
    "MatchStatus",
    "Matches",
    "Pairs",
    "ParseError",
    "Payee",
    "Payer",
    "PayerRule",
    "PaymentColumns",
    "PaymentSource",
    "PaymentStatus",
    "Policy",
    "PolicyError",
    "Rail",
    "Reason",
    "ReassocError",
    "RemittanceColumns",
    "RemittanceStatus",
    "Remittances",
    "Rewrite",
    "Severity",
    "Table",
    "TextColumn",
    "Tier",
    "VarianceCause",
    "active_kernel",
    "bank_payments",
    "iter_835",
    "iter_ach",
    "kernels",
    "load_directory",
    "lockbox_payments",
    "match",
    "read_835",
    "read_835_ranges",
    "read_ach",
    "read_bai2",
    "read_lockbox",
    "reason_text",
    "release_memory",
]
