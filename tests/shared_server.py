"""One server for all processes of a test run: whoever comes first starts it, whoever leaves last
ends it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

END_SECONDS_MAX = 20.0
_LOOK_SECONDS = 0.05

Note = dict[str, Any]
"""What is known of a running server: its address, its process, its folder."""


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run have."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def shared_server(
    shared: Path, name: str, start: Callable[[], Note], end: Callable[[Note], None]
) -> Iterator[Note]:
    """The server of a run. Each process that uses it has a shared lock on one file, so that the
    last one knows that it is, also where others were killed."""
    note = shared / f"{name}.json"
    with (
        (shared / f"{name}.users").open("a") as users,
        (shared / f"{name}.lock").open("a") as changes,
    ):
        fcntl.flock(changes, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if not note.exists():
            note.write_text(json.dumps(start()))
        fcntl.flock(changes, fcntl.LOCK_UN)
        try:
            yield json.loads(note.read_text())
        finally:
            fcntl.flock(changes, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_UN)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                end(json.loads(note.read_text()))
                note.unlink()


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended, at most END_SECONDS_MAX."""
    end = time.monotonic() + END_SECONDS_MAX
    while _is_there(pid) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)


def _is_there(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody has asked for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
