"""Events: what an outbox entry says, and nothing of a person; the same when it comes again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from engine_world import World
from small_feed import TWO_TENANTS, Entry, ach_file, interchange, remittance

from reassoc.core.columns import DATE_NONE
from reassoc.core.statuses import Funding, PaymentStatus, Reason, RemittanceStatus
from reassoc.stream.clock import parse_as_of
from reassoc.stream.events import (
    EVENT_TYPES,
    TOPICS,
    ClaimDenied,
    Event,
    ExceptionCode,
    ExceptionDetected,
    PaymentSettled,
    RemittanceReceived,
    RemittanceReleased,
    decode_event,
    encode_event,
    events_of,
    schemas,
)
from reassoc.stream.items import ReleaseKind
from reassoc.stream.ledger_rows import (
    ALERT_ROW,
    ITEM_ROW,
    ORDER_ROW,
    STATUS_ROW,
    AlertCode,
    EventFacts,
    ItemSide,
    LedgerBatch,
    OutboxBody,
    ReleaseOrder,
    decode_body,
)

E = TypeVar("E")
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
DAY = 20_528
"""2026-03-16."""
AS_OF = "2026-03-16T12:00:00+00:00"
COMMON: dict[str, Any] = {
    "tenant": "north",
    "item": "00000000000000ab-7",
    "position": 12,
    "banking_day": date(2026, 3, 16),
    "as_of": AS_OF,
}


def table(kind: np.dtype[Any], *rows: dict[str, Any]) -> bytes:
    found: npt.NDArray[Any] = np.zeros(len(rows), kind)
    found["digest"], found["offset"] = 0xAB, 7
    for place, row in enumerate(rows):
        for name, value in row.items():
            found[name][place] = value
    return found.tobytes()


def body(denied: Sequence[int] = (), cents: Sequence[int] = (), **tables: bytes) -> OutboxBody:
    facts = EventFacts(np.array(denied, "<u4").tobytes(), np.array(cents, "<i8").tobytes())
    return OutboxBody(LedgerBatch("north", 12, DAY, AS_OF, "items", **tables), None, facts)


def made(body: OutboxBody) -> list[Event]:
    return [event for _, _, event in events_of(5, body)]


def of(kind: type[E], events: list[Event]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def test_a_remittance_that_came_is_told_with_its_money_and_day() -> None:
    row = {"cents": 12345, "day": DAY + 1, "claims": 3}
    no_day = {"cents": 0, "day": DATE_NONE}
    payment = {"side": ItemSide.PAYMENT, "cents": 1}
    one, two = made(body(items=table(ITEM_ROW, row, no_day, payment)))
    assert one == RemittanceReceived(
        **COMMON,
        id="north/5/remittance-received/0",
        cents=12345,
        effective_day=date(2026, 3, 17),
        claims=3,
    )
    assert isinstance(two, RemittanceReceived)
    assert (two.id, two.effective_day) == ("north/5/remittance-received/1", None)


def test_denied_claims_are_told_where_the_step_says_so() -> None:
    payment = {"side": ItemSide.PAYMENT}
    items = table(ITEM_ROW, {"claims": 1}, payment, {"claims": 3})
    assert [type(event) for event in made(body(items=items))] == [RemittanceReceived] * 2
    assert made(body(denied=[1], items=items))[2] == ClaimDenied(
        **COMMON, id="north/5/claim-denied/1", claims=3
    )


def test_a_payment_is_settled_when_its_funding_says_so_for_the_first_time() -> None:
    settled = {"side": ItemSide.PAYMENT, "funding_before": 1, "funding_after": Funding.SETTLED}
    posted = {**settled, "funding_before": Funding.SETTLED, "funding_after": Funding.POSTED}
    same = {**settled, "funding_before": Funding.SETTLED}
    expected = {**settled, "funding_before": 0, "funding_after": Funding.EXPECTED}
    statuses = table(STATUS_ROW, expected, settled, same, posted)
    events = made(body(cents=[900, 800], statuses=statuses))
    told = [(one.funding, one.cents) for one in of(PaymentSettled, events)]
    assert told == [("settled", 900), ("posted", 800)]
    assert len(events) == 2


def test_an_entry_of_an_older_version_is_told_without_what_it_does_not_say() -> None:
    settled = {"side": ItemSide.PAYMENT, "funding_before": 1, "funding_after": Funding.SETTLED}
    ledger = body(items=table(ITEM_ROW, {}), statuses=table(STATUS_ROW, settled)).ledger
    older = msgspec.msgpack.encode([ledger, None])
    came, event = made(decode_body(older))
    assert isinstance(came, RemittanceReceived)
    assert isinstance(event, PaymentSettled)
    assert event.cents is None


@pytest.mark.parametrize(
    ("side", "status", "code"),
    [
        (ItemSide.REMITTANCE, RemittanceStatus.INVALID, "invalid"),
        (ItemSide.REMITTANCE, RemittanceStatus.DUPLICATE, "duplicate"),
        (ItemSide.REMITTANCE, RemittanceStatus.PROBABLE, "review"),
        (ItemSide.REMITTANCE, RemittanceStatus.MATCHED_VARIANCE, "variance"),
        (ItemSide.REMITTANCE, RemittanceStatus.UNMATCHED_BY_RETURN, "returned"),
        (ItemSide.REMITTANCE, RemittanceStatus.MATCHED, None),
        (ItemSide.REMITTANCE, RemittanceStatus.AWAITING_EFT, None),
        (ItemSide.PAYMENT, PaymentStatus.SUGGESTED, "review"),
        (ItemSide.PAYMENT, PaymentStatus.RETURNED, "returned"),
        (ItemSide.PAYMENT, PaymentStatus.QUARANTINED, "quarantined"),
        (ItemSide.PAYMENT, PaymentStatus.MATCHED, None),
    ],
)
def test_a_status_that_waits_for_somebody_is_an_exception(
    side: ItemSide, status: int, code: str | None
) -> None:
    row = {"side": side, "after": status, "reason": int(Reason.TIE | Reason.CURRENCY)}
    events = made(body(statuses=table(STATUS_ROW, row, {**row, "before": status})))
    assert len(events) == (code is not None)
    for event in events:
        assert event == ExceptionDetected(
            **COMMON,
            id="north/5/exception-detected/0",
            side=side.name.lower(),  # type: ignore[arg-type]
            code=code,  # type: ignore[arg-type]
            reasons=("tie", "currency"),
        )


def test_every_alert_is_an_exception_behind_the_statuses() -> None:
    alerts = [{"code": code, "match_id": 0 if code == 1 else 0xFF} for code in AlertCode]
    status = {"after": RemittanceStatus.INVALID}
    events = made(body(statuses=table(STATUS_ROW, status), alerts=table(ALERT_ROW, *alerts)))
    codes = [event.code for event in of(ExceptionDetected, events)]
    assert codes == ["invalid", *(ExceptionCode(code.name.lower()) for code in AlertCode)]
    assert [event.id.rpartition("/")[2] for event in events] == list("012345")
    matches = [event.match for event in of(ExceptionDetected, events)]
    assert matches == [None, None, *["00000000000000ff"] * 4]


@pytest.mark.parametrize("kind", [kind for kind in ReleaseKind if kind != ReleaseKind.NONE])
def test_a_release_is_told_with_its_kind(kind: ReleaseKind) -> None:
    items = table(ORDER_ROW, {"cents": 77, "release_kind": kind, "sending": 2})
    order = ReleaseOrder("north", 12, DAY, items, (b"0001",), ())
    events = made(OutboxBody(body().ledger, order))
    assert events == [
        RemittanceReleased(
            **COMMON,
            id="north/5/remittance-released/0",
            cents=77,
            release=kind.name.lower(),  # type: ignore[arg-type]
            sending=2,
        )
    ]


def test_topics_are_named_after_the_events_and_keys_after_the_tenant() -> None:
    items = table(ITEM_ROW, {"claims": 1})
    ((suffix, key, event),) = events_of(5, body(items=items))
    assert (suffix, key) == ("events.remittance-received", b"north")
    assert len(set(TOPICS)) == len(EVENT_TYPES)
    assert suffix.removeprefix("events.") in TOPICS
    with pytest.raises(msgspec.ValidationError):
        decode_event(encode_event(event).replace(b'"version":1', b'"version":2'))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    directory = tmp_path / "directory.toml"
    directory.write_text(TWO_TENANTS)
    one = World(tmp_path, directory=directory)
    yield one
    one.close()


def told(world: World) -> Iterator[list[tuple[str, bytes, Event]]]:
    """The events of each outbox entry, before it is published."""
    last: dict[str, int] = {}
    while world.engine.match(1000) or world.engine.publish():
        for tenant in world.state.tenants():
            for entry in world.state.outbox(tenant, 100, last.get(tenant, 0)):
                last[tenant] = entry.sequence
                found = events_of(entry.sequence, decode_body(entry.body))
                assert found == events_of(entry.sequence, decode_body(entry.body)), "again"
                yield found


def test_a_feed_is_told_once_whole_without_a_person_in_it(world: World, tmp_path: Path) -> None:
    denied = ("CLP*A7*4*100.00*0.00**12*P007", "NM1*QC*1*DOE*JANE****MI*MEMBER9")
    era = interchange(
        remittance("TRACE1", 70_000),
        remittance("TRACE2", 0, control="0002", claims=denied),
        remittance("TRACE3", 500, control="0003", segment_count=3),
    )
    (tmp_path / "a.835").write_bytes(era)
    (tmp_path / "a.ach").write_bytes(ach_file(Entry(70_000, "TRACE1")))
    world.engine.tick(parse_as_of("2026-03-13T12:00"))
    world.feed(world.sources(tmp_path / "a.835", tmp_path / "a.ach"))
    world.engine.match(1000)  # The money comes in a later step than its payment.
    world.engine.tick(parse_as_of("2026-03-18T12:00"))
    events = [event for found in told(world) for _, _, event in found]
    assert len({event.id for event in events}) == len(events)
    assert sorted(one.cents for one in of(RemittanceReceived, events)) == [0, 500, 70_000]
    assert [one.cents for one in of(PaymentSettled, events)] == [70_000]
    assert [one.claims for one in of(ClaimDenied, events)] == [1]
    released = {one.cents: one.release for one in of(RemittanceReleased, events)}
    assert released == {70_000: "match", 0: "zero_pay"}
    assert "invalid" in {one.code for one in of(ExceptionDetected, events)}
    text = b"\n".join(map(encode_event, events)).decode()
    for value in ("DOE", "JANE", "MEMBER9", "TRACE", "RIVER", "5566778", "112223333", "P007"):
        assert value not in text.upper()
    validators = {
        name.removesuffix(".v1.json"): jsonschema.Draft202012Validator(json.loads(schema))
        for name, schema in schemas().items()
    }
    for event in events:
        assert decode_event(encode_event(event)) == event
        validators[str(event.__struct_config__.tag)].validate(json.loads(encode_event(event)))


def test_the_schemas_in_the_documentation_are_current() -> None:
    """Where one differs: write `schemas()` into docs/schemas/, if the change only adds a field."""
    assert {path.name: path.read_bytes() for path in SCHEMAS.iterdir()} == schemas()
    for schema in schemas().values():
        jsonschema.Draft202012Validator.check_schema(json.loads(schema))
        assert set(_fields(json.loads(schema))) <= _FIELDS


_FIELDS = {
    *("type", "version", "id", "tenant", "item", "position", "banking_day", "as_of"),
    *("cents", "effective_day", "claims", "funding", "release", "sending"),
    *("side", "code", "reasons", "match"),
}
"""What may be in an event: none of these is of a person."""


def _fields(schema: dict[str, Any]) -> list[str]:
    return [name for one in schema["$defs"].values() for name in one.get("properties", {})]
