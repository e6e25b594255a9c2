"""The tables of a bank report: their columns, and how rows become them. Details and texts, which
are many, stand in _bai2_details.h."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from reassoc.core.columns import Column, Source, Table, TextColumn

Spec = tuple[tuple[str, str, str], ...]
"""(name, kind, meaning) of each column; kinds as in `columns`."""

_CONTROL: Spec = (
    ("total_cents", "cents", "sum of the amounts, as control totals count them"),
    ("declared_total_cents", "cents", "the trailer's control total; 0 where blank or no number"),
    ("total_declared", "flag", "the trailer has a control total that is a number"),
    ("record_count", "int64", "physical records seen, continuations too"),
    ("declared_record_count", "int64", "the trailer's; -1 for none"),
    ("has_header", "flag", "its header record was there"),
    ("has_trailer", "flag", "its trailer record was there"),
    ("valid", "flag", "no finding of severity error about itself"),
)

FILES: Spec = (
    ("offset", "uint32", "byte of its first record"),
    ("sender", "text", "01: sender identification"),
    ("receiver", "text", "01: receiver identification"),
    ("creation_date", "date", "01: file creation date"),
    ("creation_time", "int16", "01: minute of the day, 1440 for its end; -1 for none"),
    ("file_id", "text", "01: file identification number"),
    ("record_bytes", "int32", "01: physical record length; 0 for variable"),
    ("block_records", "int32", "01: block size; 0 for variable"),
    ("group_start", "uint32", "first of its rows in groups"),
    ("group_stop", "uint32", "one after its last row in groups"),
    ("declared_group_count", "int64", "99: number of groups; -1 for none"),
    *_CONTROL,
)
GROUPS: Spec = (
    ("offset", "uint32", "byte of its first record"),
    ("file", "row", "row in files"),
    ("receiver", "text", "02: ultimate receiver"),
    ("originator", "text", "02: originator, the bank"),
    ("status", "uint8", "02: bai2.GroupStatus"),
    ("as_of_date", "date", "02: as-of date"),
    ("as_of_time", "int16", "02: minute of the day, 1440 for its end; -1 for none"),
    ("currency", "code4", "02: currency in upper case; USD where blank"),
    ("modifier", "uint8", "02: as-of-date modifier, 1 to 4; 0 for none"),
    ("account_start", "uint32", "first of its rows in accounts"),
    ("account_stop", "uint32", "one after its last row in accounts"),
    ("declared_account_count", "int64", "98: number of accounts; -1 for none"),
    *_CONTROL,
)
ACCOUNTS: Spec = (
    ("offset", "uint32", "byte of its first record"),
    ("group", "row", "row in groups"),
    ("account", "text", "03: account number"),
    ("currency", "code4", "03: currency in upper case; the group's where blank"),
    ("summary_start", "uint32", "first of its rows in summaries"),
    ("summary_stop", "uint32", "one after its last row in summaries"),
    ("detail_start", "uint32", "first of its rows in details"),
    ("detail_stop", "uint32", "one after its last row in details"),
    *_CONTROL,
)
SUMMARIES: Spec = (
    ("offset", "uint32", "byte of its type code"),
    ("account", "row", "row in accounts"),
    ("type_code", "int16", "03: type code; -1 where it is none"),
    ("amount_cents", "cents", "03: amount, signed; 0 where it is blank or no number"),
    ("has_amount", "flag", "an amount was there"),
    ("item_count", "int32", "03: item count; -1 for none"),
    ("funds_type", "code2", "03: funds type: 0, 1, 2, V, S, D, Z or blank"),
    ("value_date", "date", "funds type V: value date"),
    ("value_time", "int16", "funds type V: minute of the day; -1 for none"),
)
AVAILABILITIES: Spec = (
    ("summary", "row", "row in summaries, -1 for that of a detail"),
    ("detail", "row", "row in details, -1 for that of a summary"),
    ("days", "int32", "days until the funds are there"),
    ("amount_cents", "cents", "how much"),
)
FINDINGS: Spec = (
    ("code", "uint16", "errors.FindingCode"),
    ("file_offset", "int64", "byte in the input"),
    ("length", "uint32", "bytes concerned, 0 where the fault is at a point"),
    ("record_number", "uint32", "1-based number of the physical record, 0 for the input's end"),
    ("record_type", "code2", "01, 02, 03, 16, 49, 88, 98 or 99; empty for what is no record"),
    ("file", "row", "row in files, -1 outside of one"),
    ("group", "row", "row in groups, -1 outside of one"),
    ("account", "row", "row in accounts, -1 outside of one"),
    ("detail", "row", "row in details, -1 outside of one"),
    ("severity", "uint8", "errors.Severity: 0 info, 1 warning, 2 error"),
)

_DTYPES: Mapping[str, str] = {
    "row": "<i4",
    "date": "<i4",
    "cents": "<i8",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "uint32": "<u4",
    "uint16": "<u2",
    "uint8": "|u1",
    "flag": "|b1",
    "code2": "|S2",
    "code4": "|S4",
}

Reference = int
"""Offset and length of a text in one number: offset << 32 | length."""


def reference(start: int, stop: int) -> Reference:
    """The text from `start` to `stop`."""
    return start << 32 | stop - start


def table(name: str, spec: Spec, rows: Sequence[tuple[Any, ...]], source: Source) -> Table:
    """A Table of rows in the order of the spec; texts are References into `source`. O(rows)."""
    values: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(spec)
    columns: dict[str, Column | TextColumn] = {}
    for (column, kind, _), cells in zip(spec, values, strict=True):
        if kind == "text":
            packed = np.array(cells, np.uint64)
            refs = np.stack([packed >> np.uint64(32), packed & np.uint64(0xFFFFFFFF)], axis=1)
            columns[column] = TextColumn(source, refs.astype(np.uint32))
        else:
            columns[column] = np.array(cells, _DTYPES[kind])
    return Table(name, columns, *_said_of(spec))


@cache
def _said_of(spec: Spec) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Kinds and meanings of the columns: the same for every report."""
    kinds = {column: kind for column, kind, _ in spec}
    return MappingProxyType(kinds), MappingProxyType({column: doc for column, _, doc in spec})
