"""A folder of files that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from reassoc.core.errors import ReassocError


class FeedError(ReassocError):
    """A feed cannot be made as asked; the message says what to change."""


class Folder:
    """A folder that appears under its name once it is whole.

    It is written beside its place, under a name that starts with a dot; the file written to last
    stays open. Raises FeedError when there is something in its place already.
    """

    def __init__(self, out: Path) -> None:
        self._out = out.resolve()
        self._work = self._out.parent / f".{self._out.name}.{os.getpid()}.partial"
        self._file: BinaryIO | None = None
        self._open_name = ""
        self.bytes_written = 0
        self.names: set[str] = set()

    def __enter__(self) -> Folder:
        if self._out.exists() and (not self._out.is_dir() or any(self._out.iterdir())):
            raise FeedError(
                f"{self._out} is not an empty folder: name a new one, "
                "a feed is never mixed with other files"
            )
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._work.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._close()
        try:
            if kind is None:
                os.replace(self._work, self._out)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def put(self, name: str, data: bytes) -> None:
        """Append to the named file; a name not seen before makes a new file."""
        if name != self._open_name or self._file is None:
            self._close()
            path = self._work / name
            if name not in self.names:
                path.parent.mkdir(parents=True, exist_ok=True)
                self.names.add(name)
            self._file = path.open("ab")
            self._open_name = name
        self._file.write(data)
        self.bytes_written += len(data)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Single:
    """One file; `put` takes any name, so that writers of many files can write into it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes_written = 0

    def put(self, name: str, data: bytes) -> None:
        """Append to the file."""
        self._file.write(data)
        self.bytes_written += len(data)


@contextmanager
def single_file(path: Path) -> Iterator[_Single]:
    """A file that appears under its name once it is whole; one that is there is replaced."""
    work = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with work.open("wb") as file:
            yield _Single(file)
        os.replace(work, path)
    finally:
        work.unlink(missing_ok=True)
