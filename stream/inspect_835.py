"""835s as tables for people: payment, claims, services, adjustments, and findings where they
belong.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reassoc.core.errors import FindingCode, Severity, describe, severity
from reassoc.core.x12_835 import Remittances
from reassoc.stream.console import dollars
from reassoc.stream.table import iso_date

FINDING_STYLES = {Severity.INFO: "dim", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}
_CLAIM_STATUS = {
    "1": "primary",
    "2": "secondary",
    "3": "tertiary",
    "4": "denied",
    "19": "primary, forwarded",
    "20": "secondary, forwarded",
    "21": "tertiary, forwarded",
    "22": "reversal",
    "23": "not ours, forwarded",
    "25": "predetermination",
}
_PATIENT_LEVEL = 4


class Mask:
    """Shows a value, or hides it: with what hides, nothing of it is left, not even its length."""

    HIDDEN = "•••"

    def __init__(self, hides: bool) -> None:
        self.hides = hides

    def __call__(self, text: str) -> str:
        """A value that may be personal; control characters never reach the terminal."""
        if self.hides and text:
            return self.HIDDEN
        return safe(text)


def safe(text: str) -> str:
    """A value of a file as it may go to a terminal: no control characters."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _code(value: bytes) -> str:
    return safe(value.decode("latin-1"))


def show_remittances(console: Console, window: Remittances, mask: Mask, limit: int) -> int:
    """Print 835s with up to `limit` claims in all (a claimless 835 counts as one); returns how many
    were printed.
    """
    printed = 0
    for row in range(len(window.transactions)):
        if printed >= limit:
            break
        printed += max(_Remittance(console, window, mask, row).show(limit - printed), 1)
    return printed


class _Remittance:
    """Prints one 835."""

    def __init__(self, console: Console, window: Remittances, mask: Mask, row: int) -> None:
        self._console = console
        self._window = window
        self._mask = mask
        self._row = row
        findings = window.findings
        mine = [
            number for number, owner in enumerate(findings.transaction.tolist()) if owner == row
        ]
        claims = findings.claim.tolist()
        self._own_findings = [number for number in mine if claims[number] < 0]
        self._claim_findings: dict[int, list[int]] = {}
        for number in mine:
            if claims[number] >= 0:
                self._claim_findings.setdefault(claims[number], []).append(number)

    def show(self, limit: int) -> int:
        """Print it with up to `limit` claims; returns how many claims were printed."""
        self._heading()
        table = self._window.transactions
        start, stop = int(table.claim_start[self._row]), int(table.claim_stop[self._row])
        shown = min(stop - start, limit)
        if shown:
            self._claims(start, start + shown)
        if start + shown < stop:
            self._console.print(Text(f"  {stop - start - shown:,} more claims", "dim"))
        self._provider_adjustments()
        for number in self._own_findings:
            self._console.print(self._finding(number))
        self._console.print()
        return shown

    def _heading(self) -> None:
        table, row, mask = self._window.transactions, self._row, self._mask
        state = "balanced" if table.balanced[row] else "NOT BALANCED"
        if not table.valid[row]:
            state += ", INVALID"
        method = table.payment_method[row].decode("latin-1") or "?"
        self._console.print(
            Text.assemble(
                (f"835 {int(table.ordinal[row])}", "bold"),
                f" (ST02 {safe(table.control_number[row])}): ",
                (f"{dollars(int(table.paid_cents[row]))} by {safe(method)}", "bold"),
                f", {iso_date(int(table.effective_date[row])) or 'no date'}, "
                f"trace {safe(table.trace[row])}, payer {safe(table.payer_id[row])}; {state}",
            )
        )
        self._console.print(
            Text(
                f"  {safe(table.payer_name[row])} → {mask(table.payee_name[row])} "
                f"({mask(table.payee_entity_id[row])}), account {mask(table.payee_account[row])}"
            )
        )

    def _claims(self, start: int, stop: int) -> None:
        view = Table(show_edge=False, pad_edge=False)
        for name in ("claim or service", "patient or procedure", "date", "status"):
            view.add_column(name, overflow="fold")
        for name in ("charge", "paid", "patient"):
            view.add_column(name, justify="right", no_wrap=True)
        view.add_column("adjustments", overflow="fold")
        patients = self._patients(start, stop)
        for claim in range(start, stop):
            self._claim(view, claim, patients.get(claim, ""))
            for service in range(
                int(self._window.claims.service_start[claim]),
                int(self._window.claims.service_stop[claim]),
            ):
                self._service(view, service)
            for number in self._claim_findings.get(claim, []):
                view.add_row("", self._finding(number))
        self._console.print(view)

    def _patients(self, start: int, stop: int) -> dict[int, str]:
        """Name and member number of the patient (NM1*QC) by claim."""
        entities = self._window.entities
        names = {}
        wanted = (
            (entities.level == _PATIENT_LEVEL) & (entities.owner >= start) & (entities.owner < stop)
        )
        for row in wanted.nonzero()[0].tolist():
            if entities.entity[row] == b"QC":
                parts = (entities.name[row], entities.first_name[row])
                name = self._mask(", ".join(part for part in parts if part))
                number = self._mask(entities.id[row])
                names[int(entities.owner[row])] = f"{name} {number}".strip()
        return names

    def _claim(self, view: Table, row: int, patient: str) -> None:
        claims, mask = self._window.claims, self._mask
        status = claims.status[row].decode("latin-1")
        view.add_row(
            Text(mask(claims.patient_control_number[row]), "bold"),
            Text(patient, "bold"),
            "",
            Text(_CLAIM_STATUS.get(status, safe(status))),
            Text(dollars(int(claims.charge_cents[row])), "bold"),
            Text(dollars(int(claims.paid_cents[row])), "bold"),
            Text(dollars(int(claims.patient_responsibility_cents[row])), "bold"),
            Text(
                self._adjustments(
                    int(claims.adjustment_start[row]), int(claims.adjustment_stop[row]), -1
                )
            ),
        )

    def _service(self, view: Table, row: int) -> None:
        services, mask = self._window.services, self._mask
        day = iso_date(int(services.service_date[row]))
        view.add_row(
            Text("  " + mask(services.line_control_number[row])),
            Text(
                safe(services.procedure[row]) or safe(services.revenue_code[row].decode("latin-1"))
            ),
            Text(mask(day)),
            "",
            dollars(int(services.charge_cents[row])),
            dollars(int(services.paid_cents[row])),
            "",
            Text(
                self._adjustments(
                    int(services.adjustment_start[row]), int(services.adjustment_stop[row]), row
                )
            ),
        )

    def _adjustments(self, start: int, stop: int, service: int) -> str:
        """`CO-45 100.00, PR-1 25.00`, those of one service, or of the claim itself for -1."""
        table = self._window.adjustments
        return ", ".join(
            f"{_code(table.group_code[row])}-{_code(table.reason_code[row])} "
            f"{dollars(int(table.amount_cents[row]))}"
            for row in range(start, stop)
            if int(table.service[row]) == service
        )

    def _provider_adjustments(self) -> None:
        table, transactions = self._window.provider_adjustments, self._window.transactions
        for row in range(
            int(transactions.provider_adjustment_start[self._row]),
            int(transactions.provider_adjustment_stop[self._row]),
        ):
            code = safe(table.reason_code[row].decode("latin-1"))
            # A reference often names a claim.
            reference = self._mask(table.reference[row])
            self._console.print(
                Text(
                    f"  PLB {code} {reference}: {dollars(-int(table.amount_cents[row]))} "
                    "of the payment"
                )
            )

    def _finding(self, number: int) -> Text:
        findings = self._window.findings
        code = FindingCode(int(findings.code[number]))
        segment = findings.segment[number].decode("latin-1")
        place = f"{segment} {int(findings.segment_ordinal[number])}".strip()
        return Text(f"{place}: {code.name}: {describe(code)}", FINDING_STYLES[severity(code)])
