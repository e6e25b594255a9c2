"""Who is who: payees and payers by their identifiers, each valid from one day until another.

[[payees]]
name = "River Clinic"
tenant = "north"
tins = ["112223333"]
npis = ["1999999984"]
accounts = [{ routing = "021000021", account = "5566778" }]

[[payers]]
name = "Example Health"
ids = ["1234567890"]
names = ["EXAMPLE HEALTH"]
from = 2026-01-01
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from reassoc.core import _keys
from reassoc.core._payees import IDENTIFIER_BYTES_MAX
from reassoc.core.errors import DirectoryError
from reassoc.core.matching.holders import DAY_FIRST, DAY_LAST, Holders

DIRECTORY_ROWS_MAX = 1_000_000
"""Payees, payers and their identifiers in one file."""
DEFAULT_TENANT = "default"
_EPOCH = datetime.date(1970, 1, 1)


class Account(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}
):
    """A bank account.

    routing : nine digits    account : its number; leading zeros and signs say nothing
    from, until : first and last day; where missing, as long as its owner
    """

    routing: str
    account: str
    from_: datetime.date | None = None
    until: datetime.date | None = None


class Payee(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}
):
    """Somebody who is paid.

    name : label for people, no key
    tenant : whose money it is
    receiver : label of where its remittances go
    tins : tax identification numbers, nine digits    npis : provider identifiers, ten digits
    accounts : where it is paid, see Account
    aggregation : "TIN" where payers pay it by tax number, "NPI" where by provider identifier: then
        its tax number alone does not say that it is meant
    from, until : first and last day
    """

    name: str
    tenant: str = DEFAULT_TENANT
    receiver: str = ""
    tins: tuple[str, ...] = ()
    npis: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()
    aggregation: Literal["TIN", "NPI"] = "TIN"
    from_: datetime.date | None = None
    until: datetime.date | None = None


class Payer(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}
):
    """Somebody who pays, or several who pay as one.

    name : label for people, no key
    ids : identifiers that mean it: TRN03, BPR10, ACH company ids; with or without the leading 1 of
        an EIN
    names : how it is called where no identifier is given: N1*PR, ACH company name
    aggregator : whether it pays for others
    plans : ids of those that an aggregator pays for; they and it count as one payer
    accounts : the accounts of its checks, see Account
    from, until : first and last day
    """

    name: str
    ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    aggregator: bool = False
    plans: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()
    from_: datetime.date | None = None
    until: datetime.date | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    payees: tuple[Payee, ...] = ()
    payers: tuple[Payer, ...] = ()


class Directory:
    """Payees and payers that do not contradict each other.

    payees, payers : as in the file; payee number k of the matcher is payees[k - 1]
    tenants : names of tenants; the first is "default"
    tenant_numbers : uint32[payees + 1], places in `tenants` by the payees' numbers; 0 for payee 0
    accounts, account_numbers, npis, tins : Holders of the payees; account_numbers without a bank

    Raises DirectoryError naming the key. O(identifiers log identifiers).
    """

    __slots__ = (
        "account_numbers",
        "accounts",
        "npis",
        "payees",
        "payers",
        "tenant_numbers",
        "tenants",
        "tins",
    )

    def __init__(self, payees: Sequence[Payee] = (), payers: Sequence[Payer] = ()) -> None:
        self.payees, self.payers = tuple(payees), tuple(payers)
        _check_size(self.payees, self.payers)
        for place, payee in enumerate(self.payees):
            _check_payee(f"payees[{place}]", payee)
        for place, payer in enumerate(self.payers):
            _check_payer(f"payers[{place}]", payer)
        _check_owners(self.payers)
        self.tenants = tuple(dict.fromkeys([DEFAULT_TENANT, *(p.tenant for p in self.payees)]))
        numbers = {tenant: number for number, tenant in enumerate(self.tenants)}
        self.tenant_numbers = np.array([0, *(numbers[p.tenant] for p in self.payees)], np.uint32)
        self.accounts = self._holders("accounts", _accounts_of)
        self.account_numbers = self._holders("account_numbers", _account_numbers_of)
        self.npis = self._holders("npis", lambda payee: _values(payee, payee.npis))
        self.tins = self._holders("tins", lambda payee: _values(payee, payee.tins))

    def __repr__(self) -> str:
        # Never the rows: names and accounts are people's data.
        return f"<Directory: {len(self.payees)} payees, {len(self.payers)} payers>"

    def _holders(self, key: str, rows_of: Callable[[Payee], Iterator[_Row]]) -> Holders:
        rows, owners, places = [], [], []
        for number, payee in enumerate(self.payees, 1):
            for place, row in enumerate(rows_of(payee)):
                rows.append(row)
                owners.append(number)
                places.append(place)
        holders = Holders(
            [row[0] for row in rows],
            [row[1] for row in rows] if key == "accounts" else None,
            owners,
            [row[2] for row in rows],
            [row[3] for row in rows],
            [key != "tins" or self.payees[owner - 1].aggregation == "TIN" for owner in owners],
            is_account=key in ("accounts", "account_numbers"),
        )
        if holders.clash is not None and key != "account_numbers":
            later, earlier = holders.clash
            raise DirectoryError(
                f"payees[{owners[later] - 1}].{key}[{places[later]}] is also one of"
                f" payees[{owners[earlier] - 1}] at the same time"
            )
        return holders


_Row = tuple[str, int, int, int]
"""(identifier, routing number or 0, first day, last day)."""


def days_of(*spans: Payee | Payer | Account) -> tuple[int, int]:
    """(first, last) day on which all of these hold, in days since 1970-01-01."""
    starts = [(span.from_ - _EPOCH).days for span in spans if span.from_ is not None]
    stops = [(span.until - _EPOCH).days for span in spans if span.until is not None]
    return max(starts, default=DAY_FIRST), min(stops, default=DAY_LAST)


def _values(payee: Payee, values: Iterable[str]) -> Iterator[_Row]:
    days = days_of(payee)
    for value in values:
        yield value, 0, *days


def _accounts_of(payee: Payee) -> Iterator[_Row]:
    for account in payee.accounts:
        yield account.account, int(plain(account.routing)), *days_of(payee, account)


def _account_numbers_of(payee: Payee) -> Iterator[_Row]:
    for account in payee.accounts:
        yield account.account, 0, *days_of(payee, account)


# ---- checks of single entries ----


def plain(value: str) -> str:
    """Letters and digits in upper case: the form in which identifiers and names are compared."""
    if value.isascii():
        return value.upper() if value.isalnum() else "".join(filter(str.isalnum, value.upper()))
    folded = (c.upper() if c.isascii() else c for c in value)
    return "".join(c for c in folded if not c.isascii() or c.isalnum())


def _check_size(payees: Sequence[Payee], payers: Sequence[Payer]) -> None:
    rows = sum(1 + len(p.tins) + len(p.npis) + len(p.accounts) for p in payees)
    rows += sum(1 + len(p.ids) + len(p.names) + len(p.plans) + len(p.accounts) for p in payers)
    if rows > DIRECTORY_ROWS_MAX:
        raise DirectoryError(
            f"payees and payers have {rows} rows and identifiers, more than DIRECTORY_ROWS_MAX"
            f" ({DIRECTORY_ROWS_MAX})"
        )


def _check_payee(where: str, payee: Payee) -> None:
    _check_days(where, payee)
    if not payee.tenant.strip():
        raise DirectoryError(f"{where}.tenant must not be empty")
    if not (payee.tins or payee.npis or payee.accounts):
        raise DirectoryError(f"{where} must have at least one of accounts, tins and npis")
    _check_digits(f"{where}.tins", payee.tins, 9)
    _check_digits(f"{where}.npis", payee.npis, 10)
    _check_accounts(where, payee, payee.accounts)


def _check_payer(where: str, payer: Payer) -> None:
    _check_days(where, payer)
    if not (payer.ids or payer.names or payer.plans):
        raise DirectoryError(f"{where} must have at least one of ids, names and plans")
    if payer.plans and not payer.aggregator:
        raise DirectoryError(f"{where}.plans needs aggregator = true")
    for key, values in (("ids", payer.ids), ("plans", payer.plans)):
        for place, value in enumerate(values):
            if not _keys.payer_form_of(value.encode()):
                raise DirectoryError(
                    f"{where}.{key}[{place}] is no identifier: it has no letter and no digit but 0,"
                    " or is too long"
                )
    for place, value in enumerate(payer.names):
        if not 1 <= len(plain(value).encode()) <= IDENTIFIER_BYTES_MAX:
            raise DirectoryError(
                f"{where}.names[{place}] must have 1 to {IDENTIFIER_BYTES_MAX} letters and digits"
            )
    _check_accounts(where, payer, payer.accounts)


def _check_owners(payers: Sequence[Payer]) -> None:
    """What means a payer means one at a time. A plan may be an entry of its own, beside standing in
    its aggregator's."""
    for key, forms_of in _PAYER_KEYS.items():
        held: dict[bytes | str, list[tuple[int, int, int, int]]] = {}
        for entry, payer in enumerate(payers):
            for place, (form, first, last) in enumerate(forms_of(payer)):
                held.setdefault(form, []).append((first, last, entry, place))
        for spans in held.values():
            clash = _clash(sorted(spans)) if len(spans) > 1 else None
            if clash is not None:
                entry, place, other = clash
                raise DirectoryError(
                    f"payers[{entry}].{key}[{place}] is also one of payers[{other}] at the same"
                    " time"
                )


def _clash(spans: list[tuple[int, int, int, int]]) -> tuple[int, int, int] | None:
    """(entry, place, other entry) of two entries whose days overlap; spans by their first day."""
    latest: dict[int, int] = {}  # entry -> last day, of the two that end last
    for first, last, entry, place in spans:
        for other, end in latest.items():
            if other != entry and end >= first:
                return entry, place, other
        latest[entry] = max(last, latest.get(entry, last))
        if len(latest) > 2:
            del latest[min(latest, key=lambda each: latest[each])]
    return None


def _days_of_values(
    payer: Payer, forms: Iterable[bytes | str]
) -> Iterator[tuple[bytes | str, int, int]]:
    days = days_of(payer)
    for form in forms:
        yield form, *days


def _payer_accounts(payer: Payer) -> Iterator[tuple[bytes | str, int, int]]:
    for account in payer.accounts:
        number = plain(account.account).lstrip("0")
        yield plain(account.routing) + number, *days_of(payer, account)


_PAYER_KEYS: dict[str, Callable[[Payer], Iterator[tuple[bytes | str, int, int]]]] = {
    "ids": lambda payer: _days_of_values(payer, map(_payer_form, payer.ids)),
    "plans": lambda payer: _days_of_values(payer, map(_payer_form, payer.plans)),
    "names": lambda payer: _days_of_values(payer, map(plain, payer.names)),
    "accounts": _payer_accounts,
}


def _payer_form(value: str) -> bytes:
    return _keys.payer_form_of(value.encode())


def _check_days(where: str, span: Payee | Payer | Account) -> None:
    if span.from_ is not None and span.until is not None and span.until < span.from_:
        raise DirectoryError(f"{where}.until is before from")


def _check_digits(where: str, values: Sequence[str], count: int) -> None:
    for place, value in enumerate(values):
        form = plain(value)
        if len(form) != count or not form.isascii() or not form.isdigit():
            raise DirectoryError(f"{where}[{place}] must have {count} digits")


def _check_accounts(where: str, owner: Payee | Payer, accounts: Sequence[Account]) -> None:
    for place, account in enumerate(accounts):
        key = f"{where}.accounts[{place}]"
        _check_days(key, account)
        _check_digits(f"{key}.routing", (account.routing,), 9)
        form = plain(account.account).lstrip("0").encode()
        if not 1 <= len(form) <= IDENTIFIER_BYTES_MAX:
            raise DirectoryError(
                f"{key}.account must have a letter or a digit but 0, and at most"
                f" {IDENTIFIER_BYTES_MAX}"
            )
        first, last = days_of(owner, account)
        if last < first:
            raise DirectoryError(f"{key} is never valid while its owner is")


# ---- the file ----


def load_directory(text: str) -> Directory:
    """The directory of a TOML text.

    Raises DirectoryError that names the key, or the line where it is no TOML; never a value, for
    the values are people's. O(text), about 5 s for 100,000 payees, most of it for reading TOML.
    """
    try:
        file = msgspec.toml.decode(text, type=_File)
    except msgspec.ValidationError as error:
        raise DirectoryError(_with_key(str(error))) from None  # its text may hold a value
    except msgspec.DecodeError as error:
        raise DirectoryError(f"not TOML: {error}") from error
    return Directory(file.payees, file.payers)


_AT_KEY = re.compile(r"(.*) - at `\$\.?([^`]+)`", re.DOTALL)


def _with_key(message: str) -> str:
    """msgspec ends its messages with "- at `$.a.b`": put the key in front, where people look. Of a
    choice it tells the value, which is left out."""
    found = _AT_KEY.fullmatch(message)
    if found is None:
        return message
    text = found[1]
    if text.startswith("Invalid enum value"):
        text = "none of the values that it may have, see docs/DIRECTORY.md"
    return f"{found[2]}: {text}"


# ---- proposals ----


class Alias(NamedTuple):
    """Two payers that a person found to be one: identifier and name on both sides of a pair, empty
    where there is none."""

    remittance_id: str
    payment_id: str
    remittance_name: str = ""
    payment_name: str = ""


@dataclass
class _Proposed:
    ids: dict[bytes | str, str] = field(default_factory=dict)
    names: dict[bytes | str, str] = field(default_factory=dict)
    groups: set[int] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)

    @property
    def payers(self) -> list[bytes | str | int]:
        return [*self.ids, *self.groups]

    def take(self, other: _Proposed) -> None:
        for own, others in ((self.ids, other.ids), (self.names, other.names)):
            for key, value in others.items():
                own[key] = min(value, own.get(key, value))
        self.groups |= other.groups
        self.labels |= other.labels


def propose(aliases: Iterable[Alias], directory: Directory | None = None) -> str:
    """TOML text of [[payers]] entries that make each of these pairs one payer.

    Pairs that share an identifier become one entry. What the directory ties together already is not
    proposed again, and what it has comes as a plan, so that the text can stand beside it. A name is
    proposed only where its side has no identifier. Empty where there is nothing to propose. Nothing
    is written anywhere: a person pastes it. O(pairs * identifiers of an entry).
    """
    from reassoc.core.matching import payers  # it reads directories

    directory = directory or Directory()
    groups = payers.tied(directory)
    found: dict[bytes | str | int, _Proposed] = {}
    for alias in aliases:
        entry = _proposed_by(alias, groups)
        for other in {id(found[key]): found[key] for key in entry.payers if key in found}.values():
            entry.take(other)
        found |= dict.fromkeys(entry.payers, entry)
    anchors = _anchors(directory, groups)
    entries = {id(entry): entry for entry in found.values()}.values()
    return "\n".join(
        sorted(_entry_text(entry, anchors) for entry in entries if _ties_something(entry))
    )


def _proposed_by(alias: Alias, groups: dict[bytes, int]) -> _Proposed:
    entry = _Proposed()
    sides = (
        (alias.remittance_id, alias.remittance_name),
        (alias.payment_id, alias.payment_name),
    )
    for value, raw_name in sides:
        form = _payer_form(value)
        name = " ".join("".join(c if c.isprintable() else " " for c in raw_name).split())
        if name:
            entry.labels.add(name)
        if form in groups:
            entry.groups.add(groups[form])
        elif form:
            entry.ids[form] = "".join(c for c in value if c.isprintable()).strip()
        elif 1 <= len(plain(name).encode()) <= IDENTIFIER_BYTES_MAX:
            entry.names[plain(name)] = name
    return entry


def _ties_something(entry: _Proposed) -> bool:
    payers = len(entry.ids) + len(entry.groups)
    return payers > 1 or (payers == 1 and bool(entry.names))


def _anchors(directory: Directory, groups: dict[bytes, int]) -> dict[int, str]:
    """An identifier of each group, if possible one that is nobody's plan yet."""
    plans = {_payer_form(value) for payer in directory.payers for value in payer.plans}
    values = [value for payer in directory.payers for value in (*payer.ids, *payer.plans)]
    ranked = sorted(values, key=lambda value: (_payer_form(value) in plans, value))
    return {groups[_payer_form(value)]: value for value in reversed(ranked)}


def _entry_text(entry: _Proposed, anchors: dict[int, str]) -> str:
    plans = sorted(anchors[group] for group in entry.groups)
    lines = ["[[payers]]", f"name = {_toml(min(entry.labels, default=''))}"]
    for key, values in (("ids", entry.ids), ("names", entry.names)):
        if values:
            lines.append(f"{key} = [{', '.join(map(_toml, sorted(values.values())))}]")
    if plans:
        lines += ["aggregator = true", f"plans = [{', '.join(map(_toml, plans))}]"]
    return "\n".join(lines) + "\n"


def _toml(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
