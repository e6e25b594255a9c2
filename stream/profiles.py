"""Envelope profiles as bytes, and a short key of each: how remittances on the log and release
orders say in which envelope they lie.
"""

from __future__ import annotations

import msgspec
from blake3 import blake3

from reassoc.core.errors import ReassocError
from reassoc.stream.envelope import Profile

PROFILE_BYTES_MAX = 64 << 10
"""Bytes of one encoded profile; the identities of a broken ISA can be long."""

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
