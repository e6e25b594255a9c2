"""What independent X12 readers find in a file, in the terms of the golden summaries."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import oxedi
from pyx12.errors import X12Error
from pyx12.x12file import X12Reader


@dataclass
class Sums:
    """Counts and sums of the 835s in a file."""

    transactions: int = 0
    claims: int = 0
    paid_cents: int = 0
    claim_paid_cents: int = 0

    def take(self, inside: bool, name: str, values: list[str]) -> bool:
        """Count one segment; returns whether an 835 is open behind it."""
        if name == "ST":
            inside = values[:1] == ["835"]
            self.transactions += inside
        elif name in ("SE", "GE", "GS", "IEA", "ISA"):
            inside = False
        elif inside and name == "BPR":
            self.paid_cents += peer_cents(values[1:2])
        elif inside and name == "CLP":
            self.claims += 1
            self.claim_paid_cents += peer_cents(values[3:4])
        return inside


def peer_cents(values: list[str]) -> int:
    """Cents of an amount, 0 for what is none; written apart from the readers under test."""
    text = values[0].strip() if values else ""
    if not re.fullmatch(r"-?(\d+\.?\d{0,2}|\.\d{1,2})", text):
        return 0
    sign = -1 if text.startswith("-") else 1
    whole, _, part = text.lstrip("-").partition(".")
    return sign * (int(whole or "0") * 100 + int(part.ljust(2, "0")))


def _sum(segments: Iterator[tuple[str, list[str]]]) -> Sums:
    sums, inside = Sums(), False
    for name, values in segments:
        inside = sums.take(inside, name, values)
    return sums


def oxedi_sums(data: bytes) -> Sums | str:
    """What oxedi's segment index finds, or how it refuses the file."""
    try:
        document = oxedi.parse(data).document
    except (oxedi.ParseError, oxedi.SpecError, ValueError) as error:
        return type(error).__name__

    def segments() -> Iterator[tuple[str, list[str]]]:
        for number in range(len(document)):
            segment = document[number]
            values = [
                value if isinstance(value, bytes) else b":".join(value)
                for value in segment.elements
            ]
            yield (
                segment.id.decode("latin-1").strip(),
                [value.decode("latin-1") for value in values],
            )

    return _sum(segments())


def pyx12_sums(data: bytes) -> Sums | str:
    """What pyx12's segment reader finds, or how it refuses the file."""

    def segments() -> Iterator[tuple[str, list[str]]]:
        reader = X12Reader(io.StringIO(data.decode("latin-1"), newline=""))
        for segment in reader:
            name = segment.get_seg_id()
            values = [
                str(segment.get_value(f"{name}{n:02d}") or "") for n in range(1, len(segment) + 1)
            ]
            yield name, values

    try:
        return _sum(segments())
    except (X12Error, IndexError, AttributeError) as error:
        return type(error).__name__
