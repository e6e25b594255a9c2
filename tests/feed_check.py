"""Plain readers for generated feeds, written apart from reassoc's own: X12, ACH, BAI2, lockbox
lists and the truth.

Each reader asserts what must hold for every file: envelopes, counts, totals, hashes, check digits.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Sums:
    """What a claim or a line holds, in cents."""

    charge: int
    paid: int
    adjusted: int = 0
    lines: list[Sums] = field(default_factory=list)

    @property
    def balanced(self) -> bool:
        """Charge less adjustments is what was paid; for a claim also: its lines add up."""
        total = sum(line.charge for line in self.lines)
        return self.charge - self.adjusted == self.paid and (not self.lines or total == self.charge)


@dataclass
class Remittance835:
    """One ST..SE as lists of elements."""

    segments: list[list[str]]

    def get(self, name: str) -> list[str]:
        """The first segment of that name."""
        return next(segment for segment in self.segments if segment[0] == name)

    @property
    def paid(self) -> int:
        """BPR02 in cents."""
        return cents(self.get("BPR")[2])

    @property
    def body(self) -> list[list[str]]:
        """All but ST and SE."""
        return self.segments[1:-1]

    @property
    def count_right(self) -> bool:
        """Whether SE01 is the number of segments."""
        return int(self.segments[-1][1]) == len(self.segments)

    def claims(self) -> list[Sums]:
        """Claims with their lines, from CLP, SVC and CAS."""
        claims: list[Sums] = []
        inner = None
        for segment in self.segments:
            if segment[0] == "CLP":
                inner = None
                claims.append(Sums(cents(segment[3]), cents(segment[4])))
            elif segment[0] == "SVC":
                inner = Sums(cents(segment[2]), cents(segment[3]))
                claims[-1].lines.append(inner)
            elif segment[0] == "CAS":
                adjusted = sum(cents(value) for value in segment[3::3])
                claims[-1].adjusted += adjusted
                if inner is not None:
                    inner.adjusted += adjusted
        return claims

    @property
    def balanced(self) -> bool:
        """Whether BPR02 is what claims less PLB come to."""
        provider = sum(
            cents(value)
            for segment in self.segments
            if segment[0] == "PLB"
            for value in segment[4::2]
        )
        return sum(claim.paid for claim in self.claims()) - provider == self.paid


@dataclass
class Entry:
    """One ACH entry: its record, its batch header and its addenda."""

    record: str
    batch: str
    addenda: list[str] = field(default_factory=list)

    @property
    def amount(self) -> int:
        """Cents."""
        return int(self.record[29:39])

    @property
    def text(self) -> str:
        """The addenda, joined, without the blanks at the end."""
        return "".join(record[3:83] for record in self.addenda).rstrip(" ")


@dataclass
class BankLine:
    """A record 16 with the account and the group that it stands in."""

    fields: list[str]
    text: str
    account: str
    bank: str
    as_of: str
    modifier: str

    @property
    def type_code(self) -> int:
        """What moved."""
        return int(self.fields[1])

    @property
    def amount(self) -> int:
        """Cents."""
        return int(self.fields[2])


@dataclass
class Check:
    """A row of a lockbox list."""

    row: dict[str, str]

    @property
    def amount(self) -> int:
        """Cents."""
        return cents(self.row["Amount"])


@dataclass
class TruthRow:
    """A row of truth.csv with what it names: the payment is an entry, a bank line or a check."""

    case: str
    remittance: Remittance835 | None
    entry: Entry | None
    remit_file: str
    payment_file: str
    expect: str = ""
    line: BankLine | None = None
    check: Check | None = None

    @property
    def payment(self) -> Entry | BankLine | Check | None:
        """The payment, whatever it is."""
        return self.entry or self.line or self.check


def cents(text: str) -> int:
    """Cents of an X12 amount, exactly."""
    whole, _, part = text.removeprefix("-").partition(".")
    assert len(part) <= 2
    value = int(whole or "0") * 100 + int(part.ljust(2, "0"))
    return -value if text.startswith("-") else value


def read_x12(data: bytes) -> list[Remittance835]:
    """Every 835 of a file; asserts that all envelopes are whole and their counts right."""
    text = data.decode("latin-1")
    assert text[:3] == "ISA"
    element, terminator = text[3], text[105]
    found: list[Remittance835] = []
    sets = groups = 0
    opened: dict[str, str] = {}
    for raw in text.split(terminator):
        segment = raw.strip("\r\n").split(element)
        name = segment[0]
        if name == "ISA":
            assert len(raw.strip("\r\n")) == 105
            opened, groups = {"ISA": segment[13]}, 0
        elif name == "GS":
            opened["GS"], sets = segment[6], 0
            groups += 1
        elif name == "ST":
            assert segment[1] == "835"
            sets += 1
            found.append(Remittance835([]))
        if name == "GE":
            assert segment[1:] == [str(sets), opened.pop("GS")]
        elif name == "IEA":
            assert segment[1:] == [str(groups), opened.pop("ISA")]
        elif name not in ("ISA", "GS", ""):
            found[-1].segments.append(segment)
            assert name != "SE" or segment[2] == found[-1].segments[0][2]
    assert not opened
    return found


def read_ach(data: bytes) -> list[Entry]:
    """Every entry of a file; asserts record length, blocking, order, counts, hashes and totals."""
    text = data.decode("latin-1")
    end = "\r\n" if text[94:96] == "\r\n" else "\n" if text[94] == "\n" else ""
    size = 94 + len(end)
    assert len(text) % (size * 10) == 0
    assert all(text[at + 94 : at + size] == end for at in range(0, len(text), size))
    entries: list[Entry] = []
    batches: list[list[int]] = []
    first = trace = 0
    header = ""
    for number, at in enumerate(range(0, len(text), size)):
        record = text[at : at + 94]
        if record[0] == "1":
            first, batches = number, []
        elif record[0] == "5":
            header, trace = record, 0
            batches.append([0, 0, 0, 0])
        elif record[0] == "6":
            _check_entry(record, header, trace)
            trace = int(record[79:])
            is_debit = record[2] == "7"
            _add(batches[-1], [1, int(record[3:11]), *_sides(int(record[29:39]), is_debit)])
            entries.append(Entry(record, header))
        elif record[0] == "7":
            entries[-1].addenda.append(record)
            if record[1:3] == "05":
                assert int(record[83:87]) == len(entries[-1].addenda)
                assert record[87:] == entries[-1].record[87:]
            else:
                assert record[79:] == entries[-1].record[79:]
                assert record[27:35].isdigit()
            batches[-1][0] += 1
        elif record[0] == "8":
            entries_and_addenda, routings, *sides = batches[-1]
            wanted = [entries_and_addenda, routings % 10**10, *sides]
            assert _numbers(record, 4, 6, 10, 12, 12) == wanted
            assert record[87:] == header[87:]
            assert record[1:4] == header[1:4]
        elif record != "9" * 94:
            totals = [sum(column) for column in zip(*batches, strict=True)]
            assert int(record[1:7]) == len(batches)
            assert int(record[7:13]) == -(-(number - first + 1) // 10)
            totals[1] %= 10**10
            assert _numbers(record, 13, 8, 10, 12, 12) == totals
    for entry in entries:
        assert (entry.record[78] == "1") == bool(entry.addenda)
        if entry.batch[50:53] == "CTX":
            assert int(entry.record[54:58]) == len(entry.addenda)
    return entries


def _check_entry(record: str, header: str, trace: int) -> None:
    weights = (3, 7, 1, 3, 7, 1, 3, 7, 1)
    assert sum(w * int(d) for w, d in zip(weights, record[3:12], strict=True)) % 10 == 0
    assert int(record[79:]) > trace
    assert record[79:87] == header[79:87]


def _sides(amount: int, is_debit: bool) -> tuple[int, int]:
    return (amount, 0) if is_debit else (0, amount)


def _add(totals: list[int], values: list[int]) -> None:
    totals[:] = [total + value for total, value in zip(totals, values, strict=True)]


def _numbers(record: str, at: int, *widths: int) -> list[int]:
    found = []
    for width in widths:
        found.append(int(record[at : at + width]))
        at += width
    return found


def read_bai2(data: bytes) -> list[BankLine]:
    """Every record 16 of a report; asserts all control totals and counts."""
    lines: list[BankLine] = []
    sums: list[int] = []
    counts: list[int] = []
    children: list[int] = []
    bank = as_of = modifier = account = ""
    for number, raw in enumerate(data.decode("latin-1").splitlines()):
        code, rest = raw[:2], raw.rstrip("/").split(",")
        assert number or code == "01"
        counts = [count + 1 for count in counts]
        if code == "88":
            lines[-1].text += " " + raw[3:]
        elif code in ("01", "02", "03"):
            sums.append(0)
            counts.append(1)
            children.append(0)
        if code == "02":
            bank, as_of, modifier = rest[2], rest[4], rest[7]
        elif code == "03":
            account = rest[1]
            sums[-1] += sum(int(value) for value in rest[4::4])
        elif code == "16":
            fields = raw.split(",", 6)
            lines.append(BankLine(fields, fields[6].rstrip("/"), account, bank, as_of, modifier))
            sums[-1] += int(fields[2])
        elif code in ("49", "98", "99"):
            # An account's trailer has no number of children.
            wanted = [sums[-1], *([] if code == "49" else [children[-1]]), counts[-1]]
            assert [int(value) for value in rest[1:]] == wanted
            total = sums.pop()
            counts.pop()
            children.pop()
            if sums:
                sums[-1] += total
                children[-1] += 1
    assert not sums
    return lines


def _read_items(
    root: Path,
) -> tuple[dict[tuple[str, int], Remittance835], dict[tuple[str, int], Entry | BankLine | Check]]:
    remittances: dict[tuple[str, int], Remittance835] = {}
    payments: dict[tuple[str, int], Entry | BankLine | Check] = {}
    for path in sorted(root.rglob("*.835")):
        for number, found in enumerate(read_x12(path.read_bytes())):
            remittances[str(path.relative_to(root)), number] = found
    for path in sorted(root.rglob("*.ach")):
        name, embedded = str(path.relative_to(root)), 0
        for number, entry in enumerate(read_ach(path.read_bytes())):
            payments[name, number] = entry
            if entry.batch[50:53] == "CTX" and entry.addenda[0][1:3] == "05":
                (remittances[name, embedded],) = read_x12(entry.text.encode("latin-1"))
                embedded += 1
    for path in sorted(root.rglob("*.bai2")):
        for number, line in enumerate(read_bai2(path.read_bytes())):
            payments[str(path.relative_to(root)), number] = line
    for path in sorted(root.rglob("*.csv")):
        if path.name != "truth.csv":
            with path.open(newline="") as file:
                for number, row in enumerate(csv.DictReader(file)):
                    payments[str(path.relative_to(root)), number] = Check(row)
    return remittances, payments


def read_feed(root: Path) -> list[TruthRow]:
    """The truth with its items; asserts that it names every item of the feed, each in rows of one
    case, and that an item stands alone or in pairs, never both.
    """
    remittances, payments = _read_items(root)
    rows: list[TruthRow] = []
    seen: dict[tuple[str, str, int], tuple[str, bool]] = {}
    with (root / "truth.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            keys = []
            remittance = payment = None
            if row["remit_file"]:
                key = row["remit_file"], int(row["remit_ordinal"])
                remittance = remittances[key]
                keys.append(("remittance", *key))
            if row["payment_file"]:
                key = row["payment_file"], int(row["payment_ordinal"])
                payment = payments[key]
                keys.append(("payment", *key))
            trace = payment.record[79:] if isinstance(payment, Entry) else ""
            assert row["payment_trace"] == trace
            assert bool(row["payment_file"]) == bool(row["payment_ordinal"])
            is_pair = len(keys) == 2
            assert keys
            assert row["expect"] in ("auto", "review", "indistinguishable", "unmatched", "none")
            assert is_pair == (row["expect"] != "none")
            for item in keys:
                assert seen.setdefault(item, (row["case"], is_pair)) == (row["case"], is_pair)
            rows.append(
                TruthRow(
                    row["case"],
                    remittance,
                    payment if isinstance(payment, Entry) else None,
                    row["remit_file"],
                    row["payment_file"],
                    row["expect"],
                    payment if isinstance(payment, BankLine) else None,
                    payment if isinstance(payment, Check) else None,
                )
            )
    found = {("remittance", *key) for key in remittances} | {("payment", *key) for key in payments}
    assert set(seen) == found
    return rows


def groups(rows: list[TruthRow]) -> list[list[TruthRow]]:
    """Pairs of the truth by what they share: a row alone, or all rows of one bulk case."""
    found: list[list[TruthRow]] = []
    of_item: dict[int, list[TruthRow]] = {}
    for row in rows:
        if row.remittance is None or row.payment is None:
            continue
        keys = (id(row.remittance), id(row.payment))
        group = of_item.get(keys[0]) or of_item.get(keys[1])
        if group is None:
            group = []
            found.append(group)
        group.append(row)
        of_item[keys[0]] = of_item[keys[1]] = group
    return found


def difference(group: list[TruthRow]) -> int:
    """Cents that the payments of a group are more than its remittances."""
    payments = {id(row.payment): row.payment.amount for row in group if row.payment}
    remittances = {id(row.remittance): row.remittance.paid for row in group if row.remittance}
    return sum(payments.values()) - sum(remittances.values())
