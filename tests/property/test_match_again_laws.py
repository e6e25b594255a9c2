"""Matching again and again: pins, vetoes, what stood, and neighbourhoods, on pools of items that
nearly all resemble each other, with returns, reversals, reports and entries that carry 835s."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from canonical import canonical, ids
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import DAY, payments, remittances

from reassoc.core.ach import EntryKind
from reassoc.core.calendar import BankingCalendar
from reassoc.core.match import Matches, Pairs, match
from reassoc.core.matching.neighbours import meeting, payment_keys, remittance_keys
from reassoc.core.policy import PayerRule, Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import MatchStatus, PaymentSource, Reason, RemittanceStatus, Tier

Row = dict[str, Any]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
CALENDAR = BankingCalendar(np.array([DAY + 1], np.int32))
ALL = ("T6", "T7", "T8", "T9")
RULE = PayerRule(ids=("1234567890", "1341858386"), trace_prefixes=("EFT",), trace_suffixes=("X",))
POLICIES = [
    Policy(candidates_max=20),
    Policy(candidates_max=20, payers=(RULE,), auto_tiers=ALL, return_window_days=10),
    Policy(candidates_max=20, payers=(RULE,), close_tiers=("T1", "T2", "T8"), auto_tiers=ALL),
    Policy(candidates_max=20, trace_window_days=3, review_tiers=("T3",), auto_tiers=("T7",)),
]
FAMILIES = [
    ["12345", "0012345", "12-345", "EFT12345"],
    ["ABCD12345678", "ABCD1234", "12345678"],
    ["7712034", "7712034-1", "7712034.2"],
    ["LONGTRACENUMBERTHATDOESNOTFIT", "0LONGTRACENUMBERTHATDOESNOTFIT"],
    ["99887766", "99887766", ""],
]
PAYERS = ["1234567890", "1234567890", "1341858386", "3234567890"]
DATES = [DAY, DAY, DAY, DAY + 2, DAY + 5, None]


@dataclass(frozen=True)
class Pool:
    """Both sides, where each 835's carrier lies in its file, and a policy."""

    left: RemittanceColumns
    right: PaymentColumns
    carrier_offset: npt.NDArray[np.int64]
    policy: Policy

    def match(self, **more: Any) -> Matches:
        return match(
            self.left, self.right, policy=self.policy, calendar=CALENDAR, as_of=DAY + 90, **more
        )

    def take(self, left: Rows, right: Rows) -> Pool:
        """Some rows, in the given order; an 835 without its carrier in it is carried by none."""
        place = np.full(len(self.right) + 1, -1, np.int32)
        place[right] = np.arange(len(right), dtype=np.int32)
        moved = replace(self.left, payment_row=place[self.left.payment_row])
        return Pool(
            moved.take(left), self.right.take(right), self.carrier_offset[left], self.policy
        )


def _family(random: Random, number: int, left: list[Row], right: list[Row]) -> None:
    """Add items that could be each other's, and what went wrong with some of them."""
    traces, payers = random.choice(FAMILIES), random.sample(PAYERS, 2)
    amounts = random.sample([100, 200, 300, 400], 2)
    account = random.choice(["5566778", "5566778", f"9{number}"])
    for _ in range(random.randint(0, 3)):
        row: Row = {
            "trace": random.choice(traces),
            "payer_id": random.choice(payers),
            "paid_cents": random.choice([*amounts, *amounts, 0]),
            "effective_date": random.choice(DATES),
            "payment_method": random.choice(["ACH"] * 8 + ["CHK", "NON"]),
            "currency": random.choice([""] * 8 + ["CAD"]),
            "payee_account": account,
            "payee_tin": random.choice(["112223333", "112223333", "445556666"]),
            "body_hash": random.choice([0, 0, 7 + number, 8 + number]),
            "valid": random.random() < 0.9,
        }
        left.append(row)
        if random.random() < 0.2:
            left.append(dict(row))
    for _ in range(random.randint(0, 4)):
        right.append(_payment(random, traces, payers, [*amounts, sum(amounts)], account))
        if random.random() < 0.1:
            right.append(dict(right[-1]))
        _troubles(random, right[-1], right)


def _payment(
    random: Random, traces: list[str], payers: list[str], amounts: list[int], account: str
) -> Row:
    payer = random.choice(payers)
    row: Row = {
        "trace": random.choice(traces),
        "payer_id": payer,
        "company_id": payer,
        "amount_cents": random.choice(amounts),
        "settlement_date": random.choice(DATES),
        "effective_date": random.choice(DATES),
        "account": random.choice([account] * 5 + [""]),
        "ach_trace": random.choice([-1, 0, *[91000010000001, 91000010000002, 91000010000003] * 2]),
        "valid": random.random() < 0.9,
    }
    if random.random() < 0.25:
        row |= _line(random)
    elif random.random() < 0.1:
        kind = random.choice([EntryKind.PRENOTE, EntryKind.ZERO_DOLLAR])
        row |= {"kind": int(kind), "amount_cents": 0}
    return row


def _line(random: Random) -> Row:
    return {
        "source": int(random.choice([1, 1, PaymentSource.CHECK, PaymentSource.DEPOSIT, 4])),
        "ach_trace": -1,
        "report": random.choice([0, 0, 1, -1]),
        "rdfi_routing": random.choice([-1, 21000021]),
        "account": random.choice(["5566778", "005566778", ""]),
        "bank_reference": random.choice(["", "R1"]),
    }


def _troubles(random: Random, row: Row, right: list[Row]) -> None:
    """Returns, reversals, notifications and reports of a payment."""
    if row.get("source"):
        return
    kinds = random.choices(["none", "return", "reversal", "change", "line"], [6, 2, 1, 1, 2])
    for kind in kinds:
        if kind == "return":
            back = {**row, "kind": int(EntryKind.RETURN), "original_trace": row["ach_trace"]}
            back |= {"ach_trace": random.choice([5, 6]), "original_rdfi": 2100002}
            if random.random() < 0.1:
                back["amount_cents"] += 100
            right.append(back)
            for form in [1, 2] if random.random() < 0.3 else []:  # refused, and refused again
                named = {"original_trace": random.choice([-1, row["ach_trace"]])}
                answer = {"return_form": form, "return_trace": back["ach_trace"], "ach_trace": 8}
                right.append({**back, **answer, **named})
            if random.random() < 0.3:
                right.append({**row, **_line(random), "source": 1, "report": 0, "account": "777"})
        elif kind == "reversal":
            name = {"entry_description": "REVERSAL", "kind": int(EntryKind.DEBIT)}
            right.append({**row, **name, "ach_trace": 77})
        elif kind == "change":
            told = {"kind": int(EntryKind.NOTIFICATION), "original_trace": row["ach_trace"]}
            right.append({**row, **told, "amount_cents": 0, "ach_trace": 78, "return_form": 3})
        elif kind == "line":
            right.append({**row, **_line(random), "source": 1, "report": 0})


def pool_of(random: Random) -> Pool:
    """A random pool of a few families."""
    left: list[Row] = []
    right: list[Row] = []
    for number in range(random.randint(1, 4)):
        _family(random, 10 * number, left, right)
    places = random.sample(range(200), len(left) + len(right))
    offsets = np.full(len(left), -1, np.int64)
    for row in right:
        offset = places.pop()
        row |= {"id_digest": 1 + offset % 3, "id_offset": offset}
    entries = [j for j, row in enumerate(right) if not row.get("source")]
    for i, row in enumerate(left):
        offset = places.pop()
        row |= {"id_digest": 4 + offset % 3, "id_offset": offset}
        if entries and random.random() < 0.15:
            j = random.choice(entries)
            right[j]["has_remittance"] = True
            row |= {"payment_row": j, "id_digest": right[j]["id_digest"], "id_offset": 500 + i}
            offsets[i] = right[j]["id_offset"]
    return Pool(remittances(*left), payments(*right), offsets, random.choice(POLICIES))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Pool, Random]:
    """A pool, and what to choose with."""
    random = Random(draw(st.integers(0, 2**48)))
    return pool_of(random), random


def auto(m: Matches) -> Mask:
    return m.status == MatchStatus.AUTO


def some_of(m: Matches, rows: Mask) -> Pairs:
    return Pairs(m.remittance[rows], m.payment[rows], m.match_id[rows], m.tier[rows])


def told(m: Matches, rows: Mask | None = None) -> set[tuple[Any, ...]]:
    """Pairs in terms of ids: remittance, payment, match id, tier and status."""
    left, right = ids(m.remittances), ids(m.payments)
    columns = (m.match_id, m.tier, m.status)
    chosen = range(len(m)) if rows is None else np.flatnonzero(rows).tolist()
    return {
        (left[m.remittance[k]], right[m.payment[k]], *(int(c[k]) for c in columns)) for k in chosen
    }


def random_pairs(random: Random, pool: Pool, count: int, groups: bool = False) -> Pairs:
    """Any pairs, as a person may choose them; each has a match id of its own, or shares one."""
    found = {
        (random.randrange(len(pool.left)), random.randrange(len(pool.right))) for _ in range(count)
    }
    rows = np.array(sorted(found), np.int32).reshape(-1, 2)
    number = [1000 + (random.randrange(2) if groups else k) for k in range(len(rows))]
    tiers = np.full(len(rows), Tier.T10, np.uint8)
    return Pairs(rows[:, 0], rows[:, 1], np.array(number, np.uint64), tiers)


def chance(random: Random, count: int, share: float) -> Mask:
    return np.array([random.random() < share for _ in range(count)], np.bool_)


def moved(pairs: Pairs, left: Rows, right: Rows) -> Pairs:
    """Pairs by the rows of `Pool.take(left, right)`, those that are in it."""
    places = []
    for rows, column in ((left, pairs.remittance), (right, pairs.payment)):
        place = np.full(max(int(rows.max(initial=-1)), int(column.max(initial=-1))) + 1, -1)
        place[rows] = np.arange(len(rows))
        places.append(place[column].astype(np.int32))
    there = (places[0] >= 0) & (places[1] >= 0)
    return Pairs(places[0][there], places[1][there], pairs.match_id[there], pairs.tier[there])


# ---- what was decided before ----


@given(worlds())
def test_what_was_matched_and_is_pinned_comes_out_again(world: tuple[Pool, Random]) -> None:
    pool, random = world
    first = pool.match()
    before = auto(first)
    released = np.zeros(len(pool.left), np.bool_)
    released[first.remittance[before & chance(random, len(first), 0.7)]] = True
    handed_on = first.match_id[before & released[first.remittance]]
    for rows in (before, before & np.isin(first.match_id, handed_on)):
        again = pool.match(pins=some_of(first, rows), released=released)
        pinned = again.reason & np.int64(Reason.PINNED) != 0
        assert told(again, pinned) == told(first, rows)
        assert told(again, pinned) <= told(again, auto(again))
        assert not again.release[released].any()
        if rows is before:
            assert told(again, auto(again)) >= told(first, before)
        for name in ("agreed", "differed", "rewrites", "days_apart", "difference_cents"):
            was = getattr(first, name)[rows].tolist()
            assert getattr(again, name)[pinned].tolist() == was, name


@given(worlds(), st.booleans())
def test_pinned_items_are_in_no_other_pair(world: tuple[Pool, Random], surest_only: bool) -> None:
    pool, random = world
    if not len(pool.left) or not len(pool.right):
        return
    pins = random_pairs(random, pool, random.randint(1, 3), groups=random.random() < 0.5)
    released = chance(random, len(pool.left), 0.5)
    m = pool.match(pins=pins, released=released, surest_only=surest_only)
    wanted = list(zip(pins.keys.tolist(), pins.match_id.tolist(), strict=True))
    rows = list(zip(_keys(m.remittance, m.payment).tolist(), m.match_id.tolist(), strict=True))
    pinned = m.reason & np.int64(Reason.PINNED) != 0
    undone = (m.status == MatchStatus.UNMATCHED) & np.isin(m.match_id, pins.match_id)
    assert sorted(rows[k] for k in np.flatnonzero(pinned | undone)) == sorted(wanted)
    assert not set(m.match_id[pinned]) & set(m.match_id[undone])
    gone = Reason.RETURNED | Reason.REVERSED
    assert (m.reason[undone] & np.int64(gone) != 0).all()
    late = m.reason & np.int64(Reason.RETURN_AFTER_RELEASE) != 0
    assert late[undone].tolist() == released[m.remittance[undone]].tolist()
    others = ~pinned & (m.status != MatchStatus.UNMATCHED)
    assert not np.isin(m.remittance[others], m.remittance[pinned]).any()
    assert not np.isin(m.payment[others], m.payment[pinned]).any()
    _check_rivals(m, pinned, released)


def _check_rivals(m: Matches, pinned: Mask, released: Mask) -> None:
    """Rivals are matched by nothing, and never told of without a pin."""
    rival_left = m.remittance_reason & np.int64(Reason.RIVAL) != 0
    rival_right = m.payment_reason & np.int64(Reason.RIVAL) != 0
    matched = auto(m) & ~pinned
    assert not rival_left[m.remittance[matched]].any()
    assert not rival_right[m.payment[matched]].any()
    after = np.int64(Reason.RIVAL_AFTER_RELEASE)
    assert not (m.remittance_reason & after != 0)[~rival_left].any()
    pins_left = np.zeros(len(rival_left), np.bool_)
    pins_left[m.remittance[pinned]] = True
    own = m.remittance_reason[pins_left & rival_left] & after != 0
    assert own.tolist() == released[pins_left & rival_left].tolist()
    if not pinned.any():
        assert not rival_left.any()
        assert not rival_right.any()


@given(worlds())
def test_what_people_undid_is_not_made_again(world: tuple[Pool, Random]) -> None:
    pool, random = world
    first = pool.match()
    candidates = np.flatnonzero(first.status != MatchStatus.UNMATCHED)
    chosen = np.zeros(len(first), np.bool_)
    chosen[random.sample(candidates.tolist(), min(len(candidates), random.randint(1, 3)))] = True
    vetoes = replace(some_of(first, chosen), match_id=np.zeros(chosen.sum(), np.uint64))
    for surest_only in (False, True):
        m = pool.match(vetoes=vetoes, surest_only=surest_only)
        undid = np.isin(_keys(m.remittance, m.payment), _keys(vetoes.remittance, vetoes.payment))
        assert (m.status[undid] == MatchStatus.REVIEW).all()
        assert (m.reason[undid] & np.int64(Reason.VETOED) != 0).all()
        vetoed = m.reason & np.int64(Reason.VETOED) != 0
        assert not (vetoed & auto(m)).any()
        assert np.isin(m.match_id[vetoed], m.match_id[undid]).all()
    if not (chosen & auto(first)).any():
        again = pool.match(vetoes=vetoes)
        assert told(again, auto(again)) == told(first, auto(first))


def _keys(left: Any, right: Any) -> Any:
    return left.astype(np.int64) << 32 | right


@given(worlds())
def test_between_two_closes_stands_what_stood(world: tuple[Pool, Random]) -> None:
    pool, random = world
    close = pool.match()
    sure = auto(close)
    again = pool.match(at_close=False, standing=some_of(close, sure))
    assert told(again, auto(again)) == told(close, sure)
    fresh = pool.match(at_close=False, standing=Pairs.none())
    close_tiers = [Tier[name] for name in pool.policy.close_tiers]
    waits = sure & np.isin(close.tier, close_tiers)
    assert told(fresh, auto(fresh)) == told(close, sure & ~waits)
    waiting = fresh.reason & np.int64(Reason.WAITS_FOR_HORIZON) != 0
    review = int(MatchStatus.REVIEW)
    assert {pair[:4] for pair in told(fresh, waiting)} >= {p[:4] for p in told(close, waits)}
    assert {pair[4] for pair in told(fresh, waiting)} <= {review}
    valid = pool.left.valid[close.remittance[waits]]
    statuses = fresh.remittance_status[close.remittance[waits]]
    assert (statuses[valid] == RemittanceStatus.PROBABLE).all()
    assert not fresh.release[close.remittance[waits]].any()
    part = sure & chance(random, len(close), 0.5)
    half = pool.match(at_close=False, standing=some_of(close, part))
    whole = {g for g in close.match_id[sure].tolist() if part[close.match_id == g].all()}
    stays = sure & (~np.isin(close.tier, close_tiers) | np.isin(close.match_id, [*whole]))
    assert told(half, auto(half)) == told(close, stays)


@given(worlds())
def test_matches_of_late_items_wait(world: tuple[Pool, Random]) -> None:
    pool, random = world
    late = (
        chance(random, len(pool.left), 0.3),
        chance(random, len(pool.right), 0.3),
    )
    first = pool.match()
    m = pool.match(late=late)
    touched = late[0][first.remittance] | late[1][first.payment]
    whole = np.isin(first.match_id, first.match_id[touched & auto(first)])
    assert told(m, auto(m)) == told(first, auto(first) & ~whole)
    pinned = pool.match(late=late, pins=some_of(first, auto(first)))
    assert told(pinned, auto(pinned)) >= told(first, auto(first))


@given(worlds())
def test_what_stood_and_went_back_is_told(world: tuple[Pool, Random]) -> None:
    pool, _ = world
    money_only = pool.right.kind == EntryKind.CREDIT
    rows = np.flatnonzero(money_only)
    before = pool.take(np.arange(len(pool.left)), rows).match()
    sure = auto(before)
    standing = some_of(before, sure)
    standing = replace(standing, payment=rows[standing.payment].astype(np.int32))
    for more in ({}, {"at_close": False}, {"at_close": False, "surest_only": True}):
        m = pool.match(standing=standing, **more)
        back = (m.payment_reason & np.int64(Reason.RETURNED | Reason.REVERSED)) != 0
        lost = np.isin(standing.match_id, standing.match_id[back[standing.payment]])
        undone = m.status == MatchStatus.UNMATCHED
        pairs = _keys(m.remittance, m.payment)[undone].tolist()
        assert set(standing.keys[lost].tolist()) <= set(pairs)
        assert len(pairs) == len(set(pairs))
        assert not np.isin(m.match_id[auto(m)], standing.match_id[lost]).any()


@given(worlds(), st.booleans())
def test_order_of_rows_changes_nothing(world: tuple[Pool, Random], surest_only: bool) -> None:
    pool, random = world
    if not len(pool.left) or not len(pool.right):
        return
    close = pool.match()
    sure = auto(close)
    given_before = {
        "pins": random_pairs(random, pool, 2, groups=True),
        "vetoes": random_pairs(random, pool, 2),
        "standing": some_of(close, sure),
    }
    released = chance(random, len(pool.left), 0.5)
    more: dict[str, Any] = {"at_close": False, "surest_only": surest_only}
    m = pool.match(**given_before, **more, released=released)
    left = np.array(random.sample(range(len(pool.left)), len(pool.left)))
    right = np.array(random.sample(range(len(pool.right)), len(pool.right)))
    turned = {name: moved(pairs, left, right) for name, pairs in given_before.items()}
    again = pool.take(left, right).match(**turned, **more, released=released[left])
    assert canonical(again) == canonical(m)


# ---- neighbourhoods ----


def components(pool: Pool, pairs: Sequence[Pairs]) -> Iterator[tuple[Rows, Rows]]:
    """Rows of items that share a key or a pair, directly or through others."""
    parent: dict[Any, Any] = {}

    def root(node: Any) -> Any:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    sides: Iterable[tuple[str, Any]] = (
        ("left", remittance_keys(pool.left, pool.policy, None, pool.carrier_offset)),
        ("right", payment_keys(pool.right, pool.policy, None)),
    )
    found_keys = [(side, column) for side, columns in sides for column in columns]
    met = meeting(np.concatenate([column for _, column in found_keys])).tolist()
    for side, column in found_keys:
        keys, met = met[: len(column)], met[len(column) :]
        for row, key in enumerate(keys):
            root((side, row))
            if key:
                parent[root((side, row))] = root(key)
    for some in pairs:
        for i, j in zip(some.remittance.tolist(), some.payment.tolist(), strict=True):
            parent[root(("left", i))] = root(("right", j))
    found: dict[Any, tuple[list[int], list[int]]] = {}
    for node in list(parent):
        if isinstance(node, tuple):
            found.setdefault(root(node), ([], []))[node[0] == "right"].append(node[1])
    for left, right in found.values():
        yield np.array(sorted(left), np.int64), np.array(sorted(right), np.int64)


ITEM_COLUMNS = (
    "remittance_status",
    "remittance_reason",
    "release",
    "payment_status",
    "payment_reason",
    "payment_funding",
)


def outcome(m: Matches) -> dict[str, Any]:
    """Pairs, links, and what is said of items, in terms of ids."""
    found = canonical(m)
    left, right = ids(m.remittances), ids(m.payments)
    said = {}
    for name in ITEM_COLUMNS:
        items = right if name.startswith("payment") else left
        values = getattr(m, name).tolist()
        said[name] = sorted(zip(items, values, strict=True))
    return {"pairs": told(m), "links": set(found["links"]), **said}


@settings(max_examples=4 * settings().max_examples)
@given(worlds(), st.booleans())
def test_a_neighbourhood_decides_as_the_whole_pool(
    world: tuple[Pool, Random], with_past: bool
) -> None:
    pool, random = world
    past: dict[str, Pairs] = {}
    released = np.zeros(len(pool.left), np.bool_)
    if with_past and len(pool.left) and len(pool.right):
        close = pool.match()
        sure = auto(close)
        past = {
            "standing": some_of(close, sure),
            "pins": random_pairs(random, pool, random.randint(0, 2)),
            "vetoes": random_pairs(random, pool, 2),
        }
        released = chance(random, len(pool.left), 0.3)
    more: dict[str, Any] = {"surest_only": True, "at_close": False}
    whole = outcome(pool.match(**past, **more, released=released))
    parts = []
    for left, right in components(pool, [*past.values()]):
        known = {name: moved(pairs, left, right) for name, pairs in past.items()}
        part = pool.take(left, right)
        parts.append(outcome(part.match(**known, **more, released=released[left])))
    assert whole["pairs"] == set().union(*(part["pairs"] for part in parts))
    assert whole["links"] == set().union(*(part["links"] for part in parts))
    for name in ITEM_COLUMNS:
        assert whole[name] == sorted(chain(*(part[name] for part in parts))), name
