"""Filters of the open list as people type them."""

from __future__ import annotations

from dataclasses import dataclass

from reassoc.core.calendar import BankingCalendar
from reassoc.core.errors import ReassocError
from reassoc.core.statuses import PaymentStatus, RemittanceStatus
from reassoc.stream.ageing import BUCKET_NAMES, AgeBucket
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_rows import ItemSide
from reassoc.stream.ledger_views import OPEN_LIMIT_MAX, OpenFilter, open_items

_SIDES = {"remittances": ItemSide.REMITTANCE, "payments": ItemSide.PAYMENT}
_STATUSES = {ItemSide.REMITTANCE: RemittanceStatus, ItemSide.PAYMENT: PaymentStatus}


class FilterError(ReassocError):
    """A filter that is none; the message says what it may be."""


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """What a command was given, "" and None for nothing.

    side : remittances or payments
    status : its lower-case name
    bucket : as BUCKET_NAMES has it
    """

    tenant: str = ""
    side: str = ""
    status: str = ""
    payer: str = ""
    payee: str = ""
    bucket: str = ""
    older_than: int | None = None
    cents_min: int | None = None
    cents_max: int | None = None
    trace: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it lets everything through."""
        return self == FilterOptions()

    def filter(self) -> OpenFilter:
        """What the ledger takes. Raises FilterError."""
        side = _SIDES.get(self.side)
        if self.side and side is None:
            raise FilterError(f"--side must be one of {', '.join(_SIDES)}")
        if self.bucket and self.bucket not in BUCKET_NAMES:
            raise FilterError(f"--age must be one of {', '.join(BUCKET_NAMES)}")
        low, high = self.cents_min, self.cents_max
        if low is not None and high is not None and low > high:
            raise FilterError("--cents-min is above --cents-max: nothing would fit")
        return OpenFilter(
            tenant=self.tenant or None,
            side=side,
            status=_status(self.status, side),
            payer=self.payer,
            payee=self.payee,
            bucket=AgeBucket(BUCKET_NAMES.index(self.bucket)) if self.bucket else None,
            older_than_banking_days=self.older_than,
            cents_min=self.cents_min,
            cents_max=self.cents_max,
            trace=self.trace,
        )


def _status(text: str, side: ItemSide | None) -> int | None:
    if not text:
        return None
    if side is None:
        raise FilterError("--status needs --side: both sides have statuses of their own")
    statuses = _STATUSES[side]
    name = text.upper().replace("-", "_")
    if name not in statuses.__members__:
        known = ", ".join(member.name.lower() for member in statuses)
        raise FilterError(f"--status must be one of {known}")
    return int(statuses[name])


def status_name(side: ItemSide, status: int) -> str:
    """`awaiting_eft`."""
    return str(_STATUSES[side](status).name).lower()


def filtered_items(
    ledger: Ledger, options: FilterOptions, side: str, *, day: int, calendar: BankingCalendar
) -> list[tuple[int, int]]:
    """(digest, offset) of every open item that fits.

    side : the only one that they may be of, "" for both

    Raises FilterError for the other side, and where more than OPEN_LIMIT_MAX fit.
    """
    if side and options.side not in ("", side):
        raise FilterError(f"this decision is about {side} only")
    if side:
        options = FilterOptions(
            **{**{name: getattr(options, name) for name in options.__slots__}, "side": side}
        )
    found = open_items(
        ledger, options.filter(), day=day, calendar=calendar, limit=OPEN_LIMIT_MAX, order="age"
    )
    count = sum(total.count for total in found.totals)
    if count > len(found.rows):
        raise FilterError(f"{count} items fit, more than OPEN_LIMIT_MAX ({OPEN_LIMIT_MAX})")
    return [(row.digest, row.offset) for row in found.rows]
