"""A file of which parts did not come is told by a stream that runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from sqlalchemy import update
from waiting import until
from worker_stacks import rig

from reassoc.stream import ledger_schema as schema
from reassoc.stream.config import load_config
from reassoc.stream.incomplete import GRACE_MS, now_ms
from reassoc.stream.ledger import Ledger
from reassoc.stream.part_book import FileNote, PartBook

TOLD_SECONDS_MAX = 60.0


@pytest.mark.slow
def test_status_and_metrics_tell_of_a_file_without_its_parts(tmp_path: Path) -> None:
    with rig(tmp_path, 20, 1, items_partitions=1, raw_partitions=1) as made:
        told = json.loads(made.run("status", "--json").stdout)
        assert told["incomplete"] == {"file_count": 0, "has_more": False, "worst": []}

        ledger = Ledger.open(load_config(made.config_file).config.ledger.url)
        try:
            PartBook(ledger).remember_files([FileNote(bytes(32), 3000, "a.835", "X12", 3, True)])
            with ledger.adding() as connection:
                long_ago = now_ms() - GRACE_MS - 1000
                connection.execute(update(schema.part_file_open).values(came_ms=long_ago))
        finally:
            ledger.close()

        told = json.loads(made.run("status", "--json").stdout)["incomplete"]
        (file,) = told["worst"]
        assert (told["file_count"], file["name"], file["parts"]) == (1, "a.835", 0)
        assert (file["part_count"], file["byte_count"]) == (3, 3000)
        assert "a.835" in made.run("status").stdout
        worker = made.stack.workers[0]

        def is_told() -> bool:
            return bool(
                re.search(rb"^reassoc_incomplete_files 1", worker.ask("metrics") or b"", re.M)
            )

        until(is_told, TOLD_SECONDS_MAX)
