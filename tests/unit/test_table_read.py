"""Tables read back: whole columns, and single rows of large files."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest

from reassoc.stream import table_read
from reassoc.stream.table import csv_cell
from reassoc.stream.table_read import NO_INT, TableError, TableFile, read_columns


def write(path: Path, *lines: str) -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def test_columns_are_what_csv_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_read, "PIECE_BYTES", 100)
    draws = random.Random(5)
    texts = ["", "a.835", 'with "quotes", and\nlines', "ümlaut", "=SUM(1)", "x" * 40]
    lines = []
    for _ in range(500):
        number = draws.choice(["", "0", "-7", str(draws.randrange(-(10**17), 10**17))])
        cells = [csv_cell(draws.choice(texts)), number, f"{draws.getrandbits(64):016x}"]
        lines.append(",".join([*cells, csv_cell(draws.choice(texts))]))
    path = write(tmp_path / "t.csv", "text,int,id,other", *lines)
    columns = read_columns(path, ints=["int"], ids=["id"], texts=["text", "other"])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert columns.row_count == len(rows) == 500
    assert columns.ints["int"].tolist() == [int(row["int"] or NO_INT) for row in rows]
    assert columns.ids["id"].tolist() == [int(row["id"], 16) for row in rows]
    for name in ("text", "other"):
        column = columns.texts[name]
        assert [column.names[number] for number in column.numbers] == [row[name] for row in rows]


def test_a_table_without_rows_has_empty_columns(tmp_path: Path) -> None:
    columns = read_columns(write(tmp_path / "t.csv", "a,b"), ints=["a"], texts=["b"])
    assert (columns.row_count, len(columns.ints["a"]), len(columns.texts["b"])) == (0, 0, 0)
    assert columns.ints["a"].dtype == np.int64


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a,b", "1"], "more or fewer cells"),
        (["a,b", "1,2,3", "4"], "more or fewer cells"),
        (["a,c", "1,2"], "no column 'b'"),
        (["a,b", "x,2"], "no whole number"),
        (["a,b", f"{10**20},2"], "no whole number"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, lines: list[str], words: str) -> None:
    path = write(tmp_path / "t.csv", *lines)
    with pytest.raises(TableError, match=words):
        read_columns(path, ints=["a"], texts=["b"])


def test_a_table_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,2\n3,")
    with pytest.raises(TableError, match="cut off"):
        read_columns(path, ints=["a"])
    with pytest.raises(TableError, match="cannot be read"):
        read_columns(tmp_path / "none.csv", ints=["a"])
    (tmp_path / "empty.csv").write_bytes(b"")
    for read in (lambda path: read_columns(path, ints=["a"]), TableFile):
        with pytest.raises(TableError, match=r"empty\.csv"):
            read(tmp_path / "empty.csv")


def test_rows_are_found_by_how_they_begin_and_by_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_read, "PIECE_BYTES", 7)
    path = write(
        tmp_path / "t.csv",
        "id,note,file,ordinal",
        'aa01,"a line\naa99,of, the ""note""",f,1',
        "aa02,plain,f,11",
        "bb03,plain,g,1",
    )
    with TableFile(path) as table:
        assert len(table) == 3
        assert table.starting_with(b"aa") == [0, 1]
        assert table.starting_with(b"aa99") == []
        assert table.starting_with(b"bb03,plain,g,1") == [2]
        assert table.starting_with(b"bb03,plain,g,1\nmore") == []
        assert table.row(0) == {
            "id": "aa01",
            "note": 'a line\naa99,of, the "note"',
            "file": "f",
            "ordinal": "1",
        }
        assert table.holding(b",f,1", 9) == [0, 1]
        assert table.holding(b",f,1", 1) == [0]
        assert table.holding(b"plain", 9) == [1, 2]
        assert table.holding(b"nothing", 9) == []
    with TableFile(write(tmp_path / "none.csv", "id,note")) as table:
        assert (len(table), table.starting_with(b"a"), table.holding(b"i", 5)) == (0, [], [])
