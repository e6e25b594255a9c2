"""Small feeds for tests of the warehouse's commands, and the commands themselves."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from typer.testing import CliRunner, Result

from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.stream import cli

TUESDAY, WEDNESDAY, THURSDAY = "2026-03-17", "2026-03-18", "2026-03-19"


def make_feed(folder: Path, payments: int = 24, *, days: int = 2) -> Path:
    """A feed whose payments settle from TUESDAY on: most match, some wait."""
    generate_feed(
        folder,
        FeedOptions(
            payments=payments,
            seed=11,
            claims=1.5,
            days=days,
            directory=False,
            ctx_per_mille=0,
            start_date=date.fromisoformat(TUESDAY),
            rates_ppm={"missing_payment": 100_000, "amount_variance": 60_000},
        ),
    )
    return folder


def files_of(feed: Path, day: str) -> list[Path]:
    """The files of one day."""
    return sorted(path for path in feed.rglob("*") if path.is_file() and path.parent.name == day)


def drop(home: Path, files: Iterable[Path]) -> None:
    """Put files into in/, as if they had been there for a while."""
    (home / "in").mkdir(parents=True, exist_ok=True)
    for path in files:
        target = home / "in" / path.name
        shutil.copyfile(path, target)
        os.utime(target, (path.stat().st_atime, path.stat().st_mtime - 60))


def run(*arguments: object) -> Result:
    """A command of reassoc, on a wide terminal."""
    texts = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli.app, texts, env={"COLUMNS": "250"})


def done(*arguments: object, code: int = 0) -> str:
    """What a command printed, which ends with this code."""
    result = run(*arguments)
    assert result.exit_code == code, f"{arguments}: {result.output} {result.exception!r}"
    return result.output


def drain(home: Path, day: str, *, code: int = 0) -> str:
    """Take what is there, up to the end of a day."""
    return done("serve", "--home", home, "--drain", "--as-of", day, "--workers", 2, code=code)


def released(home: Path) -> dict[str, bytes]:
    """Files that receivers have, by name."""
    # Not the private folder, from which files go while this looks.
    files = (home / "released").glob("[!.]*/*.x12")
    return {path.name: path.read_bytes() for path in files}


def traces(files: dict[str, bytes]) -> list[bytes]:
    """TRN02 of every 835 in some released files, sorted."""
    return sorted(
        trace for data in files.values() for trace in re.findall(rb"TRN.1.([^*|^]+)", data)
    )
