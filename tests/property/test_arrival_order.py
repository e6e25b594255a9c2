"""Matching at the horizon gives the same for any order of arrival and any batching of it.

A feed of the generator, with everything that goes wrong, is read once. Its items then arrive in up
to a hundred parts, in any order; what is matched, why, and what is shown must not change.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from canonical import canonical

from reassoc.core.directory import Directory, load_directory
from reassoc.core.match import Matches, match
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import (
    Funding,
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    Rail,
    Reason,
    RemittanceStatus,
)
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.intake import read_source
from reassoc.stream.pools import pool
from reassoc.stream.sources import discover

PAYMENTS = 1500
AS_OF = datetime.date(2026, 3, 24)
PARTS = (1, 2, 3, 7, 20, 61, 100)
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Feed:
    """What was read of a folder, and what it is matched with."""

    remittances: RemittanceColumns
    payments: PaymentColumns
    directory: Directory | None
    policy: Policy

    def match(self) -> Matches:
        return match(
            self.remittances,
            self.payments,
            policy=self.policy,
            calendar=federal_reserve_calendar(),
            as_of=AS_OF,
            directory=self.directory,
        )

    def arriving(self, left: Sequence[Rows], right: Sequence[Rows]) -> Feed:
        """The same items in the given parts, one after the other."""
        places = np.empty(len(self.payments), np.int32)
        places[np.concatenate(right)] = np.arange(len(places), dtype=np.int32)
        row = self.remittances.payment_row
        moved = replace(self.remittances, payment_row=np.where(row >= 0, places[row], np.int32(-1)))
        return replace(
            self,
            remittances=RemittanceColumns.concat([moved.take(rows) for rows in left]),
            payments=PaymentColumns.concat([self.payments.take(rows) for rows in right]),
        )


def feed_of(folder: Path, options: FeedOptions, policy: Policy | None = None) -> Feed:
    """Generate a feed and read it the way that the main job does."""
    generate_feed(folder / "feed", options)
    found = discover([folder / "feed"])
    items = [read_source(source, folder) for source in found.sources]
    for one in items:
        if one.findings is not None:
            one.findings.close()
    pools = pool([one for one in items if not one.reason])
    directory, rules = folder / "feed" / "directory.toml", folder / "feed" / "policy.toml"
    given = msgspec.toml.decode(rules.read_bytes(), type=Policy) if rules.exists() else Policy()
    return Feed(
        pools.remittances,
        pools.payments,
        load_directory(directory.read_text()) if directory.exists() else None,
        policy or given,
    )


@pytest.fixture(scope="module", params=["defects", "every tier", "adversarial"])
def feed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Feed:
    options = FeedOptions(payments=PAYMENTS, seed=11, claims=1.0, defects=True)
    policy = None
    if request.param == "every tier":
        policy = Policy(auto_tiers=("T6", "T7", "T8", "T9"))
    if request.param == "adversarial":
        options = replace(options, profile="adversarial")
    return feed_of(tmp_path_factory.mktemp("feed"), options, policy)


@pytest.fixture(scope="module")
def expected(feed: Feed) -> dict[str, Any]:
    return canonical(feed.match())


def cut(random: np.random.Generator, count: int, parts: int) -> list[Rows]:
    """The numbers below `count`, shuffled and cut anywhere; parts may be empty."""
    places = np.sort(random.integers(0, count + 1, parts - 1))
    return np.split(random.permutation(count), places)


@pytest.mark.parametrize("parts", PARTS)
def test_any_order_and_batching_gives_the_same(
    feed: Feed, expected: dict[str, Any], parts: int
) -> None:
    random = np.random.default_rng(parts)
    left = cut(random, len(feed.remittances), parts)
    right = cut(random, len(feed.payments), parts)
    found = canonical(feed.arriving(left, right).match())
    for name, values in expected.items():
        assert found[name] == values, name


def test_an_item_is_in_one_automatic_match_and_sums_are_exact(feed: Feed) -> None:
    m = feed.match()
    auto, undone = m.status == MatchStatus.AUTO, m.status == MatchStatus.UNMATCHED
    assert auto.any()
    left, right, bulk = m.remittance[auto], m.payment[auto], m.match_id[auto]
    for rows, other in ((left, m.remittance), (right, m.payment)):
        owners = np.unique(np.stack([rows.astype(np.uint64), bulk], axis=1), axis=0)
        assert len(owners) == len(np.unique(rows))
        assert not np.isin(other[~auto & ~undone], rows).any()
    for match_id in np.unique(bulk):
        remitted = np.unique(left[bulk == match_id])
        paid = np.unique(right[bulk == match_id])
        assert min(len(remitted), len(paid)) == 1
        cents = m.remittances.paid_cents[remitted].sum(), m.payments.amount_cents[paid].sum()
        assert cents[0] == cents[1]


def test_no_pair_crosses_tenants_or_rails(feed: Feed) -> None:
    m = feed.match()
    assert (m.remittance_tenant[m.remittance] == m.payment_tenant[m.payment]).all()
    rails = {b"CHK": Rail.CHECK, b"FWT": Rail.WIRE}
    for row, payment in zip(m.remittance.tolist(), m.payment.tolist(), strict=True):
        rail = rails.get(bytes(m.remittances.payment_method[row]), Rail.ACH)
        assert RAIL_OF_SOURCE[PaymentSource(m.payments.source[payment])] == rail


def test_only_what_is_sound_and_funded_is_released(feed: Feed) -> None:
    m = feed.match()
    paid = m.release & (m.remittances.paid_cents != 0)
    assert paid.any()
    assert m.remittances.valid[m.release].all()
    assert (m.remittances.paid_cents[m.release] >= 0).all()
    assert (m.remittance_status[paid] == RemittanceStatus.MATCHED).all()
    pairs = np.flatnonzero(paid[m.remittance] & (m.status != MatchStatus.UNMATCHED))
    assert set(m.remittance[pairs].tolist()) == set(np.flatnonzero(paid).tolist())
    assert (m.status[pairs] == MatchStatus.AUTO).all()
    payments = m.payment[pairs]
    assert m.payments.valid[payments].all()
    assert (m.payment_funding[payments] >= Funding.SETTLED).all()
    assert (m.payment_status[payments] == PaymentStatus.MATCHED).all()
    assert not (m.payment_reason[payments] & GONE).any()


GONE = Reason.RETURNED | Reason.REVERSED | Reason.RETURN_UNCLEAR | Reason.REVERSAL_UNCLEAR
RAIL_OF_SOURCE = {
    PaymentSource.ACH: Rail.ACH,
    PaymentSource.BANK_ACH: Rail.ACH,
    PaymentSource.CHECK: Rail.CHECK,
    PaymentSource.DEPOSIT: Rail.CHECK,
    PaymentSource.WIRE: Rail.WIRE,
    PaymentSource.BANK_OTHER: Rail.OTHER,
}
