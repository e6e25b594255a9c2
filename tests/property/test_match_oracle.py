"""The matcher against its rules said slowly, and the promises that hold for any input."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from random import Random
from typing import Any
from unittest import mock

import numpy as np
from canonical import canonical
from hypothesis import given, settings
from hypothesis import strategies as st
from match_oracle import Oracle, Pair, PlainDirectory, may_be_released, members
from pools import DAY, PAYMENT, REMITTANCE, payments, remittances

from reassoc.core import _keys
from reassoc.core.calendar import BankingCalendar
from reassoc.core.directory import Account, Directory, Payee
from reassoc.core.match import Matches, match
from reassoc.core.policy import PayerRule, Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import Funding, MatchStatus, PaymentStatus, RemittanceStatus

CALENDAR = BankingCalendar(np.array([DAY + 1], np.int32))
LONG = "LONGTRACENUMBERTHATDOESNOTFIT"  # over ITEM_TEXT_BYTES
NEAR = ["12345", "0012345", "12-345", " 12345", "EFT12345", "EFT0012345X"]
CUT = ["ABCD12345678", "ABCD1234", "12345678", "0ABCD1234", "CD123456"]
ROOTS = ["7712034", "7712034-1", "7712034.A2", "7712034-1234", "07712034 3", "7712034"]
TRACES = [
    NEAR,
    NEAR,
    CUT,
    CUT,
    ROOTS,
    ROOTS,
    [LONG, f"0{LONG}", f"{LONG} ", LONG[:20]],
    ["12345", "54321", "77777", "88888"],
    ["12345", "54321", "77777", ""],
    ["000", "", "12345"],
]
PAYERS = [
    "1234567890",
    "1234567890",
    "1234567890",
    "234567890",
    "1341858386",
    "1341858386",
    "3234567890",
    "1999999999",
    "",
]
DATES = [DAY, DAY, DAY + 2, DAY + 3, DAY + 9, DAY + 100, DAY + 400, None]
BANKS = [("021000021", "5566778"), ("021000021", "0005566778"), ("021000021", "1"), ("", "1")]
AMOUNTS = [100, 100, 200, 300, 400, 250]
Case = tuple[list[dict[str, Any]], list[dict[str, Any]], Policy]


def _payee(tenant: str, account: str, tin: str, npi: str, **more: Any) -> Payee:
    accounts = (Account(routing="021000021", account=account),) if account else ()
    return Payee(
        name=f"{tenant} {account}",
        tenant=tenant,
        accounts=accounts,
        tins=(tin,) if tin else (),
        npis=(npi,) if npi else (),
        **more,
    )


_LAST_DAY = date(1970, 1, 1) + timedelta(DAY + 5)
DIRECTORIES = [
    Directory(
        [
            _payee("north", "5566778", "112223333", "1999999984"),
            _payee("south", "1", "445556666", "1888888884"),
        ]
    ),
    Directory(
        [
            _payee("north", "005566778", "", "", until=_LAST_DAY),
            _payee("north", "1", "112223333", "1888888884"),
            _payee("south", "", "445556666", "1999999984", aggregation="NPI"),
        ]
    ),
]


RULE = PayerRule(ids=("1234567890", "1341858386"), trace_prefixes=("EFT",), trace_suffixes=("X",))
ALL = ("T6", "T7", "T8", "T9")
POLICIES = [
    Policy(candidates_max=20),
    Policy(candidates_max=20, auto_tiers=ALL),
    Policy(candidates_max=20, payers=(RULE,), auto_tiers=ALL),
    Policy(
        candidates_max=20,
        payers=(PayerRule(ids=("1234567890",), auto_tiers=("T6",)),),
        payee_window_banking_days=1,
        bulk_window_banking_days=2,
        suggestion_window_banking_days=0,
    ),
    Policy(
        candidates_max=20,
        payers=(RULE,),
        review_tiers=("T2", "T0", "T8"),
        ignored_payer_ids=("1999999999",),
        auto_tiers=("T7", "T9"),
    ),
    Policy(
        candidates_max=20,
        trace_prefixes=("E", "EFT"),
        trace_window_days=100,
        review_tiers=("T1", "T3"),
    ),
]


def _mostly(random: Random, usual: Any, *others: Any) -> Any:
    return random.choice(others) if random.random() < 0.08 else usual


def _rows(random: Random, make: Callable[[], dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Rows of different ids; some repeat another's content, as resends do (of checks and wires
    banks do not tell twice here: which of them are one is not this oracle's matter)."""
    rows: list[dict[str, Any]] = []
    for place in random.sample(range(60), count):
        row = dict(random.choice(rows)) if rows and random.random() < 0.15 else make()
        if row.get("source"):
            row["account"] += str(place)
        rows.append({**row, "id_digest": 1 + place % 3, "id_offset": place})
    return rows


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Two small pools of items that nearly all resemble each other, and a policy."""
    return case_of(Random(draw(st.integers(0, 2**48))))


def case_of(random: Random, most: int = 6) -> Case:
    """See `cases`; `most` items a side."""
    family = random.choice(TRACES)
    traces = random.sample(family, min(random.randint(1, 4), len(family)))
    payers = random.sample(PAYERS, random.randint(1, 2))
    dates, banks = random.sample(DATES, 2), random.sample(BANKS, 2)
    amounts = random.sample(AMOUNTS, random.randint(1, 4))
    tins = random.choice([["112223333"], ["112223333", "445556666", ""]])

    def remittance() -> dict[str, Any]:
        bank, account = _mostly(random, banks[0], *banks)
        return {
            **REMITTANCE,
            "trace": random.choice(traces),
            "payer_id": random.choice(payers),
            "paid_cents": _mostly(random, random.choice(amounts), 0, -5),
            "effective_date": random.choice(dates),
            "payment_method": _mostly(random, "ACH", "BOP", "CHK", "FWT", "NON", "CCC", ""),
            "handling": _mostly(random, "I", "H", "P", "C"),
            "currency": _mostly(random, "", "USD", "CAD"),
            "credit_debit": _mostly(random, "C", "D", ""),
            "payee_bank": bank,
            "payee_account": account,
            "payee_tin": random.choice(tins),
            "payee_entity_id": random.choice(["1999999984", "1888888884", ""]),
            "body_hash": random.choice([0, 0, 1, 2, 3]),
            "valid": _mostly(random, True, False),
            "payment_row": _mostly(random, -1, 0, 1),
        }

    def payment() -> dict[str, Any]:
        bank, account = _mostly(random, banks[0], *banks)
        payer = random.choice(payers)
        return {
            **PAYMENT,
            "trace": random.choice(traces),
            "payer_id": payer,
            "company_id": _mostly(random, payer, *PAYERS),
            "amount_cents": _mostly(random, random.choice([*amounts, sum(amounts[:2])]), 0),
            "kind": _mostly(random, 1, 0, 2, 3, 4, 5, 6),
            "source": _mostly(random, 0, 2, 4, 5),
            "account": account,
            "rdfi_routing": int(bank or -1),
            "settlement_date": random.choice(dates),
            "effective_date": random.choice(dates),
            "ach_trace": random.randint(1, 20),
            "entry_description": _mostly(random, "HCCLAIMPMT", "PAYROLL"),
            "valid": _mostly(random, True, False),
        }

    left = _rows(random, remittance, random.randint(0, most))
    right = _rows(random, payment, random.randint(2, most))
    for row in left:
        if row["payment_row"] >= 0 and right[row["payment_row"]]["source"]:
            row["payment_row"] = -1  # only ACH entries carry 835s
    return left, right, random.choice(POLICIES)


@st.composite
def written_cases(draw: st.DrawFn) -> Case:
    """See `written_case_of`."""
    return written_case_of(Random(draw(st.integers(0, 2**48))))


def written_case_of(random: Random) -> Case:
    """Few remittances of one trace in two forms, of two payers of one alias, and a payment of the
    amount of each: what one pair takes is often what speaks against another one of its tier."""

    def item() -> dict[str, Any]:
        return {"trace": random.choice(NEAR[:2]), "payer_id": random.choice(RULE.ids)}

    def account() -> str:
        return _mostly(random, "5566778", "1", "")

    count = random.choice([2, 2, 3])
    left: list[dict[str, Any]] = []
    right: list[dict[str, Any]] = []
    for cents in random.sample([100, 200, 300], count):
        told = item()
        left.append({**REMITTANCE, **told, "paid_cents": cents, "payee_account": account()})
        told = random.choice([told, item()])
        right.append({**PAYMENT, **told, "amount_cents": cents, "account": account()})
    for number, row in enumerate(left):
        row |= {"id_offset": number, "body_hash": 0}
    for number, row in enumerate(right):
        row |= {"id_offset": number, "ach_trace": 1 + number}
    return left, right, Policy(candidates_max=20, payers=(RULE,))


def run(left: RemittanceColumns, right: PaymentColumns, policy: Policy, **more: Any) -> Matches:
    return match(left, right, policy=policy, calendar=CALENDAR, as_of=DAY + 150, **more)


def found_pairs(m: Matches) -> list[Pair]:
    rows = zip(m.remittance, m.payment, m.status, m.tier, strict=True)
    return sorted({Pair(int(r), int(p), MatchStatus(s), int(t)) for r, p, s, t in rows})


def without_several(found: list[Pair], oracle: Oracle) -> list[Pair]:
    """The pairs less those of sums of which only a few are shown; each shown must be one of all.
    Variances and suggestions of their items are shown where those sums are not: they go, too."""
    told = {pair for sums in oracle.several.values() for s in sums for pair in members(s)}
    left, right = {i for i, _ in told}, {j for _, j in told}
    kept = []
    for pair in found:
        one = pair.payment if pair.tier == 8 else pair.remittance
        sums = oracle.several.get((pair.tier, one), [])
        if sums:
            assert pair.status == MatchStatus.REVIEW
            assert any(pair[:2] in members(s) for s in sums)
        elif pair.tier == 10 and (pair.remittance in left or pair.payment in right):
            assert pair.status == MatchStatus.REVIEW
        elif not (pair.tier == 5 and pair[:2] in told):
            kept.append(pair)
    return kept


def oracle_of(case: Case, directory: Directory | None = None, at_close: bool = True) -> Oracle:
    left, right, policy = case
    plain = PlainDirectory(directory.payees) if directory is not None else None
    return Oracle(
        left,
        right,
        policy,
        CALENDAR,
        at_close,
        payee_of=plain.payee_of if plain else None,
        tenant_of=plain.tenant_of if plain else None,
    )


@settings(max_examples=4 * settings().max_examples)
@given(cases() | written_cases(), st.booleans(), st.sampled_from([None, None, *DIRECTORIES]))
def test_agrees_with_the_rules(case: Case, at_close: bool, directory: Directory | None) -> None:
    left, right, policy = case
    pools = remittances(*left), payments(*right)
    m = run(*pools, policy, directory=directory, at_close=at_close)
    oracle = oracle_of(case, directory, at_close)
    expected = oracle.run()
    found = found_pairs(m)
    assert without_several(found, oracle) == without_several(expected, oracle)
    duplicates = np.flatnonzero(m.remittance_status == RemittanceStatus.DUPLICATE)
    assert set(duplicates.tolist()) == oracle.left_duplicates
    _check_statuses(m, oracle, found)
    _check_release(m, oracle, found)


def _check_statuses(m: Matches, oracle: Oracle, found: list[Pair]) -> None:
    """What the pairs of an item mean for it; suggestions alone leave a remittance waiting."""
    for i, row in enumerate(oracle.remittances):
        mine = {(pair.status, pair.tier == 10) for pair in found if pair.remittance == i}
        status = RemittanceStatus(m.remittance_status[i])
        if not mine - {(MatchStatus.REVIEW, True)}:
            assert status not in PAIRED
        elif row["valid"]:
            assert status == OUTCOMES[min(mine - {(MatchStatus.REVIEW, True)})[0]]
        else:
            assert status == RemittanceStatus.INVALID
    for j in range(len(oracle.payments)):
        statuses = {pair.status for pair in found if pair.payment == j}
        paid = PaymentStatus(m.payment_status[j])
        assert (paid == PaymentStatus.MATCHED) == (MatchStatus.AUTO in statuses)
        assert (paid == PaymentStatus.SUGGESTED) == bool(statuses - {MatchStatus.AUTO})


def _check_release(m: Matches, oracle: Oracle, found: list[Pair]) -> None:
    for i, row in enumerate(oracle.remittances):
        known = i not in oracle.left_duplicates and oracle.a[i].tenant is not None
        free = may_be_released(row) and known
        paid = [p for p in found if p.remittance == i and p.status == MatchStatus.AUTO]
        funded = bool(paid) and all(
            m.payment_funding[pair.payment] >= Funding.SETTLED
            and oracle.payments[pair.payment]["valid"]
            for pair in paid
        )
        assert m.release[i] == (free or (funded and row["valid"]))


@given(cases(), st.sampled_from([None, *DIRECTORIES]))
def test_never_wrong_about_money(case: Case, directory: Directory | None) -> None:
    left, right, policy = case
    m = run(remittances(*left), payments(*right), policy, directory=directory)
    auto = np.flatnonzero(m.status == MatchStatus.AUTO)
    for match_id in np.unique(m.match_id[auto]):
        rows = auto[m.match_id[auto] == match_id]
        remitted, paid = np.unique(m.remittance[rows]), np.unique(m.payment[rows])
        cents = m.remittances.paid_cents[remitted].sum(), m.payments.amount_cents[paid].sum()
        assert cents[0] == cents[1]
        assert min(len(remitted), len(paid)) == 1
        assert len(rows) == max(len(remitted), len(paid))
        assert not np.isin(m.remittance[np.setdiff1d(np.arange(len(m)), rows)], remitted).any()
        assert not np.isin(m.payment[np.setdiff1d(np.arange(len(m)), rows)], paid).any()
    assert (m.payments.kind[m.payment] == 1).all()
    assert m.remittances.valid[m.release].all()
    oracle = oracle_of(case, directory)
    for i, j in zip(m.remittance.tolist(), m.payment.tolist(), strict=True):
        assert oracle.a[i].rail == oracle.b[j].rail
        assert oracle.a[i].tenant == oracle.b[j].tenant
    for i, j in zip(m.remittance[auto].tolist(), m.payment[auto].tolist(), strict=True):
        carried = left[i]["payment_row"] == j
        assert carried or not oracle.contradict(i, j)
        assert not oracle.a[i].held
        assert i not in oracle.left_duplicates
        assert j not in oracle.right_duplicates


PAIRED = {
    RemittanceStatus.MATCHED,
    RemittanceStatus.MATCHED_VARIANCE,
    RemittanceStatus.PROBABLE,
}
OUTCOMES = {
    MatchStatus.AUTO: RemittanceStatus.MATCHED,
    MatchStatus.VARIANCE: RemittanceStatus.MATCHED_VARIANCE,
    MatchStatus.REVIEW: RemittanceStatus.PROBABLE,
}


@settings(max_examples=4 * settings().max_examples)
@given(cases() | written_cases(), st.sampled_from([None, *DIRECTORIES]), st.data())
def test_order_and_batching_change_nothing(
    case: Case, directory: Directory | None, data: st.DataObject
) -> None:
    left, right, policy = case
    pools = remittances(*left), payments(*right)
    expected = canonical(run(*pools, policy, directory=directory))
    places = data.draw(st.permutations(range(len(right))))
    moved_right = [right[place] for place in places]
    moved_left = [
        {**row, "payment_row": places.index(row["payment_row"]) if row["payment_row"] >= 0 else -1}
        for row in data.draw(st.permutations(left))
    ]
    cut, other_cut = data.draw(st.integers(0, len(left))), data.draw(st.integers(0, len(right)))
    left_pool = RemittanceColumns.concat(
        [remittances(*moved_left[:cut]), remittances(*moved_left[cut:])]
    )
    right_pool = PaymentColumns.concat(
        [payments(*moved_right[:other_cut]), payments(*moved_right[other_cut:])]
    )
    assert canonical(run(left_pool, right_pool, policy, directory=directory)) == expected


@given(st.integers(0, 12), st.integers(0, 12), st.data())
def test_blocks_too_large_look_the_same_in_any_order(
    left_step: int, right_step: int, data: Any
) -> None:
    left = [
        {"trace": "EO1", "id_offset": k, "paid_cents": 1 + k % (left_step + 1)} for k in range(90)
    ]
    right = [
        {"trace": "EO1", "id_offset": k, "amount_cents": 1 + k % (right_step + 1)}
        for k in range(70)
    ]
    expected = canonical(run(remittances(*left), payments(*right), Policy()))
    left_order = data.draw(st.randoms(use_true_random=False)).sample(left, 90)
    shuffled = remittances(*({**row, "body_hash": 7 + row["id_offset"]} for row in left_order))
    again = run(
        shuffled,
        payments(*reversed([{**row, "ach_trace": row["id_offset"]} for row in right])),
        Policy(),
    )
    assert canonical(again) == expected
    assert set(again.status) <= {MatchStatus.REVIEW}


@given(cases())
def test_colliding_hashes_make_nothing_match(case: Case) -> None:
    """With one key for all items everything is compared with everything, and the bytes decide. Two
    traces in one block may cost a sum, which is for a person then; nothing else."""
    left, right, policy = remittances(*case[0]), payments(*case[1]), case[2]
    expected = _automatic(run(left, right, policy))
    real_join = _keys.join

    def join_all(a: Any, b: Any, *on: Any) -> Any:
        return real_join(np.zeros_like(a), np.zeros_like(b), *on)

    with mock.patch.object(_keys, "join", join_all):
        found = _automatic(run(left, right, policy))
    assert found <= expected
    assert {pair for pair in expected - found if pair.tier < 4} == set()


def _automatic(m: Matches) -> set[Pair]:
    return {pair for pair in found_pairs(m) if pair.status == MatchStatus.AUTO}
