"""Sums of cents above int64."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, MetaData, Table, create_engine, insert, select

from reassoc.stream.ledger_store import sum_halves
from reassoc.stream.sums import exact_sum, whole_sum

CENTS = st.integers(-(2**63), 2**63 - 1)


@given(cents=st.lists(CENTS, max_size=30))
def test_a_sum_is_exact_however_large(cents: list[int]) -> None:
    assert exact_sum(np.array(cents, np.int64)) == sum(cents)


@given(cents=st.lists(CENTS, max_size=30))
def test_a_database_sums_as_exactly(cents: list[int]) -> None:
    table = Table("amounts", MetaData(), Column("cents", BigInteger))
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        table.create(connection)
        if cents:
            connection.execute(insert(table), [{"cents": value} for value in cents])
        assert whole_sum(*connection.execute(select(*sum_halves(table.c.cents))).one()) == sum(
            cents
        )
