"""What other systems may hear of a warehouse: small records on topics of their own.

    PREFIX.events.remittance-received   an 835 is known
    PREFIX.events.payment-settled       a payment's money is there
    PREFIX.events.remittance-released   an 835 goes to its receiver
    PREFIX.events.exception-detected    somebody should look at an item
    PREFIX.events.claim-denied          an 835 has claims that were denied

They are made from the outbox, behind the ledger, and come at least once: the `id` of an event is
the same when it comes again (tenant, sequence of the outbox entry, type, place in it). Those of a
tenant have one key, so they stay in their order. Ids, cents, days, codes and counts are in them: no
name, no account, no trace, nothing of a patient or a claim. Encoded as JSON; docs/schemas/ has
their schemas. A field may be added; whatever else changes gets another `version`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache, partial
from inspect import cleandoc
from itertools import count
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.core.columns import DATE_NONE
from reassoc.core.statuses import Funding, PaymentStatus, Reason, RemittanceStatus
from reassoc.stream.event_facts import settles
from reassoc.stream.items import (
    ReleaseKind,
    item_name,
)
from reassoc.stream.ledger_rows import (
    ALERT_ROW,
    ITEM_ROW,
    ORDER_ROW,
    STATUS_ROW,
    AlertCode,
    ItemSide,
    OutboxBody,
    rows_of,
)

_EPOCH = date(1970, 1, 1)


class ExceptionCode(StrEnum):
    """What an exception is about: a status that waits for somebody, or an alert."""

    INVALID = "invalid"
    DUPLICATE = "duplicate"
    VARIANCE = "variance"
    REVIEW = "review"
    QUARANTINED = "quarantined"
    RETURNED = "returned"
    REVERSED = "reversed"
    RIVAL_AFTER_RELEASE = "rival_after_release"
    RETURN_AFTER_RELEASE = "return_after_release"
    DUPLICATE_OF_HISTORY = "duplicate_of_history"
    FUNDED_AFTER_DEFAULT = "funded_after_default"
    CROWDED_KEY = "crowded_key"


class Side(StrEnum):
    """Which of the two an item is."""

    REMITTANCE = "remittance"
    PAYMENT = "payment"


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What all events have.

    id : of the event, for whoever must not count it twice
    tenant : whose warehouse it is        item : id of the item, as commands take it
    position : on the tenant's item log, of the entry whose step says so
    banking_day : the one that was open   as_of : logged time of that step, ISO 8601
    """

    id: str
    tenant: str
    item: str
    position: int
    banking_day: date | None
    as_of: str
    version: Literal[1] = 1


class RemittanceReceived(_Event, frozen=True, kw_only=True, tag="remittance-received"):
    """An 835 is known. cents : BPR02; effective_day : BPR16; claims : how many are in it"""

    cents: int
    effective_day: date | None
    claims: int


class PaymentSettled(_Event, frozen=True, kw_only=True, tag="payment-settled"):
    """A payment's money is there. cents : None in what an older version wrote

    funding : settled (its settlement day has come) or posted (the bank's report shows it)
    """

    cents: int | None
    funding: Literal["settled", "posted"]


class RemittanceReleased(_Event, frozen=True, kw_only=True, tag="remittance-released"):
    """An 835 goes to its receiver. From here on it is never held again.

    release : why (match, zero_pay, default, manual)    sending : 1, more for what is sent again
    """

    cents: int
    release: Literal["match", "zero_pay", "default", "manual"]
    sending: int


class ExceptionDetected(_Event, frozen=True, kw_only=True, tag="exception-detected"):
    """Somebody should look at an item. reasons : names of statuses.Reason in lower case

    match : id of the match that it is about, 16 hexadecimal digits
    """

    side: Side
    code: ExceptionCode
    reasons: tuple[str, ...] = ()
    match: str | None = None


class ClaimDenied(_Event, frozen=True, kw_only=True, tag="claim-denied"):
    """An 835 has at least one denied claim: CLP02 is 4, or nothing is paid though it was charged.
    One event for an 835, since the warehouse keeps no claims.

    claims : how many are in the 835, denied or not
    """

    claims: int


Event = RemittanceReceived | PaymentSettled | RemittanceReleased | ExceptionDetected | ClaimDenied
E = TypeVar("E", bound=_Event)
EVENT_TYPES: tuple[type[Event], ...] = (
    RemittanceReceived,
    PaymentSettled,
    RemittanceReleased,
    ExceptionDetected,
    ClaimDenied,
)
TOPICS = tuple(str(kind.__struct_config__.tag) for kind in EVENT_TYPES)
"""Names of the topics behind `PREFIX.events.`, in the order of EVENT_TYPES."""

encode_event = msgspec.json.Encoder().encode
"""An event as JSON in UTF-8."""
decode_event = msgspec.json.Decoder(Event).decode
"""An event out of JSON. Raises msgspec.ValidationError for another version or type."""


def events_of(sequence: int, body: OutboxBody) -> list[tuple[str, bytes, Event]]:
    """The events of one outbox entry, in a fixed order: topic suffix, key of the message, event.

    sequence : of the entry in its tenant's outbox

    O(rows), a few microseconds for each event.
    """
    made = _Making(sequence, body)
    key = body.ledger.tenant.encode()
    events: list[Event] = [*made.received(), *made.settled(), *made.denied(), *made.exceptions()]
    if body.release is not None:
        events += made.released(rows_of(body.release.items, ORDER_ROW))
    return [(_SUFFIXES[type(event)], key, event) for event in events]


_SUFFIXES = {kind: f"events.{name}" for kind, name in zip(EVENT_TYPES, TOPICS, strict=True)}


class _Making:
    """Makes the events of one entry."""

    def __init__(self, sequence: int, body: OutboxBody) -> None:
        batch = body.ledger
        self._denied = np.frombuffer(body.facts.denied, "<u4")
        self._cents = np.frombuffer(body.facts.cents, "<i8")
        items = rows_of(batch.items, ITEM_ROW)
        self._remittances = items[items["side"] == ItemSide.REMITTANCE]
        self._statuses = rows_of(batch.statuses, STATUS_ROW)
        self._alerts = rows_of(batch.alerts, ALERT_ROW)
        self._prefix = f"{batch.tenant}/{sequence}"
        self._common: dict[str, Any] = {
            "tenant": batch.tenant,
            "position": batch.position,
            "banking_day": _date(batch.day),
            "as_of": batch.as_of,
        }

    def _maker(self, kind: type[E]) -> Callable[..., E]:
        """Makes events of a kind of a place among those of the kind, an item, and what else they
        have. As plain a call as can be: there is one for each event."""
        head, make = f"{self._prefix}/{kind.__struct_config__.tag}/", partial(kind, **self._common)

        def event(place: int, digest: int, offset: int, **more: Any) -> E:
            return make(id=f"{head}{place}", item=f"{_item_head(digest)}{offset}", **more)

        return event

    def received(self) -> Iterator[RemittanceReceived]:
        event, places = self._maker(RemittanceReceived), count()
        columns = _columns(self._remittances, "digest", "offset", "cents", "day", "claims")
        for place, digest, offset, cents, day, claims in zip(places, *columns, strict=False):
            yield event(place, digest, offset, cents=cents, effective_day=_date(day), claims=claims)

    def denied(self) -> Iterator[ClaimDenied]:
        event, places = self._maker(ClaimDenied), self._denied.tolist()
        columns = _columns(self._remittances[self._denied], "digest", "offset", "claims")
        for place, digest, offset, claims in zip(places, *columns, strict=True):
            yield event(place, digest, offset, claims=claims)

    def settled(self) -> Iterator[PaymentSettled]:
        event = self._maker(PaymentSettled)
        rows = self._statuses[settles(self._statuses)]
        columns = _columns(rows, "digest", "offset", "funding_after")
        cents = self._cents.tolist() or [None] * len(rows)
        for place, (digest, offset, funding, paid) in enumerate(zip(*columns, cents, strict=True)):
            yield event(
                place,
                digest,
                offset,
                cents=paid,
                funding="posted" if funding == Funding.POSTED else "settled",
            )

    def exceptions(self) -> Iterator[ExceptionDetected]:
        """Statuses first, alerts behind them."""
        event, places = self._maker(ExceptionDetected), count()
        rows = self._statuses
        rows = rows[(rows["after"] != rows["before"]) & _IS_EXCEPTION[rows["side"], rows["after"]]]
        columns = _columns(rows, "digest", "offset", "side", "after", "reason")
        for digest, offset, side, after, reason in zip(*columns, strict=True):
            yield event(
                next(places),
                digest,
                offset,
                side=_SIDES[side],
                code=_STATUS_CODES[side][after],
                reasons=_reason_names(reason),
            )
        columns = _columns(self._alerts, "digest", "offset", "side", "code", "match_id")
        for digest, offset, side, number, match in zip(*columns, strict=True):
            yield event(
                next(places),
                digest,
                offset,
                side=_SIDES[side],
                code=ExceptionCode[AlertCode(number).name],
                match=f"{match:016x}" if match else None,
            )

    def released(self, rows: npt.NDArray[Any]) -> Iterator[RemittanceReleased]:
        event, places = self._maker(RemittanceReleased), count()
        columns = _columns(rows, "digest", "offset", "cents", "release_kind", "sending")
        for place, digest, offset, cents, kind, sending in zip(places, *columns, strict=False):
            yield event(
                place, digest, offset, cents=cents, release=_RELEASES[kind], sending=sending
            )


@lru_cache(maxsize=4096)
def _item_head(digest: int) -> str:
    """Of `item_name`, what all items of a file have: few files are in many entries."""
    return item_name(digest, 0)[:-1]


def _columns(rows: npt.NDArray[Any], *names: str) -> list[list[int]]:
    return [rows[name].tolist() for name in names]


_SIDES = {int(side): Side[side.name] for side in ItemSide}
_RELEASES: dict[int, Literal["match", "zero_pay", "default", "manual"]] = {
    ReleaseKind.MATCH: "match",
    ReleaseKind.ZERO_PAY: "zero_pay",
    ReleaseKind.DEFAULT: "default",
    ReleaseKind.MANUAL: "manual",
}
_STATUS_CODES: dict[int, dict[int, ExceptionCode]] = {
    ItemSide.REMITTANCE: {
        RemittanceStatus.INVALID: ExceptionCode.INVALID,
        RemittanceStatus.DUPLICATE: ExceptionCode.DUPLICATE,
        RemittanceStatus.MATCHED_VARIANCE: ExceptionCode.VARIANCE,
        RemittanceStatus.PROBABLE: ExceptionCode.REVIEW,
        RemittanceStatus.QUARANTINED: ExceptionCode.QUARANTINED,
        RemittanceStatus.UNMATCHED_BY_RETURN: ExceptionCode.RETURNED,
    },
    ItemSide.PAYMENT: {
        PaymentStatus.DUPLICATE: ExceptionCode.DUPLICATE,
        PaymentStatus.SUGGESTED: ExceptionCode.REVIEW,
        PaymentStatus.QUARANTINED: ExceptionCode.QUARANTINED,
        PaymentStatus.RETURNED: ExceptionCode.RETURNED,
        PaymentStatus.REVERSED: ExceptionCode.REVERSED,
    },
}


_IS_EXCEPTION = np.zeros((len(ItemSide), 256), np.bool_)
for _side, _codes in _STATUS_CODES.items():
    _IS_EXCEPTION[_side, list(_codes)] = True
_REASON_NAMES = tuple((int(flag), str(flag.name).lower()) for flag in Reason)


@lru_cache(maxsize=4096)
def _reason_names(flags: int) -> tuple[str, ...]:
    """Few combinations of flags are common."""
    return tuple(name for flag, name in _REASON_NAMES if flags & flag)


@lru_cache(maxsize=4096)
def _date(days: int) -> date | None:
    """Few days are common."""
    if days == DATE_NONE:
        return None
    try:
        return _EPOCH + timedelta(days)
    except OverflowError:
        return None


# ---- schemas ----


def schemas() -> dict[str, bytes]:
    """The JSON schema of each event by the name of its file in docs/schemas/."""
    found = {}
    for kind in EVENT_TYPES:
        schema = msgspec.json.schema(kind)
        for part in schema["$defs"].values():
            # As docstrings are indented, releases of msgspec differ in what they leave of it.
            part["description"] = cleandoc(part["description"])
        text = msgspec.json.encode(schema, order="sorted")
        name = f"{kind.__struct_config__.tag}.v1.json"
        found[name] = msgspec.json.format(text, indent=2) + b"\n"
    return found
