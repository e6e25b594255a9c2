"""The match state in Redis, on one server or on a cluster.

A probe and a step are one call each, whatever their size: ids, keys and bodies go over as packed
blobs, and a script (redis_scripts/) cuts them up. `redis_scripts/common.lua` says what lies where.
All keys of a tenant share a hash tag, so a tenant lies on one node and its steps are atomic; only
the set of all tenants' names has a slot of its own.

A call whose answer was lost is made again. A step brings a token that is kept with the tenant, so
that the second call of it does nothing, also where the step is about no log entry.

How much Redis may lose when it dies is a matter of its own settings (appendfsync): the mark goes
back with the records, and the log makes up for it.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import numpy as np

from reassoc.core import _rows
from reassoc.core.errors import LimitError, ReassocError
from reassoc.stream.records import Block
from reassoc.stream.redis_bodies import pack_bodies, unpack_bodies
from reassoc.stream.redis_client import (
    CALL_SECONDS_MAX,
    CONNECT_SECONDS_MAX,
    RedisClient,
    Script,
)
from reassoc.stream.sqlite_file import StoreError
from reassoc.stream.state import (
    ID_BYTES,
    KEY_RECORDS_MAX,
    PROBE_KEYS_MAX,
    SCAN_RECORDS_MAX,
    Ask,
    Claim,
    FencedError,
    Ids,
    Keys,
    MarkError,
    OutboxEntry,
    Probe,
    Records,
    StateError,
    Step,
    UnclaimedError,
    as_text,
    check_step,
    distinct,
    dump_records,
    refusal_of,
)

RECORDS_MAX = 20_000_000
"""Records of one tenant, unless another limit is given: some 7 GB."""
MARK_MAX = 1 << 53
"""Scripts count in doubles, which are exact up to here."""
CALL_ROWS_MAX = 1 << 14
"""Keys or ids of one reading call: Redis does nothing else meanwhile, some 30 ms."""
CALL_BYTES_MAX = 64 << 20
"""Bytes of a step that are sent with the call that makes it; a larger one is sent before, in parts,
and made by one call all the same."""
PART_BYTES_MAX = 16 << 20
"""Bytes of one part of a step, beyond those of one row."""
REPLY_BYTES_MAX = 32 << 20
"""Bytes of records that one call brings, beyond the last of them."""
OUTBOX_READ_BYTES_MAX = 64 << 20
"""Bytes of outbox entries, packed, that one call brings, beyond the last of them."""
TOGETHER_MAX = 64
"""Calls for different tenants that are sent together."""
TOGETHER_ROWS_MAX = 4096
"""Keys and ids of one of them."""
TOGETHER_BYTES_MAX = 1 << 20
"""Bytes that one of them sends, or brings beyond the last record."""
STAGED_SECONDS_MAX = 3600
"""After which Redis forgets the parts of a step that nobody made."""
READINGS_MAX = 50
"""How often something is read that takes several calls, where steps are made between them."""
SENDINGS_MAX = 3
"""How often the parts of a step are sent, where Redis lost them on the way."""

_SECONDS_PER_ROW, _SECONDS_PER_BYTE = 2e-4, 2.5e-7
"""More than a call takes, by what it is about."""
_REPLY_BYTES_PER_ROW = 1 << 12
"""More than a key or an id brings on average."""
_LOCKS = 64
_ROW = np.dtype([("id", f"V{ID_BYTES}"), ("bytes", "<u4")])
_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SETTINGS = {b"hash-max-listpack-value": 512, b"hash-max-listpack-entries": 128}
"""What Redis needs to keep records compact."""

_CLAIM, _APPLY, _STAGE = Script("claim"), Script("apply"), Script("stage")
_PROBE, _FETCH, _IDS = Script("probe"), Script("fetch"), Script("ids")
_OUTBOX, _ACKNOWLEDGE = Script("outbox"), Script("acknowledge")

_log = logging.getLogger(__name__)
_Value = TypeVar("_Value")
_Raw = tuple[list[bytes], list[bytes]]
"""Ids of records as blobs, and their values in the same order."""


class RedisState:
    """State in Redis. See `state.State` for what each call promises.

    url         : of the server or cluster, see `redis_client.RedisClient`
    prefix      : of all keys (letters, digits, `.`, `_`, `-`): states of different ones are apart
    records_max : records of a tenant; a step that would pass it is refused

    Raises StoreError where Redis cannot be had, or drops keys where its memory is full. Settings
    that cost memory are logged as warnings.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        records_max: int = RECORDS_MAX,
        connect_seconds: float = CONNECT_SECONDS_MAX,
        call_seconds: float = CALL_SECONDS_MAX,
    ) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError("a prefix is 1 to 64 letters, digits, points, hyphens, underscores")
        self._prefix = prefix
        self._records_max = records_max
        self._client = RedisClient(url, connect_seconds=connect_seconds, call_seconds=call_seconds)
        # One step of a tenant at a time: Redis keeps the token of the last one only.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        try:
            self._check_server()
        except BaseException:
            self._client.close()
            raise

    def tenants(self) -> list[str]:
        """Every tenant that was claimed once, sorted. O(tenants) calls."""
        names = sorted(self._client.call("SMEMBERS", self._names_key))
        there = self._client.calls([("HEXISTS", self._key(name, b"h"), b"e") for name in names])
        return sorted(
            name.decode() for name, is_there in zip(names, there, strict=True) if is_there
        )

    def claim(self, tenant: str, *, may_begin: bool = True) -> Claim:
        """Become the tenant's only writer: every earlier claim is void from now on.

        may_begin : False refuses a tenant without an epoch (UnclaimedError), as one that was lost
        """
        # Before the claim, so that no claimed tenant can be missing among the names.
        self._client.call("SADD", self._names_key, tenant.encode())
        epoch, mark = self._client.run(_CLAIM, self._keys(tenant), int(may_begin))
        if not epoch:
            raise self._unclaimed()
        return Claim(tenant, epoch, int(mark))

    def is_claimed(self, tenant: str) -> bool:
        """Whether the tenant has an epoch: it was claimed, and not lost since."""
        return bool(self._client.call("HEXISTS", self._head(tenant), b"e"))

    def mark(self, tenant: str) -> int:
        """The position up to which the tenant's log is applied, 0 for nothing."""
        return int(self._client.call("HGET", self._head(tenant), b"m") or 0)

    def incarnation(self) -> str:
        """Another text than before where a server was started anew or another one took its place:
        what was applied in its last moments may be lost."""
        return ",".join(self._client.run_ids())

    def open_count(self, tenant: str) -> int:
        """How many records the tenant has."""
        return int(self._client.call("HGET", self._head(tenant), b"n") or 0)

    def outbox_length(self, tenant: str) -> int:
        """How many outbox entries nobody acknowledged."""
        return int(self._client.call("LLEN", self._key(tenant.encode(), b"o")))

    def probe(self, tenant: str, keys: Keys, ids: Ids | None = None) -> Probe:
        """Records by their keys, and by ids as `fetch` does, in the order of ids. At most
        PROBE_KEYS_MAX keys (ValueError).

        One call for each CALL_ROWS_MAX keys and ids or REPLY_BYTES_MAX bytes found; they see one
        moment.
        """
        if len(keys) > PROBE_KEYS_MAX:
            raise ValueError(f"more than PROBE_KEYS_MAX ({PROBE_KEYS_MAX}) keys")
        wanted, by_id = distinct(keys), b"" if ids is None else _unique(ids).tobytes()
        raw, crowded = self._of_one_moment(lambda seen: self._probe(tenant, wanted, by_id, seen))
        return Probe(_records(*raw), np.frombuffer(crowded, "<u8").astype(np.uint64))

    def probe_each(self, asks: Sequence[Ask]) -> list[Probe]:
        """Several probes, each as `probe` makes it. Those that one call answers each go together,
        in portions of TOGETHER_MAX."""
        if len(asks) == 1:
            return [self.probe(*asks[0])]
        found: list[Probe] = []
        for start in range(0, len(asks), TOGETHER_MAX):
            found += self._probe_together(asks[start : start + TOGETHER_MAX])
        return found

    def _probe_together(self, asks: Sequence[Ask]) -> list[Probe]:
        small = [
            place
            for place, (_, keys, ids) in enumerate(asks)
            if len(keys) + len(ids) <= TOGETHER_ROWS_MAX
        ]
        calls = []
        for place in small:
            tenant, keys, ids = asks[place]
            wanted = distinct(keys).astype("<u8").tobytes()
            values = wanted, KEY_RECORDS_MAX, TOGETHER_BYTES_MAX, _unique(ids).tobytes()
            calls.append((self._keys(tenant), values))
        rows = sum(len(asks[place][1]) + len(asks[place][2]) for place in small)
        seconds = _seconds(rows, rows * _REPLY_BYTES_PER_ROW)
        answers = self._client.run_each(_PROBE, calls, seconds) if calls else []
        probes: dict[int, Probe] = {}
        for place, (_, there, values, left, crowded) in zip(small, answers, strict=True):
            if not left:
                many = np.frombuffer(crowded, "<u8").astype(np.uint64)
                probes[place] = Probe(_records([there], values), many)
        return [
            probes[place] if place in probes else self.probe(*ask) for place, ask in enumerate(asks)
        ]

    def fetch(self, tenant: str, ids: Ids) -> Records:
        """Records by their ids, in the order of ids; ids that are not there are left out. Calls as
        in `probe`."""
        wanted = _unique(ids).tobytes()
        return _records(*self._of_one_moment(lambda seen: self._fetch(tenant, wanted, seen)))

    def scan(self, tenant: str, kinds: Sequence[int] = ()) -> Iterator[Records]:
        """All records (of some kinds) in the order of ids, in pieces of at most SCAN_RECORDS_MAX.

        Redis has no order of ids, so all of them are read first: 16 bytes a record are in memory.
        """
        ids = self._ids(tenant, bytes(kinds))
        for start in range(0, len(ids), SCAN_RECORDS_MAX):
            some = ids[start : start + SCAN_RECORDS_MAX]
            piece = _records(*self._fetch(tenant, some.tobytes(), set()))
            if kinds:
                piece = piece.take(np.flatnonzero(np.isin(piece.kinds, np.array(kinds))))
            if len(piece):
                yield piece

    def dump(self, tenant: str) -> bytes:
        """Mark and records as `state.dump_records` writes them, while no step is made."""
        return dump_records(self.mark(tenant), self.scan(tenant))

    def apply(self, claim: Claim, step: Step) -> None:
        """Make a step, durably, whole or not at all; see `state.State.apply`.

        Raises LimitError too where the tenant would have more than records_max records, or a mark
        is above MARK_MAX. One call; some more before it above CALL_BYTES_MAX.
        """
        check_step(step)
        if step.mark_after > MARK_MAX:
            raise LimitError(f"a mark is above MARK_MAX ({MARK_MAX}): begin a new log")
        parts = _parts(step)
        with self._locks[hash(claim.tenant) % _LOCKS]:
            word, value = self._make(claim, step, parts)
        if word != b"made":
            raise self._refusal(word.decode(), value, claim, step)

    def apply_each(self, steps: Sequence[tuple[Claim, Step]]) -> list[ReassocError | None]:
        """Steps of different tenants, see `state.State.apply_each`: small ones go together, in
        portions of TOGETHER_MAX."""
        refusals: list[ReassocError | None] = []
        for start in range(0, len(steps), TOGETHER_MAX):
            refusals += self._apply_together(steps[start : start + TOGETHER_MAX])
        return refusals

    def _apply_together(self, steps: Sequence[tuple[Claim, Step]]) -> list[ReassocError | None]:
        calls: dict[int, tuple[Sequence[Any], Sequence[Any]]] = {}
        for place, (claim, step) in enumerate(steps):
            parts = _small_parts(step)
            if parts is not None:
                call = _apply_values(claim, step, self._records_max, secrets.token_hex(8), 0)
                calls[place] = self._keys(claim.tenant), (*call, *parts)
        with ExitStack() as locked:
            for number in sorted({hash(claim.tenant) % _LOCKS for claim, _ in steps}):
                locked.enter_context(self._locks[number])
            sent = [part for _, values in calls.values() for part in values if type(part) is bytes]
            size = sum(map(len, sent))
            seconds = _seconds(size // ID_BYTES, size)
            answers = self._client.run_each(_APPLY, list(calls.values()), seconds) if calls else []
        refusals: dict[int, ReassocError | None] = {}
        for place, (word, value) in zip(calls, answers, strict=True):
            refused = (
                None if word == b"made" else self._refusal(word.decode(), value, *steps[place])
            )
            refusals[place] = refused
        for place, (claim, step) in enumerate(steps):
            if place not in refusals:
                refusals[place] = refusal_of(self, claim, step)
        return [refusals[place] for place in range(len(steps))]

    def outbox(self, tenant: str, limit: int, after: int = 0) -> list[OutboxEntry]:
        """The entries that nobody acknowledged, oldest first, at most `limit`, behind a sequence:
        fewer where OUTBOX_READ_BYTES_MAX is reached, none only where there is none."""
        if limit <= 0:
            return []
        first, packed = self._client.run(
            _OUTBOX, self._keys(tenant), after, limit, OUTBOX_READ_BYTES_MAX,
            seconds=_seconds(0, OUTBOX_READ_BYTES_MAX),
        )  # fmt: skip
        bodies = unpack_bodies(packed)
        return [OutboxEntry(first + place, body) for place, body in enumerate(bodies)]

    def acknowledge(self, tenant: str, sequence: int) -> None:
        """Forget the outbox entries up to and with this one: what they ask for is durable."""
        self._client.run(_ACKNOWLEDGE, self._keys(tenant), sequence)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    @property
    def _names_key(self) -> bytes:
        return f"{{{self._prefix}}}:tenants".encode()

    def _key(self, tenant: bytes, name: bytes) -> bytes:
        return b"{%b:%b}:%b" % (self._prefix.encode(), tenant, name)

    def _head(self, tenant: str) -> bytes:
        return self._key(tenant.encode(), b"h")

    def _keys(self, tenant: str) -> tuple[bytes, bytes]:
        """Keys of every script: the head, and what is never there (see common.lua)."""
        return self._head(tenant), self._key(tenant.encode(), b"x")

    def _check_server(self) -> None:
        self._client.call("EXISTS", self._names_key)
        for found in self._client.settings("maxmemory*"):
            if found.get(b"maxmemory-policy", b"noeviction") != b"noeviction":
                raise StoreError(
                    f"{self._client.where}: Redis drops keys where its memory is full: set "
                    "maxmemory-policy to noeviction"
                )
        for found in self._client.settings("hash-max-listpack-*"):
            for name, least in _SETTINGS.items():
                if int(found.get(name, least)) < least:
                    _log.warning(
                        "%s: set %s of Redis to %d or more: records take a third more memory",
                        self._client.where, name.decode(), least,
                    )  # fmt: skip

    # ---- reading ----

    def _of_one_moment(self, read: Callable[[set[bytes]], _Value]) -> _Value:
        """What several calls read, of which each adds the step that it saw to a set."""
        for _ in range(READINGS_MAX):
            seen: set[bytes] = set()
            found = read(seen)
            if len(seen) <= 1:
                return found
        raise StoreError(
            f"{self._client.where}: steps were made between the calls of each of {READINGS_MAX} "
            "readings: read fewer keys or ids at a time"
        )

    def _probe(self, tenant: str, keys: Keys, ids: bytes, seen: set[bytes]) -> tuple[_Raw, bytes]:
        found, values, crowded = list[bytes](), list[bytes](), b""
        for start in range(0, len(keys), CALL_ROWS_MAX):
            some = keys[start : start + CALL_ROWS_MAX].astype("<u8").tobytes()
            room = CALL_ROWS_MAX * ID_BYTES - 2 * len(some)
            asked, ids = ids[:room], ids[room:]
            token, there, these, left, many = self._client.run(
                _PROBE, self._keys(tenant), some, KEY_RECORDS_MAX, REPLY_BYTES_MAX, asked,
                seconds=_seconds(CALL_ROWS_MAX, REPLY_BYTES_MAX),
            )  # fmt: skip
            seen.add(token)
            found.append(there)
            values += these
            crowded += many
            ids = left + ids
        more, more_values = self._fetch(tenant, ids, seen)
        return (found + more, values + more_values), crowded

    def _fetch(self, tenant: str, ids: bytes, seen: set[bytes]) -> _Raw:
        found, values = list[bytes](), list[bytes]()
        while ids:
            some, ids = ids[: CALL_ROWS_MAX * ID_BYTES], ids[CALL_ROWS_MAX * ID_BYTES :]
            token, there, these, left = self._client.run(
                _FETCH, self._keys(tenant), some, REPLY_BYTES_MAX,
                seconds=_seconds(CALL_ROWS_MAX, REPLY_BYTES_MAX),
            )  # fmt: skip
            seen.add(token)
            found.append(there)
            values += these
            ids = left + ids
        return found, values

    def _ids(self, tenant: str, kinds: bytes) -> Ids:
        """Ids of all records of some kinds, sorted."""
        bucket, found = 0, list[bytes]()
        while bucket >= 0:
            bucket, ids = self._client.run(
                _IDS, self._keys(tenant), bucket, CALL_ROWS_MAX, kinds,
                seconds=_seconds(CALL_ROWS_MAX, 0),
            )  # fmt: skip
            found.append(ids)
        return _unique(_as_ids(found))

    # ---- writing ----

    def _make(self, claim: Claim, step: Step, parts: list[bytes]) -> tuple[bytes, int]:
        """Send a step: what Redis says to it, and a number to that."""
        token, size = secrets.token_hex(8), sum(map(len, parts))
        keys, sent = self._keys(claim.tenant), 0
        rows = len(step.puts) + len(step.puts.keys) + len(step.updates) + len(step.removes)
        for _ in range(SENDINGS_MAX):
            if size > CALL_BYTES_MAX:
                sent = len(parts)
                for number, part in enumerate(parts, 1):
                    self._client.run(
                        _STAGE, keys, token, number, part, STAGED_SECONDS_MAX,
                        seconds=_seconds(0, len(part)),
                    )  # fmt: skip
            word, value = self._client.run(
                _APPLY, keys, *_apply_values(claim, step, self._records_max, token, sent),
                *parts[sent:], seconds=_seconds(2 * rows, size),
            )  # fmt: skip
            if word != b"unsent":
                return word, value
        raise StoreError(
            f"{self._client.where}: Redis lost parts of a step {SENDINGS_MAX} times: see why it "
            "starts again, and try again"
        )

    def _refusal(self, word: str, value: int, claim: Claim, step: Step) -> StateError | LimitError:
        if word == "unclaimed":
            return self._unclaimed()
        if word == "fenced":
            return FencedError(
                f"the claim of epoch {claim.epoch} is void, the tenant's epoch is {value}: "
                "another writer has taken over, this one must stop"
            )
        if word == "mark":
            return MarkError(
                f"the step was made from mark {step.mark_before}, the state has {value}: probe "
                "again"
            )
        if word == "full":
            return LimitError(
                f"the tenant would have {value} records, above records_max ({self._records_max}): "
                "let items leave earlier (keep_closed_banking_days), or raise the limit"
            )
        return StateError(
            f"{value} of {len(step.updates)} records to be updated are not in the state: the "
            "step was not made from what the state has; probe again"
        )

    def _unclaimed(self) -> UnclaimedError:
        return UnclaimedError(
            f"{self._client.where}: the tenant has no epoch: its state was lost; rebuild it from "
            "the item log"
        )


def _seconds(rows: int, size: int) -> float:
    """How long an attempt of a large call may take beside what each has."""
    return rows * _SECONDS_PER_ROW + size * _SECONDS_PER_BYTE


def _apply_values(
    claim: Claim, step: Step, records_max: int, token: str, sent: int
) -> tuple[Any, ...]:
    """What apply.lua is given before the parts of a step."""
    return claim.epoch, step.mark_before, step.mark_after, token, records_max, sent


def _small_parts(step: Step) -> list[bytes] | None:
    """A step that may go together with others, as apply.lua reads it; else None."""
    rows = len(step.puts) + len(step.puts.keys) + len(step.updates) + len(step.removes)
    if rows > TOGETHER_ROWS_MAX or step.mark_after > MARK_MAX:
        return None
    try:
        check_step(step)
    except LimitError:
        return None
    parts = _parts(step)
    return parts if sum(map(len, parts)) <= TOGETHER_BYTES_MAX else None


def _parts(step: Step) -> list[bytes]:
    """A step as apply.lua reads it."""
    none = np.zeros((max(len(step.outbox), len(step.removes)), ID_BYTES), np.uint8)
    values, new = _values(step.puts), step.new_count
    return [
        *_cut(b"N", step.puts.ids[:new], values[:new]),
        *_cut(b"P", step.puts.ids[new:], values[new:]),
        *_cut(b"U", step.updates, pack_bodies(step.update_bodies.rows())),
        *_cut(b"R", step.removes, [b""] * len(step.removes)),
        *_cut(b"O", none[: len(step.outbox)], pack_bodies(step.outbox)),
    ]


def _cut(letter: bytes, ids: Ids, values: Sequence[bytes]) -> Iterator[bytes]:
    """Rows in parts of at most PART_BYTES_MAX, or of one row."""
    if not values:
        return
    rows = np.empty(len(values), _ROW)
    rows["id"] = np.ascontiguousarray(ids).view(f"V{ID_BYTES}").reshape(-1)
    rows["bytes"] = np.fromiter(map(len, values), np.int64, len(values))
    stops = np.cumsum(rows["bytes"] + np.int64(_ROW.itemsize))
    start = 0
    while start < len(values):
        base = int(stops[start - 1]) if start else 0
        full = int(np.searchsorted(stops, base + PART_BYTES_MAX, side="right"))
        stop = max(full, start + 1)
        count = (stop - start).to_bytes(4, "little")
        yield b"".join((letter, count, rows[start:stop].tobytes(), *values[start:stop]))
        start = stop


def _values(puts: Records) -> list[bytes]:
    """Records without their ids, as common.lua says."""
    return _rows.values(puts.kinds, puts.keys, puts.key_stops, pack_bodies(puts.bodies.rows()))


def _records(ids: Iterable[bytes], values: Sequence[bytes]) -> Records:
    """Records in the order of ids, each once. O(n log n)."""
    if not values:
        return Records.none()
    names = _as_ids(ids)
    text = as_text(names)
    order = np.argsort(text, kind="stable")
    kept = np.ones(len(order), np.bool_)
    kept[1:] = text[order[1:]] != text[order[:-1]]
    order = order[kept]
    in_order = [values[row] for row in order.tolist()]
    kinds, keys, key_stops, packed = _rows.split_values(in_order)
    return Records(names[order], kinds, keys, key_stops, Block.of(unpack_bodies(packed)))


def _as_ids(blobs: Iterable[bytes]) -> Ids:
    return np.frombuffer(b"".join(blobs), np.uint8).reshape(-1, ID_BYTES)


def _unique(ids: Ids) -> Ids:
    """Ids sorted, each once."""
    return distinct(as_text(ids)).view(np.uint8).reshape(-1, ID_BYTES)
