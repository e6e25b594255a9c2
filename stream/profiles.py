"""Envelope profiles as bytes, and a short key of each: how remittances on the log and release
orders say in which envelope they lie.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import msgspec
from blake3 import blake3

from reassoc.core.errors import ReassocError
from reassoc.stream.envelope import Profile

PROFILE_BYTES_MAX = 64 << 10
"""Bytes of one encoded profile; the identities of a broken ISA can be long."""
KNOWN_BYTES_MAX = 256 << 10
"""Of the profiles that a tenant's matcher remembers: more than a thousand as they usually are."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Profile).decode


class ProfileError(ReassocError):
    """No envelope profile, or one that is too long."""


def encode_profile(profile: Profile) -> bytes:
    """A profile as msgpack. Equal profiles give equal bytes, for ever: keys hang on them.

    Raises ProfileError above PROFILE_BYTES_MAX.
    """
    data = _encode(profile)
    _check_size(data)
    return data


def decode_profile(data: bytes) -> Profile:
    """What encode_profile wrote. Raises ProfileError for anything else."""
    _check_size(data)
    try:
        profile = _decode(data)
    except msgspec.MsgspecError as error:
        raise ProfileError("an envelope profile is damaged: its fields cannot be read") from error
    delimiters = (profile.element, profile.component, profile.terminator)
    if not all(0 <= byte <= 255 for byte in delimiters):
        raise ProfileError("an envelope profile is damaged: a delimiter is no byte")
    return profile


def profile_key(profile: Profile) -> int:
    """The key of a profile: the first 8 bytes of the BLAKE3 of its encoding, little-endian."""
    return int.from_bytes(blake3(encode_profile(profile)).digest(8), "little")


def _check_size(data: bytes) -> None:
    if len(data) > PROFILE_BYTES_MAX:
        raise ProfileError(
            f"an envelope profile of {len(data)} bytes is longer than PROFILE_BYTES_MAX "
            f"({PROFILE_BYTES_MAX}): the ISA and GS it was read from are damaged"
        )


class KnownProfiles:
    """Profiles that a tenant's state has: a step need neither store them again nor fetch them.

    A state never lets a profile go, so what it had at one mark it has at every later one. At most
    KNOWN_BYTES_MAX of them are remembered, those that were used last.
    """

    def __init__(self) -> None:
        self._data: OrderedDict[int, bytes] = OrderedDict()
        self._keys: dict[bytes, int] = {}
        self._size = 0

    def __contains__(self, key: int) -> bool:
        return key in self._data

    def key_of(self, data: bytes) -> int:
        """The key of an encoded profile, known or not. Raises ProfileError for anything else."""
        key = self._keys.get(data)
        return profile_key(decode_profile(data)) if key is None else key

    def get(self, key: int) -> bytes | None:
        """A profile, encoded; None where it is not remembered."""
        if key not in self._data:
            return None
        self._data.move_to_end(key)
        return self._data[key]

    def add(self, profiles: Mapping[int, bytes]) -> None:
        """The state has these, by their keys."""
        for key, data in profiles.items():
            if key not in self._data:
                self._data[key] = data
                self._keys[data] = key
                self._size += len(data)
            self._data.move_to_end(key)
        while self._size > KNOWN_BYTES_MAX:
            _, data = self._data.popitem(last=False)
            del self._keys[data]
            self._size -= len(data)
