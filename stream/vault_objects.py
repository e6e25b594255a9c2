"""A store on whatever fsspec reaches: objects that are written once, and replaced whole.

fsspec comes without types and is imported late: a vault in a local folder does without it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from blake3 import blake3

from reassoc.stream.vault_store import NEW, SEGMENTS, Buffer

_DIGEST_BYTES = 32


class ObjectStore:
    """Objects under a URL of fsspec. There is no lock: one process erases or rotates at a time;
    several may put.

    read_only : nothing is written.
    """

    can_append = False

    def __init__(self, url: str, *, read_only: bool) -> None:
        """Raises ImportError, ValueError where fsspec cannot reach a URL of that kind."""
        self.where = url
        self._files, root = _reached(url)
        self._root = root.rstrip("/")
        if not read_only:
            with _failing():
                self._files.makedirs(f"{self._root}/{SEGMENTS}", exist_ok=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def names(self) -> dict[str, int]:
        """Every object and its bytes."""
        found: dict[str, int] = {}
        for prefix, folder in (("", self._root), (f"{SEGMENTS}/", self._path(SEGMENTS))):
            for each in self._listed(folder):
                if each["type"] == "file":
                    found[prefix + _last_name(each)] = int(each["size"])
        return found

    def folders(self) -> list[str]:
        """Names of what looks like a folder right below."""
        return [_last_name(each) for each in self._listed(self._root) if _is_folder(each)]

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        with _failing():
            self._files.invalidate_cache()
            try:
                return list(self._files.ls(folder, detail=True))
            except FileNotFoundError:
                return []

    def read(self, name: str, start: int, stop: int) -> bytes:
        """Bytes of an object, fewer where it ends before."""
        if start >= stop:
            return b""
        with _failing():
            return bytes(self._files.cat_file(self._path(name), start=start, end=stop))

    def create(self, name: str) -> ObjectSink:
        """A new object; it is there once it is closed."""
        with _failing():
            return ObjectSink(self._files.open(self._path(name), "wb"))

    def replace(self, name: str, data: bytes) -> None:
        """Written beside it first, with a digest: a store that does not replace objects in one
        moment leaves one of the two whole."""
        with _failing():
            self._files.pipe_file(self._path(name + NEW), data + blake3(data).digest())
            self._files.pipe_file(self._path(name), data)
            self._files.rm_file(self._path(name + NEW))

    def settle(self) -> None:
        """Replace again what has a whole successor beside it."""
        for name in self.names():
            if name.endswith(NEW):
                with _failing():
                    self._settle(name)

    def _settle(self, name: str) -> None:
        data = bytes(self._files.cat_file(self._path(name)))
        body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        if len(data) > _DIGEST_BYTES and blake3(body).digest() == digest:
            self._files.pipe_file(self._path(name.removesuffix(NEW)), body)
        self._files.rm_file(self._path(name))

    def cut(self, name: str, size: int) -> None:
        """Objects do not shrink."""
        raise OSError(f"{name}: an object cannot be cut to {size} bytes")

    def remove(self, name: str) -> None:
        """Remove an object; nothing where there is none."""
        with _failing(), suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def stamp(self, name: str) -> int:
        """Not told."""
        return 0

    def is_written_now(self) -> bool:
        """Not known: an object without an index may be on its way."""
        return False

    def close(self) -> None:
        """Nothing is open."""


class ObjectSink:
    """An object that is being written."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append."""
        with _failing():
            for part in parts:
                self._file.write(part)

    def sync(self) -> None:
        """Objects become durable as a whole, by `close`."""

    def close(self) -> None:
        """Finish the object."""
        with _failing():
            self._file.close()


def _last_name(listed: dict[str, Any]) -> str:
    return str(listed["name"]).rstrip("/").rpartition("/")[2]


def _is_folder(listed: dict[str, Any]) -> bool:
    return bool(listed["type"] == "directory")


@contextmanager
def _failing() -> Iterator[None]:
    """Whatever a package for some store raises is an OSError; its text may name anything and is
    left out."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"the store failed ({type(error).__name__})") from error


def _reached(url: str) -> tuple[Any, str]:
    core = import_module("fsspec.core")
    files, root = core.url_to_fs(url)
    return files, str(root)
