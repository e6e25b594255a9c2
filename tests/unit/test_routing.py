"""To which tenant an item goes, and how that is remembered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import payments, remittances

from reassoc.core.ach import EntryKind, ReturnForm
from reassoc.core.directory import Directory, Payee, load_directory
from reassoc.core.errors import DirectoryError, LimitError
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import PaymentSource
from reassoc.stream import routing
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM
from reassoc.stream.routing import (
    QUARANTINE,
    Route,
    RouteBuilder,
    RouteError,
    Router,
    Tenants,
    decode_route,
    encode_route,
)

DIRECTORY = """
[[payees]]
name = "River Clinic"
tenant = "north"
tins = ["112223333"]
npis = ["1999999984"]
accounts = [{ routing = "021000021", account = "5566778" }]

[[payees]]
name = "Hill Clinic"
tenant = "south"
tins = ["445556666"]
npis = ["1888888882"]
accounts = [
    { routing = "026009593", account = "42" },
    { routing = "026009593", account = "77" },
]

[[payees]]
name = "Lake Clinic"
tins = ["778889999"]
accounts = [{ routing = "021000021", account = "77" }]
"""
UNKNOWN = {
    "payee_bank": "",
    "payee_account": "",
    "payee_entity_id": "",
    "payee_tin": "",
    "payee_entity_qualifier": "",
}
SOUTH = UNKNOWN | {"payee_tin": "445556666"}
ORIGINATOR = 91000019


def back(account: str, rdfi: int, **more: Any) -> dict[str, Any]:
    """A return: it stands under the originator's bank and names its original's."""
    return {
        "kind": EntryKind.RETURN,
        "rdfi_routing": ORIGINATOR,
        "account": account,
        "original_rdfi": rdfi,
        "original_trace": 7,
        **more,
    }


@pytest.fixture(scope="module")
def router() -> Router:
    return Router(load_directory(DIRECTORY))


def names(tenants: Tenants) -> tuple[list[str], list[str]]:
    return (
        [tenants.names[number] for number in tenants.remittances.tolist()],
        [tenants.names[number] for number in tenants.payments.tolist()],
    )


def routed(router: Router, left: list[dict[str, Any]], right: list[dict[str, Any]]) -> Any:
    return names(router.route(remittances(*left), payments(*right)))


def test_without_a_directory_everything_is_one_tenants() -> None:
    assert routed(Router(None), [UNKNOWN], [{"account": "9"}]) == (["default"], ["default"])


def test_payees_tell_tenants_and_what_nobody_can_tell_is_quarantined(router: Router) -> None:
    left = [{}, SOUTH, UNKNOWN | {"payee_tin": "778889999"}, UNKNOWN, {"payee_tin": "445556666"}]
    right = [{}, {"rdfi_routing": 26009593, "account": "0042"}, {"account": "9"}]
    assert routed(router, left, right) == (
        ["north", "south", "default", QUARANTINE, QUARANTINE],
        ["north", "south", QUARANTINE],
    )


def test_a_bank_line_is_told_by_its_account_if_only_one_payee_has_it(router: Router) -> None:
    line = {"source": PaymentSource.BANK_ACH, "rdfi_routing": -1}
    right = [{**line, "account": "42"}, {**line, "account": "77"}]
    assert routed(router, [], right)[1] == ["south", QUARANTINE]


def test_what_an_entry_carries_goes_with_it(router: Router) -> None:
    nobody = {"account": "9"}
    left = [
        SOUTH | {"payment_row": 0},  # the entry's payee is known: north
        UNKNOWN | {"payment_row": 0},
        SOUTH | {"payment_row": 1},  # the entry's is not, its 835 says whose it is
        UNKNOWN | {"payment_row": 1},
        SOUTH | {"payment_row": 2},  # its 835s do not agree
        {"payment_row": 2},
        UNKNOWN | {"payment_row": 3},
        SOUTH,
    ]
    assert routed(router, left, [{}, nobody, nobody, nobody, nobody]) == (
        ["north", "north", "south", "south", *[QUARANTINE] * 3, "south"],
        ["north", "south", QUARANTINE, QUARANTINE, QUARANTINE],
    )


@pytest.mark.parametrize(
    ("entry", "tenant"),
    [
        (back("5566778", 2100002), "north"),
        (back("77", 2600959), "south"),
        (back("77", 2100002), "default"),
        (back("77", -1), QUARANTINE),
        (back("42", -1), "south"),
        (back("42", 12345678), "south"),
        (back("9", 2100002), QUARANTINE),
        (back("77", 2600959, return_form=ReturnForm.DISHONORED), "south"),
        (back("77", 2600959, kind=EntryKind.NOTIFICATION), "south"),
        (back("42", 2600959, rdfi_routing=21000021, source=PaymentSource.CHECK), QUARANTINE),
    ],
)
def test_returns_go_where_their_originals_belong(
    router: Router, entry: dict[str, Any], tenant: str
) -> None:
    assert routed(router, [], [entry])[1] == [tenant]


def test_a_return_nobody_can_place_follows_its_original_in_the_same_file(router: Router) -> None:
    lost = back("9", 2600959)
    original = {"rdfi_routing": 26009593, "account": "42", "ach_trace": 7}
    assert routed(router, [], [lost, original])[1] == ["south", "south"]
    for other in (
        original | {"ach_trace": 8},
        original | {"rdfi_routing": 21000021, "account": "5566778"},
        original | {"account": "8"},
    ):
        assert routed(router, [], [lost, other])[1][0] == QUARANTINE
    unsure = [lost, original, original | {"account": "8"}]
    assert routed(router, [], unsure)[1] == ["south", "south", QUARANTINE]
    carried = [SOUTH | {"payment_row": 1}]
    assert routed(router, carried, [lost, original | {"account": "8"}])[1] == ["south", "south"]


def test_check_digits_are_those_of_real_routing_numbers() -> None:
    numbers = [21000021, 26009593, 91000019, 121000248, 322271627, 11401533]
    eight = np.array([number // 10 for number in numbers], np.int32)
    assert routing._with_check_digit(eight).tolist() == numbers


def as_rows(schema: Any, columns: Any, extra: dict[str, Any]) -> dict[str, Any]:
    table = {name: getattr(columns, name, None) for name in schema.types}
    return {**table, **extra}


def test_quarantined_items_of_many_files_are_routed_again_with_what_carries_them(
    router: Router,
) -> None:
    right = payments(
        {"id_digest": 5, "id_offset": 94, "account": "9"},
        {"id_digest": 6, "id_offset": 94, "account": "9"},
        {"id_digest": 6, "id_offset": 188},
    )
    left = remittances(
        {"id_digest": 6, **UNKNOWN}, {"id_digest": 5, **SOUTH}, {"id_digest": 7, **UNKNOWN}
    )
    carrier = {"carrier_offset": np.array([188, 94, 188], np.int64)}
    again = router.reroute(
        as_rows(REMITTANCE_ITEM, left, carrier), as_rows(PAYMENT_ITEM, right, {})
    )
    assert names(again) == (
        ["north", "south", QUARANTINE],
        ["south", QUARANTINE, "north"],
    )
    nothing = router.reroute(REMITTANCE_ITEM.empty(), PAYMENT_ITEM.empty())
    assert names(nothing) == ([], [])


def test_no_directory_may_name_the_quarantine() -> None:
    payee = Payee(name="x", tenant=QUARANTINE, tins=("112223333",))
    with pytest.raises(DirectoryError, match=r"payees\[1\]\.tenant"):
        Router(Directory([Payee(name="y", tins=("445556666",)), payee]))


windows = st.lists(
    st.tuples(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), max_size=6)),
    max_size=6,
)
TENANTS = ("a", "b", "ü", QUARANTINE)


@given(windows, st.data())
def test_a_remembered_route_gives_the_same_rows(
    parts: list[tuple[list[int], list[int]]], data: st.DataObject
) -> None:
    builder = RouteBuilder()
    for left, right in parts:
        builder.add(Tenants(TENANTS, np.array(left, np.uint32), np.array(right, np.uint32)))
    route = decode_route(encode_route(builder.route()))
    for side, runs in ((0, route.remittances), (1, route.payments)):
        wanted = [TENANTS[number] for part in parts for number in part[side]]
        assert len(runs) == len(wanted)
        start = data.draw(st.integers(0, len(wanted)))
        stop = data.draw(st.integers(start, len(wanted)))
        found = [route.tenants[number] for number in runs.between(start, stop).tolist()]
        assert found == wanted[start:stop]
        assert len(runs.numbers) == sum(
            1 for n in range(len(wanted)) if not n or wanted[n] != wanted[n - 1]
        )


@given(st.binary(max_size=40))
def test_what_is_no_route_is_refused(data: bytes) -> None:
    builder = RouteBuilder()
    builder.add(Tenants(("a",), np.zeros(3, np.uint32), np.zeros(0, np.uint32)))
    sound = encode_route(builder.route())
    for bad in (data, sound[:-1], sound[:4] + data):
        if bad != sound:
            try:
                route = decode_route(bad)
            except RouteError:
                continue
            assert isinstance(route, Route)  # by chance: then it is whole
            assert encode_route(route)


def test_a_route_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "ROUTE_BYTES_MAX", 100)
    builder = RouteBuilder()
    builder.add(Tenants(("a", "b"), np.arange(20, dtype=np.uint32) % 2, np.zeros(0, np.uint32)))
    with pytest.raises(LimitError, match="ROUTE_BYTES_MAX"):
        encode_route(builder.route())


def test_nothing_is_routed_to_nobody(router: Router) -> None:
    assert names(router.route(RemittanceColumns.empty(), PaymentColumns.empty())) == ([], [])
