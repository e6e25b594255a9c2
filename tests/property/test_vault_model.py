"""Any sequence of what one can do to a vault, beside a dictionary: the two agree at every step, and
`verify` finds nothing. Machines die between any two steps.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from vault_build import World, ring

from reassoc.stream import vault_commit, vault_frames
from reassoc.stream.vault_errors import HeldError, NoContentError
from reassoc.stream.vault_keys import FileKeyRing

FRAME = 64
"""Bytes of a frame here: contents of many frames are small ones."""
CONTENTS = st.binary(max_size=5 * FRAME) | st.builds(bytes, st.integers(0, 6 * FRAME))
KEYS = ("a", "b")


class VaultMachine(RuleBasedStateMachine):
    """A vault in a folder, and what should be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World()
        self.patches = [
            mock.patch.object(vault_frames, "FRAME_BYTES_MAX", FRAME),
            mock.patch("reassoc.stream.vault_read.FRAME_BYTES_MAX", FRAME),
            mock.patch("reassoc.stream.vault_read.FRAMES_CACHED_MAX", 2),
            mock.patch.object(vault_commit, "PUT_MEMORY_MAX", 4 * FRAME),
            mock.patch.object(vault_commit, "SEGMENT_BYTES_MAX", 8 * FRAME),
            mock.patch.object(os, "fsync"),
            mock.patch.object(os, "fdatasync"),
        ]
        for patch in self.patches:
            patch.start()
        self.keys = ring("a")
        self.vault = self.world.open(self.folder, self.keys)
        self.model: dict[bytes, bytes] = {}
        self.holds: dict[bytes, int] = {}

    def teardown(self) -> None:
        self.vault.close()
        for patch in self.patches:
            patch.stop()
        shutil.rmtree(self.folder)

    def pick(self, draw: st.DataObject) -> bytes:
        return draw.draw(st.sampled_from(sorted(self.model)))

    @rule(data=CONTENTS, cut=st.integers(1, 3 * FRAME))
    def put(self, data: bytes, cut: int) -> None:
        digest = blake3(data).digest()
        stored = self.vault.put(data[at : at + cut] for at in range(0, len(data), cut))
        assert (stored.digest, stored.byte_count) == (digest, len(data))
        assert stored.is_new == (digest not in self.model)
        self.model[digest] = data

    @rule(contents=st.lists(CONTENTS, max_size=6))
    def put_together(self, contents: list[bytes]) -> None:
        with self.vault.batch() as batch:
            for data in contents:
                self.model[batch.put([data]).digest] = data

    @precondition(lambda self: self.model)
    @rule(draw=st.data())
    def read(self, draw: st.DataObject) -> None:
        digest = self.pick(draw)
        data = self.model[digest]
        start = draw.draw(st.integers(0, len(data)))
        stop = draw.draw(st.integers(start, len(data)))
        assert self.vault.read(digest, start, stop) == data[start:stop]
        assert self.vault.open_stream(digest).read() == data

    @precondition(lambda self: self.model)
    @rule(draw=st.data())
    def erase(self, draw: st.DataObject) -> None:
        digest = self.pick(draw)
        if self.holds.get(digest):
            with pytest.raises(HeldError):
                self.vault.erase(digest, "why", "who")
            return
        self.vault.erase(digest, "why", "who")
        del self.model[digest]
        with pytest.raises(NoContentError):
            self.vault.read(digest, 0, 0)

    @precondition(lambda self: self.model)
    @rule(draw=st.data())
    def hold(self, draw: st.DataObject) -> None:
        digest = self.pick(draw)
        self.vault.hold(digest, "why", "who")
        self.holds[digest] = self.holds.get(digest, 0) + 1

    @precondition(lambda self: any(self.holds.values()))
    @rule(draw=st.data())
    def unhold(self, draw: st.DataObject) -> None:
        held = sorted(digest for digest, count in self.holds.items() if count)
        digest = draw.draw(st.sampled_from(held))
        self.holds[digest] -= 1
        assert self.vault.unhold(digest, "why", "who") == self.holds[digest]

    @rule(days=st.integers(0, 12))
    def retire(self, days: int) -> None:
        """Ten days of retention, applied some days later, and given up again."""
        self.vault.retain(10)
        later = self.world.now + timedelta(days=days)
        gone = [digest for digest in self.model if not self.holds.get(digest) and days >= 10]
        assert self.vault.apply_retention(later) == len(gone)
        for digest in gone:
            del self.model[digest]
        self.vault.retain(None)

    @rule(dies=st.booleans(), key_ids=st.sampled_from([KEYS[:1], KEYS, KEYS[::-1]]))
    def open_again(self, dies: bool, key_ids: tuple[str, ...]) -> None:
        if set(key_ids) >= set(self.vault.key_use()):
            self.keys = ring(*key_ids)
        if dies:
            self.vault._store.close()
        else:
            self.vault.close()
        self.vault = self.world.open(self.folder, self.keys)

    @rule()
    def rotate(self) -> None:
        self.vault.rotate()
        newest = self.keys.ids[-1]
        assert self.vault.key_use() == {newest: len(self.model)}
        self.keys = ring(newest)

    @invariant()
    def agrees(self) -> None:
        live = {each.digest: each for each in self.vault.contents() if each.erased is None}
        assert live.keys() == self.model.keys()
        for digest, content in live.items():
            assert content.byte_count == len(self.model[digest])
            assert len(content.holds) == self.holds.get(digest, 0)
        assert self.vault.verify() == []


VaultMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestVault = VaultMachine.TestCase


@given(
    keys=st.dictionaries(
        st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
        st.binary(min_size=32, max_size=32),
        min_size=1,
        max_size=5,
    ),
    data_key=st.binary(min_size=32, max_size=32),
    bound_to=st.binary(max_size=20),
)
def test_wrapping_is_undone_only_with_what_it_was_bound_to(
    keys: dict[str, bytes], data_key: bytes, bound_to: bytes
) -> None:
    keyring = FileKeyRing(keys, "here")
    wrapped = keyring.wrap(data_key, bound_to)
    newest = list(keys)[-1]
    assert keyring.unwrap(newest, wrapped, bound_to) == data_key
    with pytest.raises(Exception, match="is not the one"):
        keyring.unwrap(newest, wrapped, bound_to + b"x")
    assert data_key not in wrapped
