"""Which payment rows are about which others, said slowly: what `matching.links` must agree with.

Works on whole rows of tests/pools.py, one row against every other; joins, hashes and spans do not
occur here. Deposits are left out: their rules are tested by cases and by what must hold of sums.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reassoc.core.ach import EntryKind, ReturnForm
from reassoc.core.policy import Policy
from reassoc.core.reference_keys import payer_form, trace_forms
from reassoc.core.statuses import (
    Funding,
    LinkKind,
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    Reason,
)

Row = Mapping[str, Any]
CUT_MIN = 8
CONTENT = [
    "source", "kind", "type_code", "amount_cents", "settlement_date", "effective_date", "account",
    "bank_reference", "trace", "payer_id", "deposit", "payer_account", "company_id",
    "company_name", "entry_description", "receiver_id",
]  # fmt: skip


def plain(value: Any) -> Any:
    """Letters and digits of a text in upper case; anything else as it is."""
    if not isinstance(value, str):
        return value
    return "".join(c for c in value.upper() if c.isalnum())


def date_of(row: Row) -> int | None:
    return row["effective_date"] if row["settlement_date"] is None else row["settlement_date"]


def original_day(row: Row, told: Row) -> int | None:
    """The settlement date; for a return that has none, the effective date where that is earlier."""
    days = row["settlement_date"], row["effective_date"]
    if told["settlement_date"] is not None or None in days:
        return row["settlement_date"]
    return min(days)


def banking_day(day: int | None) -> int | None:
    """Weekdays from day 0 on and before the day, rolled forward. No holidays."""
    if day is None:
        return None
    while (datetime.date(1970, 1, 1) + datetime.timedelta(day)).weekday() >= 5:
        day += 1
    weeks, rest = divmod(day, 7)
    return weeks * 5 + sum(
        (datetime.date(1970, 1, 1) + datetime.timedelta(k)).weekday() < 5 for k in range(rest)
    )


class LinksOracle:
    """What comes of each row. status, reason, hold, open, back, money, funding by row, and
    links: {(payment, other, kind, status)}."""

    def __init__(self, rows: Sequence[Row], start: Mapping[str, list[Any]], policy: Policy) -> None:
        self.rows, self.policy = rows, policy
        self.status, self.reason, self.hold, self.open, self.money, self.funding = (
            list(start[name]) for name in ("status", "reason", "hold", "open", "money", "funding")
        )
        self.back = [False] * len(rows)
        self.links: set[tuple[int, int, int, int]] = set()
        self._repeats()
        self._reports()
        self.entries = [
            i
            for i, row in enumerate(rows)
            if row["source"] in (PaymentSource.ACH, PaymentSource.BANK_ACH)
            and self.status[i] not in (PaymentStatus.DUPLICATE, PaymentStatus.REPORTED)
        ]
        self.doubtful: set[int] = set()
        self._returns()
        self._returned_checks()
        self._reversals()
        self._lines_of_returned()
        self._changes()

    # ---- lines that repeat ----

    def _repeats(self) -> None:
        contents: dict[tuple[Any, ...], list[int]] = {}
        for i, row in enumerate(self.rows):
            if row["source"] != PaymentSource.ACH and self.money[i]:
                contents.setdefault(tuple(plain(row[name]) for name in CONTENT), []).append(i)
        for same in contents.values():
            reports = [(self.rows[i]["id_digest"], self.rows[i]["report"]) for i in same]
            kept = max(reports.count(report) for report in reports)
            same.sort(key=lambda i: (not self.rows[i]["valid"], *self.identity(i)))
            self._hold_copies(same[kept:])
        self._unnamed_repeats(contents)

    def _hold_copies(self, copies: list[int]) -> None:
        for i in copies:
            self.status[i], self.open[i] = PaymentStatus.DUPLICATE, False
            self.reason[i] |= Reason.DUPLICATE

    def _unnamed_repeats(self, contents: Mapping[tuple[Any, ...], list[int]]) -> None:
        """Lines without the bank's reference that repeat lines with it."""
        at = CONTENT.index("bank_reference")
        for content, same in contents.items():
            named = [
                i
                for other, rows in contents.items()
                if other[at] and other[:at] + other[at + 1 :] == content[:at] + content[at + 1 :]
                for i in rows
            ]
            if content[at] or not named:
                continue
            reports = [(self.rows[i]["id_digest"], self.rows[i]["report"]) for i in named + same]
            real = sum(self.status[i] != PaymentStatus.DUPLICATE for i in named)
            spare = max(0, max(reports.count(report) for report in reports) - real)
            left = [i for i in same if self.status[i] != PaymentStatus.DUPLICATE]
            self._hold_copies(left[spare:])

    def identity(self, i: int) -> tuple[int, int]:
        return self.rows[i]["id_digest"], self.rows[i]["id_offset"]

    # ---- returns ----

    def _of_form(self, *forms: ReturnForm) -> list[int]:
        return [
            i
            for i, row in enumerate(self.rows)
            if row["kind"] == EntryKind.RETURN
            and row["source"] != PaymentSource.CHECK
            and row["return_form"] in forms
        ]

    def _in_days(self, later: int | None, earlier: int | None) -> bool:
        return (
            later is None
            or earlier is None
            or 0 <= later - earlier <= self.policy.return_window_days
        )

    @staticmethod
    def _bank(named: int, bank: int) -> bool:
        return named <= 0 or bank <= 0 or named == bank

    def _returns(self) -> None:
        rows = self.rows
        plains = self._of_form(ReturnForm.RETURN)
        refusals = self._of_form(ReturnForm.DISHONORED)
        contests = self._of_form(ReturnForm.CONTESTED)
        reversing = set(self._reversal_rows())
        sent = {
            r: [
                o
                for o in self.entries
                if (self.money[o] or o in reversing)
                and rows[r]["original_trace"] == rows[o]["ach_trace"] >= 0
                and self._bank(rows[r]["original_rdfi"], rows[o]["rdfi_routing"] // 10)
                and self._in_days(date_of(rows[r]), original_day(rows[o], rows[r]))
            ]
            for r in plains
        }
        equal = {
            r: [o for o in named if rows[r]["amount_cents"] == rows[o]["amount_cents"]]
            for r, named in sent.items()
        }
        sent = {r: equal[r] or named for r, named in sent.items()}
        refused = {d: [r for r in plains if self._refuses(d, r)] for d in refusals}
        upheld = {c: [d for d in refusals if self._contests(c, d)] for c in contests}
        sure_sent = {
            r: o for r, [o] in self._single(equal).items() if rows[r]["original_trace"] > 0
        }
        sure_refused = self._clear(refused, sure_sent)
        about = {d: sure_sent.get(refused[d][0]) for d in sure_refused}
        sure_upheld = self._clear(upheld, about)
        for fits, sure, kind in (
            (sent, sure_sent, LinkKind.RETURN_OF),
            (refused, sure_refused, LinkKind.DISHONORED_RETURN_OF),
            (upheld, sure_upheld, LinkKind.CONTESTED_RETURN_OF),
        ):
            self._link(fits, sure, kind, Reason.RETURN_UNCLEAR)
        contested = {d for c in sure_upheld for d in upheld[c]}
        unsettled = {d for c in upheld if c not in sure_upheld for d in upheld[c]}
        open_question = {r for d in refused if d not in sure_refused for r in refused[d]}
        falls, stands = set(), set()
        for d in sure_refused:
            for r in refused[d]:
                (stands if d in contested else falls).add(r)
                if d in unsettled:
                    open_question.add(r)
        falls -= stands
        self._undo(sent, sure_sent, falls, open_question)

    def _undo(
        self,
        sent: dict[int, list[int]],
        sure: Mapping[int, int],
        falls: set[int],
        open_question: set[int],
    ) -> None:
        gone = {o for r, o in sure.items() if r not in falls | open_question}
        self.doubtful |= gone
        for o in gone:
            self.status[o], self.open[o] = PaymentStatus.RETURNED, False
            self.reason[o] |= Reason.RETURNED
            self.back[o] = self.money[o]
        unclear = {o for r in sent if r not in sure for o in sent[r]}
        unclear |= {o for r, o in sure.items() if r in open_question}
        self._doubt(unclear - gone, Reason.RETURN_UNCLEAR)
        self._doubt({o for r, o in sure.items() if r in falls} - gone, Reason.RETURN_DISHONORED)

    def _doubt(self, originals: Iterable[int], reason: Reason) -> None:
        for o in originals:
            self.doubtful.add(o)
            if self.money[o]:
                self.hold[o] |= reason
                self.reason[o] |= reason

    def _refuses(self, d: int, r: int) -> bool:
        one, other = self.rows[d], self.rows[r]
        if one["return_trace"] > 0:
            named = one["return_trace"] == other["ach_trace"]
            named = named and one["original_trace"] in (-1, other["original_trace"])
        else:
            named = one["original_trace"] == other["original_trace"] >= 0
        return named and self._same_case(one, other)

    def _contests(self, c: int, d: int) -> bool:
        one, other = self.rows[c], self.rows[d]
        known = one["return_trace"] > 0 and other["return_trace"] > 0
        named = one["original_trace"] == other["original_trace"] >= 0
        agrees = not known or one["return_trace"] == other["return_trace"]
        return named and agrees and self._same_case(one, other)

    def _same_case(self, one: Row, other: Row) -> bool:
        return (
            one["amount_cents"] == other["amount_cents"]
            and self._bank(one["original_rdfi"], other["original_rdfi"])
            and self._in_days(date_of(one), date_of(other))
        )

    @staticmethod
    def _single(fits: Mapping[int, list[int]]) -> dict[int, list[int]]:
        return {i: others for i, others in fits.items() if len(others) == 1}

    def _clear(
        self, fits: Mapping[int, list[int]], subject: Mapping[int, int | None]
    ) -> dict[int, list[int]]:
        sure = {}
        for i, others in fits.items():
            subjects = {subject.get(k) for k in others}
            traces = {self.rows[k]["ach_trace"] for k in others}
            copies = len(subjects) == len(traces) == 1 and None not in subjects
            named = self.rows[i]["original_trace"] > 0 or self.rows[i]["return_trace"] > 0
            if others and named and (len(others) == 1 or copies):
                sure[i] = others
        return sure

    def _link(
        self, fits: Mapping[int, list[int]], sure: Iterable[int], kind: LinkKind, unclear: Reason
    ) -> None:
        for i, others in fits.items():
            status = MatchStatus.AUTO if i in sure else MatchStatus.REVIEW
            self.links |= {(i, k, int(kind), int(status)) for k in others}
            if not others:
                self.reason[i] |= Reason.NO_ORIGINAL
            elif i not in sure:
                self.reason[i] |= unclear

    def _returned_checks(self) -> None:
        fits, sure = {}, {}
        for i, row in enumerate(self.rows):
            if row["kind"] == EntryKind.RETURN and row["source"] == PaymentSource.CHECK:
                fits[i] = [o for o in range(len(self.rows)) if self._bounced(i, o)]
                if len(fits[i]) == 1 and self._same_trace(i, fits[i][0]):
                    sure[i] = fits[i][0]
        self._link(fits, sure, LinkKind.RETURN_OF, Reason.RETURN_UNCLEAR)
        self._undo(fits, sure, set(), set())

    def _bounced(self, i: int, o: int) -> bool:
        row, other = self.rows[i], self.rows[o]
        return (
            other["source"] == PaymentSource.CHECK
            and self.money[o]
            and self.status[o] != PaymentStatus.DUPLICATE
            and row["amount_cents"] == other["amount_cents"]
            and self.account(i) == self.account(o) != ""
            and (not self.trace(i) or not self.trace(o) or self._same_trace(i, o))
            and self._in_days(date_of(row), date_of(other))
        )

    # ---- reversals ----

    def _reversal_rows(self) -> list[int]:
        return [
            i
            for i in self.entries
            if self.rows[i]["kind"] == EntryKind.DEBIT
            and plain(self.rows[i]["entry_description"]) == "REVERSAL"
        ]

    def _reversals(self) -> None:
        fits = {i: self._taken_back(i) for i in self._reversal_rows()}
        sure = {
            i: others[0]
            for i, others in self._single(fits).items()
            if i not in self.doubtful
            and date_of(self.rows[i]) is not None
            and date_of(self.rows[others[0]]) is not None
        }
        self._link(fits, sure, LinkKind.REVERSAL_OF, Reason.REVERSAL_UNCLEAR)
        taken = set(sure.values())
        for o in {o for i in fits if i not in sure for o in fits[i]} - taken:
            if not self.back[o]:
                self.hold[o] |= Reason.REVERSAL_UNCLEAR
                self.reason[o] |= Reason.REVERSAL_UNCLEAR
        for o in taken:
            if not self.back[o]:
                self.status[o] = PaymentStatus.REVERSED
            self.reason[o] |= Reason.REVERSED
            self.open[o], self.back[o] = False, True

    def _taken_back(self, i: int) -> list[int]:
        row, found = self.rows[i], []
        account = plain(row["account"]).lstrip("0")
        for o in self.entries:
            other = self.rows[o]
            apart = self._banking_days_apart(row, other)
            if (
                self.money[o]
                and self.company(i) == self.company(o) != b""
                and account == plain(other["account"]).lstrip("0") != ""
                and row["amount_cents"] == other["amount_cents"]
                and self._bank(row["rdfi_routing"], other["rdfi_routing"])
                and (apart is None or 0 <= apart <= self.policy.reversal_window_banking_days)
            ):
                found.append(o)
        receiver = plain(row["receiver_id"])
        theirs = {o: plain(self.rows[o]["receiver_id"]) for o in found}
        if receiver and receiver in theirs.values() and "" not in theirs.values():
            return [o for o in found if theirs[o] == receiver]
        return found

    @staticmethod
    def _banking_days_apart(row: Row, other: Row) -> int | None:
        later, earlier = banking_day(date_of(row)), banking_day(date_of(other))
        return None if later is None or earlier is None else later - earlier

    def _lines_of_returned(self) -> None:
        """Lines that are left, with the trace and amount of entries whose money went back."""
        for i, row in enumerate(self.rows):
            if not self.open[i] or row["report"] < 0 or not self.trace(i):
                continue
            for o, other in enumerate(self.rows):
                if not self.back[o] or other["report"] >= 0:
                    continue
                days = date_of(row), date_of(other)
                near = None in days or abs(days[0] - days[1]) <= self.policy.trace_window_days
                same = self.trace(i) == self.trace(o)
                if near and same and row["amount_cents"] == other["amount_cents"]:
                    self.hold[i] |= Reason.REPORT_UNCLEAR
                    self.reason[i] |= Reason.REPORT_UNCLEAR

    # ---- notifications ----

    def _changes(self) -> None:
        kinds = (EntryKind.CREDIT, EntryKind.DEBIT, EntryKind.PRENOTE, EntryKind.ZERO_DOLLAR)
        for i, row in enumerate(self.rows):
            if row["kind"] != EntryKind.NOTIFICATION:
                continue
            fits = [
                o
                for o in self.entries
                if self.rows[o]["kind"] in kinds
                and row["original_trace"] == self.rows[o]["ach_trace"] >= 0
                and row["amount_cents"] in (0, self.rows[o]["amount_cents"])
                and self._bank(row["original_rdfi"], self.rows[o]["rdfi_routing"] // 10)
                and self._in_days(date_of(row), self.rows[o]["settlement_date"])
            ]
            sure = [i] if len(fits) == 1 and row["original_trace"] > 0 else []
            self._link({i: fits}, sure, LinkKind.CHANGE_OF, Reason(0))
            if sure and row["return_form"] != ReturnForm.CHANGE_REFUSED:
                self.reason[fits[0]] |= Reason.ACCOUNT_CHANGED

    # ---- reports ----

    def _reports(self) -> None:
        rows = self.rows
        usable = [
            i
            for i in range(len(rows))
            if self.money[i] and self.status[i] != PaymentStatus.DUPLICATE
        ]
        listed = (PaymentSource.ACH, PaymentSource.CHECK)
        lines = [
            i
            for i in usable
            if rows[i]["source"] == PaymentSource.BANK_ACH
            or (rows[i]["source"] == PaymentSource.CHECK and rows[i]["report"] >= 0)
        ]
        entries = [i for i in usable if i not in lines and rows[i]["source"] in listed]
        edges = {(i, o) for i in lines for o in entries if self._reported(i, o)}
        unclear: set[int] = set()
        for agrees in (self._same_number, self._same_trace, self._same_place):
            stage = {(i, o) for i, o in edges if agrees(i, o)}
            sure = {pair for pair in self._unique(stage) if not unclear & set(pair)}
            if agrees == self._same_place:
                sure = {pair for pair in sure if all(date_of(rows[i]) is not None for i in pair)}
            for i, o in sure:
                if rows[i]["valid"]:
                    self.funding[o] = max(self.funding[o], self.funding[i])
                self.reason[o] |= Reason.REPORTED_BY_BANK
                self._close(i)
                self.links.add((i, o, int(LinkKind.REPORT_OF), int(MatchStatus.AUTO)))
            for i, o in stage - sure:
                unclear |= {i, o}
                self.links.add((i, o, int(LinkKind.REPORT_OF), int(MatchStatus.REVIEW)))
            taken = {row for pair in sure for row in pair}
            edges = {(i, o) for i, o in edges if not taken & {i, o}}
        for i in unclear:
            self.reason[i] |= Reason.REPORT_UNCLEAR
            if i in lines:
                self._close(i)

    def _same_number(self, i: int, o: int) -> bool:
        one, other = self.rows[i], self.rows[o]
        ach = one["source"] == PaymentSource.BANK_ACH
        return ach and one["ach_trace"] == other["ach_trace"] > 0 and self._fits_trace(i, o)

    def _same_trace(self, i: int, o: int) -> bool:
        return self.trace(i) == self.trace(o) != b""

    def _same_place(self, i: int, o: int) -> bool:
        known = bool(self.account(i) and self.account(o))
        return known and self._fits_trace(i, o) and self._fits_company(i, o)

    def _fits_company(self, i: int, o: int) -> bool:
        one, two = self.company(i), self.company(o)
        return not one or not two or one == two or self.trace(i) == self.trace(o) != b""

    def _close(self, i: int) -> None:
        self.status[i], self.open[i], self.money[i] = PaymentStatus.REPORTED, False, False
        self.funding[i] = Funding.NONE

    def account(self, i: int) -> str:
        return str(plain(self.rows[i]["account"])).lstrip("0")

    def company(self, i: int) -> bytes:
        return payer_form(self.rows[i]["company_id"].encode())

    def trace(self, i: int) -> bytes:
        return trace_forms(self.rows[i]["trace"].encode())[2]

    def _reported(self, i: int, o: int) -> bool:
        row, other = self.rows[i], self.rows[o]
        check = row["source"] == PaymentSource.CHECK
        if check != (other["source"] == PaymentSource.CHECK):
            return False
        if row["amount_cents"] != other["amount_cents"]:
            return False
        apart = self._banking_days_apart(row, other) or 0
        if abs(apart) > self.policy.posting_window_banking_days:
            return False
        if self.account(i) and self.account(o):
            return self.account(i) == self.account(o)
        return check and self._same_trace(i, o)

    def _fits_trace(self, i: int, o: int) -> bool:
        one, two = self.trace(i), self.trace(o)
        short, long = sorted((one, two), key=len)
        cut = len(short) >= CUT_MIN and (long.startswith(short) or long.endswith(short))
        return not one or not two or one == two or cut

    @staticmethod
    def _unique(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
        firsts, seconds = [i for i, _ in edges], [o for _, o in edges]
        return {(i, o) for i, o in edges if firsts.count(i) == 1 == seconds.count(o)}
