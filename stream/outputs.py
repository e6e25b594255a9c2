"""What a command leaves behind, the folder of a run or a file: written beside its place, and put
there by one rename.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from reassoc.core.errors import ReassocError


class OutputError(ReassocError):
    """The output folder cannot be used; the message says why and what to do."""


def check_free(out: Path) -> None:
    """Raise OutputError unless `out` is not there yet or is an empty folder."""
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise OutputError(f"{out}: cannot be looked at: {error.strerror}") from error
    if not taken:
        return
    if (out / "summary.json").exists() and (out / "matches.csv").exists():
        raise OutputError(f"{out} already holds a run; give another folder (nothing was changed)")
    raise OutputError(f"{out} is not an empty folder; give another one (nothing was changed)")


@contextmanager
def whole_or_nothing(out: Path) -> Iterator[Path]:
    """A private folder to write into; when the block ends well it becomes `out`, all at once, else
    it is removed.

    Every file and folder is flushed to disk before the rename, and the rename after it. Raises
    OutputError where `out` is taken, before the block or, by another run, during it.
    """
    check_free(out)
    out = Path(os.path.abspath(out))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        private = out.parent / f".{out.name}.partial-{os.getpid()}-{secrets.token_hex(4)}"
        private.mkdir()
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}") from error
    try:
        yield private
        for folder, _, files in os.walk(private, topdown=False):
            for name in files:
                _sync(Path(folder) / name)
            _sync(Path(folder))
        check_free(out)
        try:
            private.rename(out)
        except OSError as error:
            raise OutputError(
                f"{out} was taken by another run meanwhile; nothing was written"
            ) from error
        _sync(out.parent)
    except BaseException:
        shutil.rmtree(private, ignore_errors=True)
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into; when the block ends well it becomes `path`, else what was there stays.

    `-` is the terminal. A device, a pipe and what a link leads to are written straight into. Raises
    OutputError where it cannot be written.
    """
    try:
        if str(path) == "-":
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif path.is_symlink() or (path.exists() and not path.is_file()):
            with path.open("wb") as out:
                yield out
        else:
            with _private_file(path) as out:
                yield out
    except BrokenPipeError:
        raise
    except OSError as error:
        place = "the terminal" if str(path) == "-" else str(path)
        why = error.strerror or type(error).__name__
        raise OutputError(f"{place}: cannot be written: {why}") from error


@contextmanager
def _private_file(path: Path) -> Iterator[IO[bytes]]:
    private = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with private.open("wb", buffering=1 << 20) as out:
            yield out
        private.replace(path)
    finally:
        private.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
