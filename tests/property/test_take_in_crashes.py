"""What is logged is what was read: whatever the windows, the entries' limits and the containers."""

from __future__ import annotations

import functools
import gzip
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from small_feed import Entry, ach_file, interchange, remittance
from taking import FakeLog, FakeVault, ids_of, rows_of, sources_of

from reassoc.core.ach import iter_ach
from reassoc.core.directory import load_directory
from reassoc.core.x12_835 import iter_835
from reassoc.stream import intake, item_rows, take_in
from reassoc.stream.intake import read_source
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM, item_name
from reassoc.stream.pools import Pools, pool
from reassoc.stream.profiles import decode_profile, encode_profile, profile_key
from reassoc.stream.routing import Router

ROUTER = Router(
    load_directory("""
[[payees]]
name = "River Clinic"
tenant = "north"
accounts = [{ routing = "021000021", account = "5566778" }]

[[payees]]
name = "Hill Clinic"
tenant = "south"
accounts = [{ routing = "021000021", account = "42" }]
""")
)
SEGMENTS = st.sampled_from([None, None, None, 99])


@st.composite
def interchanges(draw: st.DrawFn) -> bytes:
    """Interchanges of which some are wrong, some have no end, and some no beginning."""
    parts = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        sets = [
            remittance(f"T{number}{n}", 100 * n, control=f"{n:04d}", segment_count=draw(SEGMENTS))
            for n in range(1, draw(st.integers(1, 7)) + 1)
        ]
        data = interchange(
            *sets,
            number=number,
            sender=draw(st.sampled_from(["SENDER", "OTHER"])),
            set_count=draw(st.sampled_from([None, None, 77])),
            group_count=draw(st.sampled_from([1, 1, 7])),
        )
        start, stop = data.index(b"ST*"), data.index(b"GE*")
        cut = draw(st.sampled_from(["", "", "", "head", "tail", "both"]))
        data = data[start if cut in ("head", "both") else 0 :]
        parts.append(data[: data.index(b"GE*")] if cut in ("tail", "both") else data)
        assert stop > start
    return b"".join(parts)


@st.composite
def ach_files(draw: st.DrawFn) -> bytes:
    """ACH files with carried 835s, of which some totals are wrong."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        entries = []
        for n in range(1, draw(st.integers(1, 8)) + 1):
            account = draw(st.sampled_from(["5566778", "42", "9"]))
            carried = draw(st.integers(0, 3))
            payload = b"".join(
                remittance(f"C{n}{k}", 10, control=f"{k:04d}") for k in range(carried)
            )
            if carried and draw(st.booleans()):
                payload = interchange(payload, set_count=draw(st.sampled_from([carried, 9])))
            entries.append(Entry(10 * n, f"T{n}", payload=payload, account=account))
        data = ach_file(*entries)
        bad = draw(st.sampled_from([b"", b"", b"\n8220", b"\n90000"]))
        if bad:
            at = data.index(bad) + (26 if bad == b"\n8220" else 50)
            data = data[:at] + b"9" + data[at + 1 :]
        parts.append(data)
    return b"".join(parts)


def read_whole(path: Path, scratch: Path) -> Pools:
    (source,) = sources_of(path)
    items = read_source(source, scratch)
    assert not items.reason
    assert items.findings is not None
    items.findings.close()
    return pool([items])


def logged(log: FakeLog) -> tuple[dict[str, Any], dict[str, Any], list[str], list[str]]:
    """All rows in the order of the file, and their tenants; checks what every entry must hold."""
    tables: tuple[list[Any], list[Any]] = ([], [])
    tenants: tuple[list[str], list[str]] = ([], [])
    for tenant in log.tenants():
        for entry in log.items_entries(tenant):
            left, right = rows_of(entry)
            named = {profile_key(decode_profile(data)) for data in entry.profiles}
            assert named == set(left["profile"].tolist())
            carriers = set(left["carrier_offset"].tolist()) - {-1}
            assert carriers <= set(right["id_offset"].tolist())
            for side, table in enumerate((left, right)):
                tables[side].append(table)
                tenants[side].extend([tenant] * len(table["ordinal"]))
    left = REMITTANCE_ITEM.concat([REMITTANCE_ITEM.empty(), *tables[0]])
    right = PAYMENT_ITEM.concat([PAYMENT_ITEM.empty(), *tables[1]])
    orders = [np.argsort(table["id_offset"], kind="stable") for table in (left, right)]
    return (
        {name: column[orders[0]] for name, column in left.items()},
        {name: column[orders[1]] for name, column in right.items()},
        [tenants[0][row] for row in orders[0].tolist()],
        [tenants[1][row] for row in orders[1].tolist()],
    )


def values(column: Any) -> list[Any]:
    return list(column) if hasattr(column, "refs") else column.tolist()


def check_rows(pools: Pools, left: dict[str, Any], right: dict[str, Any]) -> None:
    columns, rows = pools.remittances, pools.rows
    for name in columns.types():
        if name != "payment_row":
            assert values(left[name]) == values(getattr(columns, name)), name
    for name in ("ordinal", "start", "stop", "checks", "claims", "control"):
        assert values(left[name]) == values(getattr(rows, name)), name
    keys = [profile_key(profile) for profile in pools.profiles]
    assert left["profile"].tolist() == [keys[row] for row in rows.profile.tolist()]
    carriers = [
        -1 if row < 0 else int(pools.payments.id_offset[row])
        for row in columns.payment_row.tolist()
    ]
    assert left["carrier_offset"].tolist() == carriers
    for name in pools.payments.types():
        assert values(right[name]) == values(getattr(pools.payments, name)), name
    assert right["ordinal"].tolist() == pools.payment_ordinal.tolist()


@given(
    data=st.one_of(interchanges(), ach_files()),
    window_bytes=st.sampled_from([300, 1000, 4000, 1 << 20]),
    items_max=st.sampled_from([7, 20, 16_384]),
    append_bytes=st.sampled_from([1, 5000, 1 << 25]),
    is_packed=st.booleans(),
)
def test_what_is_logged_is_what_was_read(
    data: bytes, window_bytes: int, items_max: int, append_bytes: int, is_packed: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "x").write_bytes(data)
        pools = read_whole(scratch / "x", scratch)
        path = scratch / "y"
        path.write_bytes(gzip.compress(data) if is_packed else data)
        log = FakeLog()
        with (
            mock.patch.object(
                intake, "iter_835", functools.partial(iter_835, window_bytes=window_bytes)
            ),
            mock.patch.object(
                intake, "iter_ach", functools.partial(iter_ach, window_bytes=window_bytes)
            ),
            mock.patch.object(item_rows, "ENTRY_ITEMS_MAX", items_max),
            mock.patch.object(take_in, "APPEND_BYTES_MAX", append_bytes),
        ):
            receipt = take_in.take_in(
                sources_of(path)[0], vault=FakeVault(), log=log, router=ROUTER, scratch=scratch
            )
    assert not receipt.reason
    left, right, left_tenants, right_tenants = logged(log)
    check_rows(pools, left, right)
    whole = ROUTER.route(pools.remittances, pools.payments)
    assert left_tenants == [whole.names[number] for number in whole.remittances.tolist()]
    assert right_tenants == [whole.names[number] for number in whole.payments.tolist()]
    assert receipt.remittance_cents == int(pools.remittances.paid_cents.sum())
    assert receipt.payment_cents == int(pools.payments.amount_cents.sum())
    names = [item_name(digest, offset) for _, digest, offset in ids_of(log)]
    assert len(names) == receipt.remittance_count + receipt.payment_count
    assert all(encode_profile(profile) for profile in pools.profiles)
