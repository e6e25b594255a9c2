"""Writes ACH files as a receiving bank gets them from the operator: settlement dates filled in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from reassoc.loadtest.dates import compact, previous_banking_day, to_date
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import SETTLEMENT_BLANK, Chunk, Notice, Payment
from reassoc.loadtest.plan import Counters
from reassoc.loadtest.remittances import embedded

STREAM_BATCHES = 5

SLICE_BYTES = 80
BLOCK_RECORDS = 10
FILE_CENTS_MAX = 10**12 - 1
FILE_RECORDS_MAX = 9_000_000
FILE_BATCHES_MAX = 999_999
TRACE_SERIAL_MAX = 9_999_999

_BATCH_SIZES = (1, 2, 5, 20, 80, 400)
_CTX_BATCH_SIZE = 40
_LINE_ENDS = ("\n", "\r\n", "")
_OPERATOR = "990000106"
_NINES = "9" * 94


@dataclass(slots=True)
class Totals:
    """Running totals of a batch or a file, for its control record."""

    entries_and_addenda: int = 0
    routing_sum: int = 0
    debit_cents: int = 0
    credit_cents: int = 0

    def add(self, other: Totals) -> None:
        """Add a batch to its file."""
        self.entries_and_addenda += other.entries_and_addenda
        self.routing_sum += other.routing_sum
        self.debit_cents += other.debit_cents
        self.credit_cents += other.credit_cents


@dataclass(slots=True)
class OpenFile:
    """An ACH file that is being written."""

    name: str
    line_end: str
    entries: int = 0
    embedded: int = 0
    batches: int = 0
    records: int = 0
    totals: Totals = field(default_factory=Totals)


class PaymentFiles:
    """Writes the payments of chunk after chunk: a file per receiving bank and chunk, or all into
    one file.

    put(name, data) appends bytes to the named file of the feed.
    """

    def __init__(
        self, seed: int, counters: Counters, put: Callable[[str, bytes], None], one_file: str = ""
    ) -> None:
        self._seed = seed
        self._counters = counters
        self._put = put
        self._one_file = one_file
        self._serials: dict[str, int] = {}
        self._open: OpenFile | None = None

    def write(self, chunk: Chunk, number: int) -> None:
        """Write the chunk's payments; note file, ordinal and trace on each. O(bytes)."""
        draws = Draws(self._seed, STREAM_BATCHES, number)
        by_place: dict[tuple[bool, bool, int], list[Payment]] = {}
        for payment in chunk.payments:
            place = (payment.goes_out, payment.is_early, payment.payee.destination)
            by_place.setdefault(place, []).append(payment)
        places = sorted(by_place)
        batches = {place: _batches(by_place[place], draws) for place in places}
        # Returns name the trace of their original, which may stand in a later file.
        for place in places:
            self._give_traces(batches[place])
        for place in places:
            for batch in batches[place]:
                _repeat_traces(batch)
        for place in places:
            goes_out, is_early, destination = place
            bank = chunk.world.destinations[destination]
            if self._open is None:
                day = previous_banking_day(chunk.day) if is_early else chunk.day
                self._open = self._begin(bank, destination, day, goes_out)
            for batch in batches[place]:
                self._write_batch(batch, chunk, bank)
            if not self._one_file:
                self.close()

    def _give_traces(self, batches: list[list[Payment]]) -> None:
        for batch in batches:
            odfi = batch[0].odfi[:8]
            serial = self._reserve(odfi, len(batch))
            for number, payment in enumerate(batch, serial + 1):
                payment.trace = f"{odfi}{number:07d}"

    def close(self) -> None:
        """End the file that is open, if one is."""
        if self._open is not None:
            self._end(self._open)
            self._open = None

    def _begin(self, bank: str, destination: int, day: int, goes_out: bool) -> OpenFile:
        if self._one_file:
            name, serial, line_end = self._one_file, 1, "\n"
        else:
            kind = "RETURNS" if goes_out else "BANK"
            serial = self._serials.get(kind + bank, 0) + 1
            self._serials[kind + bank] = serial
            name = str(Path("ach", to_date(day).isoformat(), f"{kind}{bank}-{serial:04d}.ach"))
            line_end = _LINE_ENDS[destination % len(_LINE_ENDS)]
        opened = OpenFile(name, line_end)
        self._put_header(opened, bank, day, serial)
        return opened

    def _put_header(self, opened: OpenFile, bank: str, day: int, serial: int) -> None:
        created = compact(previous_banking_day(day))[2:]
        modifier = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[(serial - 1) % 36]
        header = (
            f"101 {bank} {_OPERATOR}{created}0430{modifier}094101{'EXAMPLE RECEIVING BANK':23}"
            f"{'EXAMPLE ACH OPERATOR':23}{'':8}"
        )
        self._put_records(opened, [header])

    def _end(self, opened: OpenFile) -> None:
        records = opened.records + 1
        blocks = -(-records // BLOCK_RECORDS)
        totals = opened.totals
        control = (
            f"9{opened.batches:06d}{blocks:06d}{totals.entries_and_addenda:08d}"
            f"{totals.routing_sum % 10**10:010d}"
            f"{totals.debit_cents:012d}{totals.credit_cents:012d}{'':39}"
        )
        self._put_records(opened, [control] + [_NINES] * (blocks * BLOCK_RECORDS - records))

    def _write_batch(self, batch: list[Payment], chunk: Chunk, bank: str) -> None:
        opened = self._open
        assert opened is not None
        cents = sum(payment.amount_cents for payment in batch)
        totals = opened.totals
        if (
            totals.credit_cents + totals.debit_cents + cents > FILE_CENTS_MAX
            or opened.records > FILE_RECORDS_MAX
            or opened.batches == FILE_BATCHES_MAX
        ):
            # The control record has no room for more: another ACH file follows under the same name.
            self._end(opened)
            opened.batches, opened.records, opened.totals = 0, 0, Totals()
            self._put_header(opened, bank, chunk.day, 1)
        opened.batches += 1
        self._put_records(opened, self._batch_records(batch, chunk, opened))

    def _batch_records(self, batch: list[Payment], chunk: Chunk, opened: OpenFile) -> list[str]:
        first = batch[0]
        effective = compact(first.effective_day)[2:]
        settlement = "   "
        if first.settlement_day != SETTLEMENT_BLANK:
            settlement = _day_of_year(first.settlement_day)
        odfi = first.odfi[:8]
        tail = f"{odfi}{opened.batches:07d}"
        records = [
            f"5{first.service_class}{first.company_name:16.16}{'':20}{first.company_id:10.10}"
            f"{first.sec}{first.entry_description:10.10}{effective}{effective}{settlement}1{tail}"
        ]
        totals = Totals()
        for payment in batch:
            payment.file, payment.ordinal = opened.name, opened.entries
            opened.entries += 1
            records += self._entry_records(payment, chunk, opened)
            totals.routing_sum += int((payment.rdfi or payment.payee.rdfi)[:8])
            if payment.transaction_code % 10 >= 7:
                totals.debit_cents += payment.amount_cents
            else:
                totals.credit_cents += payment.amount_cents
        totals.entries_and_addenda = len(records) - 1
        records.append(
            f"8{first.service_class}{totals.entries_and_addenda:06d}"
            f"{totals.routing_sum % 10**10:010d}"
            f"{totals.debit_cents:012d}{totals.credit_cents:012d}"
            f"{first.company_id:10.10}{'':25}{tail}"
        )
        opened.totals.add(totals)
        return records

    def _reserve(self, odfi: str, count: int) -> int:
        """The serial before the first of `count` ascending trace serials of an ODFI."""
        serial = self._counters.entry_traces.get(odfi, 0)
        if serial + count > TRACE_SERIAL_MAX:
            serial = 0
        self._counters.entry_traces[odfi] = serial + count
        return serial

    def _entry_records(self, payment: Payment, chunk: Chunk, opened: OpenFile) -> list[str]:
        payee = payment.payee
        slices: list[str] = []
        if payment.embedded is not None:
            payment.embedded.file, payment.embedded.ordinal = opened.name, opened.embedded
            opened.embedded += 1
            payload = embedded(payment.embedded, chunk.body, chunk.day, self._counters).decode(
                "latin-1"
            )
            slices = [
                payload[start : start + SLICE_BYTES]
                for start in range(0, len(payload), SLICE_BYTES)
            ]
            receiver = f"{len(slices):04d}{payee.name:16.16}  "
        else:
            receiver = f"{payee.name:22.22}"
            if payment.addenda:
                slices = [payment.addenda]
        has_addenda = 1 if slices or payment.notice is not None else 0
        entry = (
            f"6{payment.transaction_code}{payment.rdfi or payee.rdfi}{payee.account:17.17}"
            f"{payment.amount_cents:010d}"
            f"{payee.tax_id:15.15}{receiver}  {has_addenda}{payment.trace}"
        )
        if payment.notice is not None:
            return [entry, _notice_record(payment.notice, payment.trace)]
        serial = payment.trace[8:]
        return [
            entry,
            *(f"705{text:80}{number:04d}{serial}" for number, text in enumerate(slices, 1)),
        ]

    def _put_records(self, opened: OpenFile, records: list[str]) -> None:
        opened.records += len(records)
        end = opened.line_end
        self._put(opened.name, (end.join(records) + end).encode("latin-1"))


def _repeat_traces(batch: list[Payment]) -> None:
    """Give copies the traces of their originals; traces ascend in a batch."""
    for payment in batch:
        if payment.copy_of is not None:
            payment.trace = payment.copy_of.trace
    batch.sort(key=lambda payment: payment.trace)


def _notice_record(notice: Notice, trace: str) -> str:
    """Addenda 98 or 99: what became of an entry."""
    original, answers = notice.original, notice.answers
    rdfi = original.payee.rdfi[:8]
    start = f"7{'98' if notice.code[0] == 'C' else '99'}{notice.code}{original.trace}"
    if notice.code[0] == "C":
        return f"{start}{'':6}{rdfi}{'EXNEWACCOUNT':29}{'':15}{trace}"
    if answers is None:
        return f"{start}{'':6}{rdfi}{'EXAMPLE RETURN':44}{trace}"
    first = answers
    if answers.notice is not None and answers.notice.answers is not None:
        first = answers.notice.answers
    assert first.notice is not None
    back = f"{first.trace}{_day_of_year(first.settlement_day)}{first.notice.code[1:]}"
    if first is answers:
        return f"{start}{'':6}{rdfi}{'':3}{back}{'EXAMPLE REFUSAL':21}{trace}"
    day = compact(first.settlement_day)[2:]
    refused = f"{answers.trace}{_day_of_year(answers.settlement_day)}{_reason(answers)}"
    settled = _day_of_year(original.settlement_day)
    return f"{start}{day}{rdfi}{settled}{back}{refused} {trace}"


def _reason(payment: Payment) -> str:
    return payment.notice.code[1:] if payment.notice is not None else "  "


def _day_of_year(day: int) -> str:
    return f"{to_date(day).timetuple().tm_yday:03d}"


def _batches(payments: list[Payment], draws: Draws) -> list[list[Payment]]:
    """Cut a bank's payments into batches of what must be equal in a batch, of mixed sizes; copies
    go last.
    """
    by_header: dict[tuple[object, ...], list[Payment]] = {}
    for payment in payments:
        key = (
            payment.copy_of is not None,
            payment.odfi,
            payment.company_id,
            payment.company_name,
            payment.sec,
            payment.service_class,
            payment.entry_description,
            payment.effective_day,
            payment.settlement_day,
        )
        by_header.setdefault(key, []).append(payment)
    batches: list[list[Payment]] = []
    for group in by_header.values():
        start = 0
        while start < len(group):
            size = draws.pick(_BATCH_SIZES)
            size = min(size, _CTX_BATCH_SIZE) if group[0].sec == "CTX" else size
            batches.append(group[start : start + size])
            start += size
    # Batches of many originators come mixed from an operator, but an original stands before its
    # copy.
    keyed = [
        (batch[0].copy_of is not None, draws.one(1 << 30), number)
        for number, batch in enumerate(batches)
    ]
    return [batches[number] for _, _, number in sorted(keyed)]
