"""Who is one payer: identifiers, names and accounts of the policy and the directory, tied together.

Entries that share an identifier at the same time are one payer (P2): an aggregator and its plans, a
rule of the policy and what the directory says of the same identifiers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core.columns import TextColumn
from reassoc.core.directory import Directory, Payer, days_of, plain
from reassoc.core.errors import DirectoryError
from reassoc.core.matching.holders import DAY_FIRST, DAY_LAST
from reassoc.core.policy import Policy, longest_first
from reassoc.core.pool import PaymentColumns, RemittanceColumns, text_parts

RULES_KEPT_MAX = 16
"""Policies with directories of which the rules are kept: tenants with aliases of their own have
policies of their own."""
_NO_DIRECTORY = Directory()
Step = tuple[int, bool, npt.NDArray[np.uint8], npt.NDArray[np.uint32]]


class _Member(NamedTuple):
    """One form of one entry, and the days on which it is."""

    form: bytes
    start: int
    stop: int
    entry: int


class _Listing(NamedTuple):
    """What PayerTable and Affixes are made of."""

    listed: list[tuple[list[bytes], int]]
    ignored: list[bytes]
    common: int
    dated: list[tuple[bytes, int, int, int]]
    affixes: list[tuple[list[bytes], list[bytes]]]


def rules(
    policy: Policy, directory: Directory | None = None
) -> tuple[_keys.PayerTable, _keys.Affixes]:
    """The payers in normal form: who is one payer (P2), who is nobody, and the affixes of each.

    Set 0 of the affixes is empty, so that payers without any take the short way. Raises
    DirectoryError where the directory lists an identifier that the policy ignores. O(identifiers)
    the first time; after that only the table is copied, which grows in use.
    """
    table, affixes = _listed(policy, directory or _NO_DIRECTORY)
    return table.copy(), affixes


@lru_cache(maxsize=RULES_KEPT_MAX)
def _listed(policy: Policy, directory: Directory) -> tuple[_keys.PayerTable, _keys.Affixes]:
    listing = _listing(policy, directory)
    table = _keys.PayerTable(listing.listed, listing.ignored, listing.common, listing.dated)
    return table, _keys.Affixes(listing.affixes)


def _listing(policy: Policy, directory: Directory) -> _Listing:
    ignored = [_keys.payer_form_of(value.encode()) for value in policy.ignored_payer_ids]
    members = [*_of_policy(policy), *_of_directory(directory, len(policy.payers), {*ignored})]
    group_of = _groups(members)
    sets = _AffixSets(policy, group_of)
    members += _names_and_accounts(directory, len(policy.payers), group_of)
    for entry in range(len(policy.payers) + len(directory.payers)):
        group_of.setdefault(entry, entry)
    places = {group: place for place, group in enumerate(dict.fromkeys(group_of.values()))}
    forms: list[list[bytes]] = [[] for _ in places]
    dated: list[tuple[bytes, int, int, int]] = []
    spans = _spans(members, group_of)
    for form, group in dict.fromkeys((member.form, group_of[member.entry]) for member in members):
        for start, stop, owner in spans[form]:
            if owner != group:
                continue
            if start == DAY_FIRST and stop == DAY_LAST:
                forms[places[group]].append(form)
            else:
                dated.append((form, start, stop, places[group]))
    listed = [(values, sets.of(group)) for group, values in zip(places, forms, strict=True)]
    return _Listing(listed, ignored, sets.common, dated, sets.sets)


def remittance_steps(left: RemittanceColumns) -> list[Step]:
    """What says who pays where TRN03 names nobody: BPR10, and a listed name (N1*PR)."""
    return _steps(
        (_keys.BY_ID, False, left.originator),
        (_keys.BY_NAME, True, left.payer_name),
    )


def payment_steps(right: PaymentColumns) -> list[Step]:
    """The same for payments: the account that a check is drawn on, a listed company identifier, a
    listed company name, and any company identifier."""
    return _steps(
        (_keys.BY_ACCOUNT, True, right.payer_account),
        (_keys.BY_ID, True, right.company_id),
        (_keys.BY_COMPANY, True, right.company_name),
        (_keys.BY_ID, False, right.company_id),
    )


def company_groups(
    right: PaymentColumns, payers: _keys.PayerTable, days: npt.NDArray[np.int32]
) -> npt.NDArray[np.uint32] | None:
    """uint32[m]: the payer group (P2) that the company identifier means, beside TRN03; 0 where
    either is missing. None where all are."""
    beside = (right.company_id.lengths > 0) & (right.payer_id.lengths > 0)
    if not beside.any():
        return None
    groups = payers.groups(*text_parts(right.company_id), days)
    groups[~beside] = 0
    return groups


def opted_groups(policy: Policy, payers: _keys.PayerTable, tier: str) -> npt.NDArray[np.uint32]:
    """uint32[k]: the payer groups (P2) whose rules let a tier match by itself."""
    ids = [rule.ids[0] for rule in policy.payers if tier in rule.auto_tiers]
    return np.unique(payers.groups(*text_parts(TextColumn.from_values(ids))))


def _steps(*steps: tuple[int, bool, TextColumn]) -> list[Step]:
    return [
        (kind, listed_only, *text_parts(column))
        for kind, listed_only, column in steps
        if column.refs[:, 1].any()
    ]


class _AffixSets:
    """Numbered sets of affixes; 0 is the empty one."""

    def __init__(self, policy: Policy, group_of: dict[int, int]) -> None:
        self.sets: list[tuple[list[bytes], list[bytes]]] = []
        self._policy = policy
        self._own: dict[int, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for entry, rule in enumerate(policy.payers):
            prefixes, suffixes = self._own[group_of[entry]]
            prefixes += rule.trace_prefixes
            suffixes += rule.trace_suffixes
        self.common = self._add((), ())

    def of(self, group: int) -> int:
        """The set of a payer: that of every rule of the policy that it has."""
        prefixes, suffixes = self._own.get(group, ((), ()))
        return self._add(prefixes, suffixes) if prefixes or suffixes else self.common

    def _add(self, prefixes: Iterable[str], suffixes: Iterable[str]) -> int:
        affixes = (
            longest_first([*self._policy.trace_prefixes, *prefixes]),
            longest_first([*self._policy.trace_suffixes, *suffixes]),
        )
        if not any(affixes):
            return 0
        self.sets.append(affixes)
        return len(self.sets)


# ---- members of entries: rules of the policy first, then payers of the directory ----


def _of_policy(policy: Policy) -> Iterator[_Member]:
    for entry, rule in enumerate(policy.payers):
        for value in rule.ids:
            yield _Member(_keys.payer_form_of(value.encode()), DAY_FIRST, DAY_LAST, entry)


def _of_directory(directory: Directory, first_entry: int, ignored: set[bytes]) -> Iterator[_Member]:
    for place, payer in enumerate(directory.payers):
        for name, values in (("ids", payer.ids), ("plans", payer.plans)):
            for number, value in enumerate(values):
                form = _keys.payer_form_of(value.encode())
                if form in ignored:
                    raise DirectoryError(
                        f"payers[{place}].{name}[{number}] is one of the policy's ignored_payer_ids"
                    )
                yield _Member(form, *days_of(payer), first_entry + place)


def _names_and_accounts(
    directory: Directory, first_entry: int, group_of: dict[int, int]
) -> list[_Member]:
    """Forms that stand for a payer, but tie none together.

    A company name that could be that of two payers, in full or cut, is nobody's.
    """
    members: list[_Member] = []
    companies: dict[bytes, list[_Member]] = defaultdict(list)
    for entry, payer in enumerate(directory.payers, first_entry):
        for form in _names_of(payer):
            members.append(_Member(form, *days_of(payer), entry))
        for form in _companies_of(payer):
            companies[form].append(_Member(form, *days_of(payer), entry))
        for account in payer.accounts:
            number = plain(account.account).lstrip("0")
            form = _marked(_keys.BY_ACCOUNT, plain(account.routing) + number)
            members.append(_Member(form, *days_of(payer, account), entry))
    for found in companies.values():
        if len({group_of.get(member.entry, member.entry) for member in found}) == 1:
            members += found
    return members


def _names_of(payer: Payer) -> Iterator[bytes]:
    for name in payer.names:
        yield _marked(_keys.BY_NAME, plain(name))


def _companies_of(payer: Payer) -> Iterator[bytes]:
    for name in payer.names:
        yield _marked(_keys.BY_COMPANY, plain(name))
        cut = plain(name.strip()[: _keys.COMPANY_NAME_BYTES])
        if cut:
            yield _marked(_keys.BY_COMPANY, cut)


def _marked(kind: int, form: str) -> bytes:
    return bytes([kind]) + form.encode()


# ---- who is one ----


def tied(directory: Directory) -> dict[bytes, int]:
    """The group of each identifier (P1) that the directory has at any time; of its lowest entry."""
    members = list(_of_directory(directory, 0, set()))
    group_of = _groups(members)
    return {member.form: group_of[member.entry] for member in reversed(members)}


def _groups(members: list[_Member]) -> dict[int, int]:
    """The lowest entry of each entry's payer: those that share a form at the same time are one."""
    parent: dict[int, int] = {member.entry: member.entry for member in members}

    def root(entry: int) -> int:
        while parent[entry] != entry:
            parent[entry] = parent[parent[entry]]
            entry = parent[entry]
        return entry

    last: dict[bytes, _Member] = {}  # of those seen so far, the one that ends last
    for member in sorted(members):
        before = last.get(member.form)
        if before is not None and before.stop >= member.start:
            one, other = sorted((root(before.entry), root(member.entry)))
            parent[other] = one
        if before is None or member.stop > before.stop:
            last[member.form] = member
    return {entry: root(entry) for entry in parent}


def _spans(
    members: list[_Member], group_of: dict[int, int]
) -> dict[bytes, list[tuple[int, int, int]]]:
    """(first day, last day, group) of each form, in spans that do not overlap: members that do are
    of one group."""
    spans: dict[bytes, list[tuple[int, int, int]]] = defaultdict(list)
    for form, start, stop, entry in sorted(members):
        known, group = spans[form], group_of[entry]
        if known and known[-1][2] == group and start <= known[-1][1] + 1:
            known[-1] = (known[-1][0], max(stop, known[-1][1]), group)
        else:
            known.append((start, stop, group))
    return spans
