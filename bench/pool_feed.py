"""A pool of a day and its defects: generated once, read with the job's own readers, kept as arrays.

python bench/pool_feed.py ROWS FOLDER     makes FOLDER/pool-ROWS.pickle and prints its path

What is kept: both pools, the directory, and the truth as rows of both (-1 for none).
"""

from __future__ import annotations

import csv
import pickle
import shutil
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reassoc.core.columns import TextColumn
from reassoc.core.directory import load_directory
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.loadtest.score import EXPECTS
from reassoc.stream.intake import Items, read_source
from reassoc.stream.layouts import load_layout
from reassoc.stream.pools import Pools, pool
from reassoc.stream.sources import discover

SEED = 1
CLAIMS = 1.0


def pool_path(rows: int, folder: Path) -> Path:
    """Where the pool of so many payments lies; made where it is not there yet."""
    columns = repr((RemittanceColumns.types(), PaymentColumns.types())).encode()
    path = folder / f"pool-{rows}-{zlib.crc32(columns):08x}.pickle"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        feed = Path(tempfile.mkdtemp(prefix="feed-", dir=folder))
        try:
            generate_feed(feed, FeedOptions(rows, seed=SEED, claims=CLAIMS, defects=True))
            _keep(feed, path)
        finally:
            shutil.rmtree(feed)
    return path


def _keep(feed: Path, path: Path) -> None:
    items = _read(feed)
    pools = pool(items)
    truth = _truth_rows(feed, items, pools)
    directory = (feed / "directory.toml").read_text()
    load_directory(directory)
    scratch = path.with_suffix(".part")
    with scratch.open("wb") as out:
        kept = (_plain(pools.remittances), _plain(pools.payments), directory, truth)
        pickle.dump(kept, out, protocol=5)
    scratch.rename(path)


def _plain(columns: RemittanceColumns | PaymentColumns) -> dict[str, Any]:
    """Columns as values that can be kept: texts as (bytes, references)."""
    values = {name: getattr(columns, name) for name in columns.types()}
    return {
        name: (bytes(value.source), value.refs) if isinstance(value, TextColumn) else value
        for name, value in values.items()
    }


def load_pool(path: Path) -> tuple[RemittanceColumns, PaymentColumns, str, np.ndarray]:
    """Both pools, the text of the directory, and the truth (see `_truth_rows`)."""
    with path.open("rb") as file:
        left, right, directory, truth = pickle.load(file)
    for columns in (left, right):
        for name, value in columns.items():
            if isinstance(value, tuple):
                columns[name] = TextColumn(*value)
    return RemittanceColumns(**left), PaymentColumns(**right), directory, truth


def _read(feed: Path) -> list[Items]:
    layouts = [load_layout(path) for path in sorted(feed.glob("*.layout.toml"))]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as workers:
        read = partial(read_source, scratch=Path(scratch), layouts=layouts)
        items = [one for one in workers.map(read, discover([feed]).sources) if not one.reason]
        for one in items:
            if one.findings is not None:
                one.findings.close()
    return items


def _truth_rows(feed: Path, items: list[Items], pools: Pools) -> np.ndarray:
    """int32[k, 3]: row of the remittance, row of the payment, number of `expect` in EXPECTS."""
    names = {one.source.name: number for number, one in enumerate(items)}
    left = _places(pools.remittance_source, pools.rows.ordinal)
    right = _places(pools.payment_source, pools.payment_ordinal)
    expects = {name: number for number, name in enumerate(EXPECTS)}
    rows = []
    with (feed / "truth.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            a, b = line["remit_file"], line["payment_file"]
            rows.append(
                (
                    left[names[a], int(line["remit_ordinal"])] if a else -1,
                    right[names[b], int(line["payment_ordinal"])] if b else -1,
                    expects[line["expect"]],
                )
            )
    return np.array(rows, np.int32)


def _places(source: np.ndarray, ordinal: np.ndarray) -> dict[tuple[int, int], int]:
    return {
        place: row for row, place in enumerate(zip(source.tolist(), ordinal.tolist(), strict=True))
    }


if __name__ == "__main__":
    print(pool_path(int(sys.argv[1]), Path(sys.argv[2])))
