"""Who sends a remittance to whom, in which delimiters: read from old envelopes, written into new
ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache

ISA_WIDTHS = (2, 10, 2, 10, 2, 15, 2, 15, 6, 4, 1, 5, 9, 1, 1, 1)
"""Width of ISA01 to ISA16: an ISA is 106 bytes, its terminator included."""
CONTROL_NUMBER_MAX = 999_999_999
VERSION_5010 = b"005010X221A1"
VERSION_4010 = b"004010X091A1"


@dataclass(frozen=True, slots=True, order=True)
class Profile:
    """What all transactions of a released interchange share. Two profiles are two interchanges.

    Identities are without their padding and as long as the source had them; they are cut to the
    standard's widths only when they are written, so identities that differ behind the cut still do
    not share an interchange.
    """

    receiver_qualifier: bytes
    receiver: bytes
    sender_qualifier: bytes
    sender: bytes
    group_receiver: bytes
    group_sender: bytes
    version: bytes  # GS08
    agency: bytes  # GS07
    isa_version: bytes  # ISA12
    usage: bytes  # ISA15: tests and production never share an interchange
    element: int
    component: int
    repetition: (
        bytes  # ISA11: the repetition separator from 00402 on, before it the standard's identifier
    )
    terminator: int

    @property
    def delimiters(self) -> bytes:
        """The bytes that no element of the envelope may hold."""
        return bytes((self.element, self.component, self.terminator))


Delimiters = tuple[int, int, int]
"""Element separator, component separator, segment terminator."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """What stands in for an envelope that is not there, from the transaction itself.

    sender         the payer's identifier (TRN03, else BPR10)
    receiver       REF*EV, else the payee's tax number, else the payee's identifier
    version        ST03
    """

    sender: bytes
    receiver: bytes
    version: bytes


def identity_of(isa: bytes, gs: bytes, delimiters: Delimiters) -> tuple[object, ...]:
    """What of an ISA and a GS `profile_of` looks at: equal identities have equal profiles.

    Control numbers, dates and passwords, which differ from one envelope to the next, are not in it.
    """
    element = bytes((delimiters[0],))
    parts, group = isa.split(element), gs.split(element)
    return (*parts[5:9], *parts[11:13], *parts[15:17], 0, *group[2:4], *group[7:9])


def profile_of(isa: bytes, gs: bytes, delimiters: Delimiters, fallback: Fallback | None) -> Profile:
    """The profile of transactions under an ISA and a GS, as they lie in the source; either may be
    empty.

    delimiters : element separator, component separator, segment terminator; the component separator
    may be 0 where there is no ISA. A component or repetition separator that is also another
    delimiter is replaced: what is released must be readable. Without an ISA the identities come
    from the GS, and without that from `fallback`, with the qualifier ZZ (mutually defined). Without
    a GS its identities are those of the ISA.
    """
    element, component, terminator = delimiters
    parts = _elements(isa, element, terminator, 17)
    group = _elements(gs, element, terminator, 9)
    spare = fallback or Fallback(b"", b"", b"")
    version = group[8] or spare.version or (VERSION_4010 if parts[12] == b"00401" else VERSION_5010)
    sender = parts[6] or group[2] or spare.sender or b"UNKNOWN"
    receiver = parts[8] or group[3] or spare.receiver or b"UNKNOWN"
    if component in (0, element, terminator):
        component = _free_byte(b":><", (element, terminator))
    isa_version = parts[12] or (b"00401" if version.startswith(b"004") else b"00501")
    standard = (
        b"U"
        if isa_version < b"00402"
        else bytes((_free_byte(b"^!+&", (element, terminator, component)),))
    )
    repetition = parts[11][:1]
    if not repetition or repetition in bytes((element, terminator, component)):
        repetition = standard
    return Profile(
        receiver_qualifier=parts[7] or b"ZZ",
        receiver=receiver,
        sender_qualifier=parts[5] or b"ZZ",
        sender=sender,
        group_receiver=group[3] or receiver,
        group_sender=group[2] or sender,
        version=version,
        agency=group[7] or b"X",
        isa_version=isa_version,
        usage=parts[15] or b"P",
        element=element,
        component=component,
        repetition=repetition,
        terminator=terminator,
    )


def _elements(segment: bytes, element: int, terminator: int, count: int) -> list[bytes]:
    """Elements of a segment by their number, blanks and line wraps around them removed; empty where
    there is none.
    """
    body = (
        segment.rstrip(b"\r\n")
        .removesuffix(bytes((terminator,)))
        .replace(b"\r", b"")
        .replace(b"\n", b"")
    )
    parts = [part.strip() for part in body.split(bytes((element,)))[:count]]
    return parts + [b""] * (count - len(parts))


def _free_byte(candidates: bytes, taken: tuple[int, ...]) -> int:
    return next(byte for byte in candidates if byte not in taken)


def write_isa(profile: Profile, control_number: int, day: date) -> bytes:
    """An ISA of 106 bytes. ISA01 to 04 are empty: passwords are between the original's two
    parties.
    """
    values = (
        b"00",
        b"",
        b"00",
        b"",
        profile.sender_qualifier,
        profile.sender,
        profile.receiver_qualifier,
        profile.receiver,
        day.strftime("%y%m%d").encode(),
        b"0000",
        profile.repetition,
        profile.isa_version,
        b"%09d" % control_number,
        b"0",
        profile.usage,
        bytes((profile.component,)),
    )
    # ISA11 and ISA16 are delimiters themselves, so they alone are not cleaned of them.
    padded = [
        value[:1] if width == 1 else _padded(value, width, profile)
        for value, width in zip(values, ISA_WIDTHS, strict=True)
    ]
    return _segment(profile, b"ISA", *padded)


def written_identities(profile: Profile) -> tuple[bytes, bytes]:
    """ISA05 with ISA06, and ISA07 with ISA08, as an ISA has them: cut to their widths. It is by
    these that a receiver tells control numbers apart."""
    sender = _padded(profile.sender_qualifier, 2, profile) + _padded(profile.sender, 15, profile)
    receiver = _padded(profile.receiver_qualifier, 2, profile)
    return sender, receiver + _padded(profile.receiver, 15, profile)


def _padded(value: bytes, width: int, profile: Profile) -> bytes:
    return _clean(value, profile).ljust(width)[:width]


def gs_around_number(profile: Profile, day: date) -> tuple[bytes, bytes]:
    """A GS of an 835 (HP) up to GS06, and behind it. GS02 and GS03 are cut to 15 bytes."""
    separator = bytes((profile.element,))
    before = (
        b"GS",
        b"HP",
        _clean(profile.group_sender, profile)[:15],
        _clean(profile.group_receiver, profile)[:15],
        day.strftime("%Y%m%d").encode(),
        b"0000",
        b"",
    )
    behind = (b"", _clean(profile.agency, profile)[:2], _clean(profile.version, profile)[:12])
    return separator.join(before), _segment(profile, *behind)


def write_ge(profile: Profile, transaction_count: int, control_number: int) -> bytes:
    return _segment(profile, b"GE", b"%d" % transaction_count, b"%d" % control_number)


def write_iea(profile: Profile, group_count: int, control_number: int) -> bytes:
    return _segment(profile, b"IEA", b"%d" % group_count, b"%09d" % control_number)


def _segment(profile: Profile, *elements: bytes) -> bytes:
    return bytes((profile.element,)).join(elements) + bytes((profile.terminator,))


def _clean(value: bytes, profile: Profile) -> bytes:
    """A value that an envelope can hold: delimiters and control bytes become blanks."""
    return value.translate(_blanking(profile.delimiters, profile.repetition))


@cache
def _blanking(delimiters: bytes, repetition: bytes) -> bytes:
    """A translation that blanks what no element may hold. ISA11 of old versions is a letter."""
    taken = delimiters if repetition.isalnum() else delimiters + repetition
    return bytes(0x20 if byte < 0x20 or byte in taken else byte for byte in range(256))
