"""What must not be erased, and what must not be kept: legal holds and the retention of a vault."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from reassoc.core.errors import LimitError
from reassoc.stream.vault_commit import seconds_of
from reassoc.stream.vault_errors import HeldError, VaultError
from reassoc.stream.vault_head import (
    POLICY,
    Hold,
    Lifted,
    VaultPolicy,
    read_policy,
    write_policy,
)
from reassoc.stream.vault_index import Place
from reassoc.stream.vault_keys import Random
from reassoc.stream.vault_store import Store

HOLDS_MAX = 20_000
"""Legal holds that a vault remembers, lifted ones included."""
RETENTION_DAYS_MAX = 36_525
WORDS_MAX = 1000
"""Characters of a reason or a name."""


class Keeper:
    """The policy of a vault. Its owner sees to it that one call at a time changes it.

    Raises OSError where the store fails; then nothing was changed.
    """

    def __init__(
        self,
        store: Store,
        index_key: bytes,
        vault_id: str,
        now: Callable[[], datetime],
        random: Random,
    ) -> None:
        self._store = store
        self._index_key = index_key
        self._vault_id = vault_id
        self._now = now
        self._random = random
        self._policy = VaultPolicy()
        self._held: dict[bytes, tuple[Hold, ...]] = {}
        self.load()

    def load(self) -> None:
        """Read the policy. Raises DamagedError."""
        self._take(read_policy(self._store, self._index_key, self._vault_id))

    def begin(self) -> None:
        """Write the policy of a new vault: from then on one that is missing is damage."""
        if POLICY not in self._store.names():
            self._write(self._policy)

    def _take(self, policy: VaultPolicy) -> None:
        held: dict[bytes, tuple[Hold, ...]] = {}
        for hold in policy.holds:
            if hold.lifted is None:
                held[hold.digest] = (*held.get(hold.digest, ()), hold)
        self._policy, self._held = policy, held

    def _write(self, policy: VaultPolicy) -> None:
        write_policy(self._store, self._index_key, self._vault_id, policy, self._random)
        self._take(policy)

    @property
    def retention_days(self) -> int | None:
        """How long contents are kept; None: for ever."""
        return self._policy.retention_days

    def holds_on(self, digest: bytes) -> tuple[Hold, ...]:
        """The holds on a content that nobody lifted, oldest first."""
        return self._held.get(digest, ())

    def retain(self, days: int | None) -> None:
        """Raises VaultError for days out of range."""
        if days is not None and not 1 <= days <= RETENTION_DAYS_MAX:
            raise VaultError(f"a retention is from 1 to {RETENTION_DAYS_MAX} days, or none")
        self._write(msgspec.structs.replace(self._policy, retention_days=days))

    def hold(self, digest: bytes, why: str, who: str) -> None:
        """Raises LimitError above HOLDS_MAX."""
        if len(self._policy.holds) >= HOLDS_MAX:
            raise LimitError(f"the vault has HOLDS_MAX ({HOLDS_MAX}) holds, lifted ones too")
        hold = Hold(digest, why, who, seconds_of(self._now()))
        self._write(msgspec.structs.replace(self._policy, holds=(*self._policy.holds, hold)))

    def unhold(self, digest: bytes, why: str, who: str) -> int:
        """Lift the oldest hold; how many are left. Raises VaultError where there is none."""
        mine = self.holds_on(digest)
        if not mine:
            raise VaultError(f"content {short(digest)}: is not held")
        note = Lifted(why, who, seconds_of(self._now()))
        holds = tuple(
            msgspec.structs.replace(each, lifted=note) if each is mine[0] else each
            for each in self._policy.holds
        )
        self._write(msgspec.structs.replace(self._policy, holds=holds))
        return len(mine) - 1

    def check_free(self, digest: bytes, place: Place, at: datetime) -> None:
        """Raise HeldError where a content must be kept."""
        if self.holds_on(digest):
            raise HeldError(f"content {short(digest)}: a legal hold keeps it; lift it first")
        until = self._kept_until(place)
        if until is not None and at < until:
            raise HeldError(
                f"content {short(digest)}: the retention keeps it until {until:%Y-%m-%d}"
            )

    def is_over(self, digest: bytes, place: Place, at: datetime) -> bool:
        """Whether the retention wants a content erased."""
        until = self._kept_until(place)
        return until is not None and until <= at and not self.holds_on(digest)

    def _kept_until(self, place: Place) -> datetime | None:
        days = self._policy.retention_days
        if days is None:
            return None
        return datetime.fromtimestamp(place.stored_at, UTC) + timedelta(days=days)


def short(digest: bytes) -> str:
    """A content as messages name it."""
    return digest.hex()[:16]


def check_words(why: str, who: str) -> None:
    """Raise VaultError for a reason or a name that says nothing, or too much."""
    for name, words in (("why", why), ("who", who)):
        if not words.strip() or len(words) > WORDS_MAX:
            raise VaultError(f"{name} must say something, in at most {WORDS_MAX} characters")
