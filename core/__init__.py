"""reassoc.core: bytes to columns to pairs.

Pure: no file, no socket, no clock, no randomness, no log. Bytes and arrays go in, arrays and values
come out.

    read_835, iter_835      X12 835 files as tables of claims, services, adjustments, findings ...
    read_ach, iter_ach      ACH files as tables of batches, entries, addenda, findings ...
    read_bai2               bank reports as tables of groups, accounts, details, findings ...
    read_lockbox            lockbox lists, by a layout
    match                   which payment belongs to which remittance
"""

from reassoc.core._x12scan import active_kernel, kernels, release_memory
from reassoc.core.ach import AchFiles, iter_ach, read_ach
from reassoc.core.bai2 import BankReports, read_bai2
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE, Table, TextColumn
from reassoc.core.directory import Directory, load_directory
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
from reassoc.core.match import Matches, match
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.x12_835 import Remittances, iter_835, read_835, read_835_ranges

__all__ = [
    "DATE_NONE",
    "AchFiles",
    "BankReports",
    "BankingCalendar",
    "Directory",
    "DirectoryError",
    "FindingCode",
    "LayoutError",
    "LimitError",
    "LockboxLayout",
    "LockboxList",
    "Matches",
    "ParseError",
    "PaymentColumns",
    "Policy",
    "PolicyError",
    "ReassocError",
    "RemittanceColumns",
    "Remittances",
    "Severity",
    "Table",
    "TextColumn",
    "active_kernel",
    "iter_835",
    "iter_ach",
    "kernels",
    "load_directory",
    "match",
    "read_835",
    "read_835_ranges",
    "read_ach",
    "read_bai2",
    "read_lockbox",
    "release_memory",
]
