"""Holds the compiled ACH reader against its plain twin, row by row, whole or in windows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from reassoc.core import reference_ach
from reassoc.core.ach import AchFiles
from reassoc.core.columns import Table, TextColumn

Row = dict[str, Any]
Rows = dict[str, list[Row]]

NAMES = ("files", "batches", "entries", "addenda", "returns", "payloads", "findings")
_WINDOW_RANGES = ("batch_start", "batch_stop", "entry_start", "entry_stop")
_TRN = ("trn_form", "trace", "payer_id", "trace_supplement")
_FINDING = ("code", "file_offset", "length", "record_number", "record_type", "position", "entry")


def table_rows(table: Table) -> list[Row]:
    """The rows of a table as plain values: text and codes as bytes."""
    columns: dict[str, list[Any]] = {}
    for name in table.names:
        column = table[name]
        if isinstance(column, TextColumn):
            columns[name] = [column.raw(row) for row in range(len(column))]
        else:
            columns[name] = np.asarray(column).tolist()
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def compiled_rows(windows: Iterable[AchFiles]) -> Rows:
    """The tables of one or several windows as those of the whole input, in the twin's terms."""
    whole: Rows = {name: [] for name in NAMES}
    files: dict[int, Row] = {}
    batches: dict[int, Row] = {}
    for window in windows:
        tables = {name: table_rows(getattr(window, name)) for name in NAMES}
        entry_base, addenda_base = len(whole["entries"]), len(whole["addenda"])
        batch_ordinals = [row["ordinal"] for row in tables["batches"]]
        for row in tables["batches"]:
            row["file"] = tables["files"][row["file"]]["ordinal"]
        for kept, name in ((files, "files"), (batches, "batches")):
            kept.update((row["ordinal"], row) for row in tables[name])
        for row in tables["entries"]:
            row["batch"] = batch_ordinals[row["batch"]]
            row["offset"] += window.window_offset
            row["addenda_start"] += addenda_base
            row["addenda_stop"] += addenda_base
        for name in ("addenda", "returns", "payloads", "findings"):
            for row in tables[name]:
                row["entry"] += entry_base if row["entry"] >= 0 else 0
        for row in tables["addenda"]:
            row["offset"] += window.window_offset
        for row in tables["returns"]:
            row["addenda"] += addenda_base
        for row in tables["payloads"]:
            row["text"] = bytes(window.payload_bytes[row["start"] : row["stop"]])
        for name in ("entries", "addenda", "returns", "payloads", "findings"):
            whole[name] += tables[name]
    whole["files"] = [files[ordinal] for ordinal in sorted(files)]
    whole["batches"] = [batches[ordinal] for ordinal in sorted(batches)]
    for row in whole["files"] + whole["batches"]:
        for name in _WINDOW_RANGES:
            row.pop(name, None)
    return whole


def twin_rows(data: bytes) -> Rows:
    """The tables of the twin."""
    return reference_ach.read(data)


def comparable(rows: Rows) -> Rows:
    """What both readers give: TRN columns where no X12 is behind them, findings in order."""
    x12 = {row["entry"] for row in rows["payloads"] if row["x12"]}
    result: Rows = {}
    for name in NAMES:
        result[name] = [
            {key: value for key, value in row.items() if key[0] != "_"} for row in rows[name]
        ]
    for number, row in enumerate(result["entries"]):
        if number in x12:
            for name in _TRN:
                row.pop(name, None)
    result["payloads"] = [
        {name: row[name] for name in ("entry", "text", "x12")} for row in rows["payloads"]
    ]
    for row in result["batches"]:
        row.pop("file", None)
    found = [{name: row[name] for name in _FINDING} for row in rows["findings"]]
    result["findings"] = sorted(found, key=lambda row: tuple(row[name] for name in _FINDING))
    return result


def differences(left: Rows, right: Rows) -> list[str]:
    """Where two readings differ, the first few places by table, row and column."""
    told: list[str] = []
    left, right = comparable(left), comparable(right)
    for name in NAMES:
        if len(left[name]) != len(right[name]):
            told.append(f"{name}: {len(left[name])} rows against {len(right[name])}")
            if name == "findings":
                told += [f"only left {row}" for row in left[name] if row not in right[name]][:4]
                told += [f"only right {row}" for row in right[name] if row not in left[name]][:4]
        for number, (one, other) in enumerate(zip(left[name], right[name], strict=False)):
            told += [
                f"{name}[{number}].{key}: {one.get(key)!r} against {other.get(key)!r}"
                for key in one.keys() | other.keys()
                if one.get(key) != other.get(key)
            ]
            if len(told) > 8:
                return told
    return told
