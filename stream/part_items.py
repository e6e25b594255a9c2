"""What one message gave: items of a part of a file, packed, and where they go."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.stream.message import Manifest, PartHead
from reassoc.stream.records import Block
from reassoc.stream.routing import (
    Numbers,
    Route,
    RouteBuilder,
    Tenants,
    encode_route,
    route_to_one,
)

NO_ROWS = Block(b"", np.zeros(0, np.int64))
NO_NUMBERS: Numbers = np.zeros(0, np.uint32)
NO_REMITTANCES, NO_PAYMENTS = RemittanceColumns.empty(), PaymentColumns.empty()
NO_COUNTS: Mapping[int, int] = {}
NO_FINDINGS = NO_COUNTS, b""
NO_PROFILES: Mapping[int, bytes] = {}


class PartItems(msgspec.Struct, frozen=True, gc=False):
    """What one message gave, or one member of an archive in it.

    message : row of the message
    head : what it says of itself, or what was found out; of a manifest that, and no items
    remittances, payments : rows of REMITTANCE_ITEM and PAYMENT_ITEM, verdicts final
    tenants : among them some that nothing goes to; the numbers, uint32[rows], are rows of it
    profiles : encoded, by the keys that the remittances name
    remittance_cents : sum of BPR02    payment_cents : sum of the credits among the payments
    finding_counts, findings : by code, and as lines of findings.csv, the first
        PART_FINDINGS_BYTES_MAX of them; of a manifest its own
    reason : why nothing was taken; holds no value of the message
    data : its bytes in the file
    """

    message: int
    head: PartHead | Manifest
    remittances: Block = NO_ROWS
    payments: Block = NO_ROWS
    tenants: tuple[str, ...] = ()
    remittance_tenants: Numbers = msgspec.field(default_factory=lambda: NO_NUMBERS)
    payment_tenants: Numbers = msgspec.field(default_factory=lambda: NO_NUMBERS)
    profiles: Mapping[int, bytes] = msgspec.field(default_factory=lambda: NO_PROFILES)
    claim_count: int = 0
    remittance_cents: int = 0
    payment_cents: int = 0
    finding_counts: Mapping[int, int] = msgspec.field(default_factory=lambda: NO_COUNTS)
    findings: bytes = b""
    reason: str = ""
    data: bytes = b""

    def __repr__(self) -> str:
        # Never what is in it: a log or a traceback must not show people's data.
        counts = f"{len(self.remittances)} remittances, {len(self.payments)} payments"
        return f"<PartItems of message {self.message}: {counts}>"

    def route(self) -> tuple[Route, bytes]:
        """Where its items go, and as it is remembered. O(items)."""
        tenant = self._only_tenant()
        if tenant is not None:
            return route_to_one(tenant, len(self.remittances.stops), len(self.payments.stops))
        builder = RouteBuilder()
        builder.add(Tenants(self.tenants, self.remittance_tenants, self.payment_tenants))
        route = builder.route()
        return route, encode_route(route)

    def _only_tenant(self) -> str | None:
        """The tenant that all items go to; None for several, or no items."""
        only = -1
        for numbers in (self.remittance_tenants, self.payment_tenants):
            if not len(numbers):
                continue
            first = int(numbers[0])
            if only not in (-1, first) or (len(numbers) > 1 and bool((numbers != first).any())):
                return None
            only = first
        return self.tenants[only] if only >= 0 else None
