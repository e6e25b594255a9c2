"""Writes 835s: transaction sets, envelopes and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from reassoc.loadtest.claim_texts import amount
from reassoc.loadtest.claims import Body
from reassoc.loadtest.dates import compact, to_date
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import Chunk, Remittance
from reassoc.loadtest.plan import Counters
from reassoc.loadtest.world import PLAIN, Delimiters, Sender

STREAM_ENVELOPES = 4

_INTERCHANGE_SIZES = (1, 3, 10, 40, 150, 1000)
"""At most so many transactions go into one interchange; drawn anew for each."""

_CLEARED_BY_ACH = "ACH"
_TO_ACCOUNTS = ("ACH", "FWT")
_VERSION = "005010X221A1"


def transaction(remittance: Remittance, control: str) -> tuple[bytes, bytes]:
    """The parts of ST..SE before and behind the claims, written with * : ^ ~. O(length)."""
    payer, payee = remittance.payer, remittance.payee
    short = payer.short_amounts
    date_text = compact(remittance.effective_day)
    totals = ""
    if payer.provider_totals:
        year_end = f"{date_text[:4]}1231"
        charge = amount(remittance.charge_cents, short)
        totals = f"TS3*{payee.npi}*11*{year_end}*{remittance.claims}*{charge}~"
    supplement = f"*{payer.supplement}" if payer.supplement else ""
    head = (
        f"ST*835*{control}~{_payment(remittance, amount(remittance.paid_cents, short), date_text)}"
        f"TRN*1*{remittance.trace}*{remittance.payer_id}{supplement}~REF*EV*{payee.receiver}~"
        f"DTM*405*{compact(remittance.effective_day - 1)}~{payer.block}{payee.block}LX*1~{totals}"
    )
    tail = ""
    if remittance.adjustments:
        pairs = "*".join(f"{code}*{amount(cents, short)}" for code, cents in remittance.adjustments)
        tail = f"PLB*{payee.npi}*{date_text[:4]}1231*{pairs}~"
    segments = (
        head.count("~")
        + remittance.segments
        + tail.count("~")
        + 1
        + remittance.segments_claimed_extra
    )
    tail += f"SE*{segments}*{control}~"
    return head.encode("ascii"), tail.encode("ascii")


def _payment(remittance: Remittance, paid: str, date_text: str) -> str:
    """BPR: both accounts when the money goes to one, else the payer's identifier alone."""
    payer, payee = remittance.payer, remittance.payee
    start = f"BPR*{remittance.handling}*{paid}*C*{remittance.method}*"
    form = "CTX" if remittance.handling == "C" else "CCP"
    form = form if remittance.method == _CLEARED_BY_ACH else ""
    if remittance.method not in _TO_ACCOUNTS or not remittance.has_accounts:
        return f"{start}{form}*****{remittance.payer_id}******{date_text}~"
    return (
        f"{start}{form}*01*{payer.odfi}*DA*{payer.account}*{remittance.payer_id}*{payer.supplement}"
        f"*01*{payee.rdfi}*DA*{payee.account}*{date_text}~"
    )


def interchange(
    remittances: list[Remittance], body: Body, day: int, control: int, group_control: int
) -> tuple[list[bytes | memoryview], int]:
    """ISA..IEA around remittances of one sender and receiver; one GS for each run of a payer.

    Returns the parts and the number of groups.
    """
    first = remittances[0]
    sender, receiver = first.payer.sender.isa_id, first.payee.receiver
    date_text = compact(day)
    parts: list[bytes | memoryview] = [
        (
            f"ISA*00*{'':10}*00*{'':10}*ZZ*{sender:<15}*ZZ*{receiver:<15}*{date_text[2:]}*0615"
            f"*^*00501*{control:09d}*0*P*:~"
        ).encode("ascii")
    ]
    view = body.view
    groups = sets = 0
    payer_number = -1
    for remittance in remittances:
        if remittance.payer.number != payer_number:
            if sets:
                parts.append(b"GE*%d*%d~" % (sets, group_control + groups))
            payer_number, sets = remittance.payer.number, 0
            groups += 1
            parts.append(
                (
                    f"GS*HP*EXPAY{payer_number + 1:03d}*{receiver}*{date_text}*0615"
                    f"*{group_control + groups}*X*{_VERSION}~"
                ).encode("ascii")
            )
        sets += 1
        head, tail = transaction(remittance, f"{sets:04d}")
        parts += (head, view[remittance.body_start : remittance.body_stop], tail)
    parts.append(b"GE*%d*%d~IEA*%d*%09d~" % (sets, group_control + groups, groups, control))
    return parts, groups


def embedded(remittance: Remittance, body: Body, day: int, counters: Counters) -> bytes:
    """The whole interchange of one 835 as a CTX carries it: no line ends. O(length)."""
    sender = remittance.payer.sender
    control = counters.interchanges.get(sender.isa_id, 0) + 1
    counters.interchanges[sender.isa_id] = control
    parts, _ = interchange([remittance], body, day, control, control * 10)
    style = sender.delimiters
    plain = PLAIN if style.line_end or style.terminator == "\n" else style
    return plain.dress(b"".join(parts))


class RemittanceFiles:
    """Writes the 835s of chunk after chunk: a file per sender and chunk, or all into one file.

    put(name, data) appends bytes to the named file of the feed.
    """

    def __init__(
        self, seed: int, counters: Counters, put: Callable[[str, bytes], None], one_file: str = ""
    ) -> None:
        self._seed = seed
        self._counters = counters
        self._put = put
        self._one_file = one_file
        self._ordinal = 0
        self._serials: dict[str, int] = {}

    def write(self, chunk: Chunk, number: int) -> None:
        """Write the chunk's 835s and note file and ordinal on each. O(bytes)."""
        draws = Draws(self._seed, STREAM_ENVELOPES, number)
        by_sender: dict[str, list[Remittance]] = {}
        for remittance in chunk.remittances:
            by_sender.setdefault(remittance.payer.sender.isa_id, []).append(remittance)
        for isa_id in sorted(by_sender):
            group = sorted(by_sender[isa_id], key=_order)
            self._write_sender(group, chunk, draws)

    def _write_sender(self, group: list[Remittance], chunk: Chunk, draws: Draws) -> None:
        sender = group[0].payer.sender
        name, style = self._file(sender, chunk.day)
        parts: list[bytes | memoryview] = []
        for run in _runs(group, draws):
            control = self._counters.interchanges.get(sender.isa_id, 0) + 1
            self._counters.interchanges[sender.isa_id] = control
            # Groups count up within an interchange: a hundred of them fit between two control
            # numbers.
            made, _ = interchange(run, chunk.body, chunk.day - 1, control, control * 100 % 10**9)
            parts += made
            for remittance in run:
                remittance.file, remittance.ordinal = name, self._ordinal
                self._ordinal += 1
        self._put(name, style.dress(b"".join(parts)))

    def _file(self, sender: Sender, day: int) -> tuple[str, Delimiters]:
        if self._one_file:
            return self._one_file, PLAIN
        self._ordinal = 0
        serial = self._serials.get(sender.isa_id, 0) + 1
        self._serials[sender.isa_id] = serial
        return str(
            Path("835", to_date(day).isoformat(), f"{sender.isa_id}-{serial:04d}.835")
        ), sender.delimiters


def _order(remittance: Remittance) -> tuple[bool, str, int]:
    return remittance.is_copy, remittance.payee.receiver, remittance.payer.number


def _runs(group: list[Remittance], draws: Draws) -> Iterable[list[Remittance]]:
    """Cut a sender's remittances into interchanges: at each change of receiver, before copies, and
    now and then.
    """
    run: list[Remittance] = []
    limit = draws.pick(_INTERCHANGE_SIZES)
    for remittance in group:
        if run and (len(run) >= limit or _order(remittance)[:2] != _order(run[-1])[:2]):
            yield run
            run = []
            limit = draws.pick(_INTERCHANGE_SIZES)
        run.append(remittance)
    if run:
        yield run
