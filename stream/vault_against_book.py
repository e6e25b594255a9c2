"""What the part book says of workers' vaults, against what these hold.

A vault checks itself (vault_verify.py), but does not know what it should have: that a content is
gone with all its traces, or a whole vault, only the book can tell. And only the book can tell which
contents nobody would look for: what a worker had stored that was killed before it told the book.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from reassoc.stream.part_book import PartBook
from reassoc.stream.vault import VaultContent

TOLD_WITHIN = timedelta(minutes=10)
"""After which a worker that runs has told the book of a content, or stored it again."""
SHOWN_MAX = 1000
"""Contents of one vault that are shown of each kind."""
_REMEDY = "from a backup, or have these files sent again"


@dataclass(frozen=True, slots=True)
class AgainstBook:
    """missing : digests of contents that the book names and the vault never had, sorted
    unnamed : contents that are there, not erased, and that the book does not name"""

    missing: list[bytes]
    unnamed: list[VaultContent]

    def lines(self, vault: str, book: PartBook) -> list[str]:
        """For people: what it means, at most SHOWN_MAX of each kind."""
        shown = self.missing[:SHOWN_MAX]
        counts = book.file_counts(shown)
        lines = [
            f"{vault}: content {digest.hex()}: the part book has parts of "
            f"{counts.get(digest, 0):,} files in it, and the vault knows nothing of it; put the "
            f"vault back {_REMEDY}"
            for digest in shown
        ]
        return lines + [
            f"{vault}: content {content.digest.hex()}, {content.byte_count:,} bytes, stored "
            f"{content.stored_at:%Y-%m-%d %H:%M}: no damage, but the part book does not name it: a "
            "worker ended before it told the book, and its messages came again; erase it where "
            "they must not be kept twice"
            for content in self.unnamed[:SHOWN_MAX]
        ]


def against_book(
    named: Collection[bytes], contents: Iterable[VaultContent], now: datetime
) -> AgainstBook:
    """Compare what the book named of a vault with what the vault has, which is to be looked at
    later. What was stored within TOLD_WITHIN of now may not be named yet. O(contents)."""
    missing, unnamed = set(named), []
    for content in contents:
        if content.digest in named:
            missing.discard(content.digest)
        elif content.erased is None and content.stored_at < now - TOLD_WITHIN:
            unnamed.append(content)
    return AgainstBook(sorted(missing), unnamed)


def missing_vaults(there: Iterable[str], book: PartBook) -> list[str]:
    """A line for people for each vault that the book names and that is not there."""
    return [
        f"{name}: the vault is not there, and the part book has "
        f"{len(book.contents_named(name)):,} contents in it; put it back {_REMEDY}"
        for name in sorted(set(book.vaults_named()) - set(there))
    ]
