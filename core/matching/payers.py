"""Who is one payer: identifiers, names and accounts of the policy and the directory, tied together.

Entries that share an identifier at the same time are one payer (P2): an aggregator and its plans, a
rule of the policy and what the directory says of the same identifiers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from reassoc.core import _keys
from reassoc.core.directory import Directory, days_of
from reassoc.core.errors import DirectoryError
from reassoc.core.matching.holders import DAY_FIRST, DAY_LAST
from reassoc.core.policy import Policy, longest_first


class _Member(NamedTuple):
    """One identifier of one entry, and the days on which it is."""

    form: bytes
    start: int
    stop: int
    entry: int
    key: str


def rules(
    policy: Policy, directory: Directory | None = None
) -> tuple[_keys.PayerTable, _keys.Affixes]:
    """The payers in normal form: who is one payer (P2), who is nobody, and the affixes of each.

    Set 0 of the affixes is empty, so that payers without any take the short way. Raises
    DirectoryError where the directory lists an identifier that the policy ignores.
    """
    ignored = [_keys.payer_form_of(value.encode()) for value in policy.ignored_payer_ids]
    members = [*_of_policy(policy), *_of_directory(directory, len(policy.payers))]
    _refuse_ignored(members, {*ignored})
    group_of = _groups(members)
    sets = _AffixSets(policy)
    forms: dict[int, list[bytes]] = defaultdict(list)
    for member in members:
        forms[group_of[member.entry]].append(member.form)
    return (
        _keys.PayerTable(
            [(values, sets.of(group, group_of)) for group, values in forms.items()],
            ignored,
            sets.common,
        ),
        _keys.Affixes(sets.sets),
    )


class _AffixSets:
    """Numbered sets of affixes; 0 is the empty one."""

    def __init__(self, policy: Policy) -> None:
        self.sets: list[tuple[list[bytes], list[bytes]]] = []
        self._policy = policy
        self.common = self._add((), ())

    def of(self, group: int, group_of: dict[int, int]) -> int:
        """The set of a payer: that of every rule of the policy that it has."""
        own = [rule for at, rule in enumerate(self._policy.payers) if group_of[at] == group]
        prefixes = [value for rule in own for value in rule.trace_prefixes]
        suffixes = [value for rule in own for value in rule.trace_suffixes]
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


def _of_policy(policy: Policy) -> Iterator[_Member]:
    for entry, rule in enumerate(policy.payers):
        for number, value in enumerate(rule.ids):
            key = f"payers[{entry}].ids[{number}]"
            yield _Member(_keys.payer_form_of(value.encode()), DAY_FIRST, DAY_LAST, entry, key)


def _of_directory(directory: Directory | None, first_entry: int) -> Iterator[_Member]:
    if directory is None:
        return
    for place, payer in enumerate(directory.payers):
        for name, values in (("ids", payer.ids), ("plans", payer.plans)):
            for number, value in enumerate(values):
                key = f"payers[{place}].{name}[{number}]"
                form = _keys.payer_form_of(value.encode())
                yield _Member(form, *days_of(payer), first_entry + place, key)


def _refuse_ignored(members: list[_Member], ignored: set[bytes]) -> None:
    for member in members:
        if member.form in ignored:
            raise DirectoryError(f"{member.key} is one of the policy's ignored_payer_ids")


def _groups(members: list[_Member]) -> dict[int, int]:
    """The lowest entry of each entry's payer: entries that share a form at the same time are one."""
    parent: dict[int, int] = {member.entry: member.entry for member in members}

    def root(entry: int) -> int:
        while parent[entry] != entry:
            parent[entry] = parent[parent[entry]]
            entry = parent[entry]
        return entry

    last: dict[bytes, _Member] = {}  # of those seen so far, the one that ends last
    for member in sorted(members, key=lambda each: (each.form, each.start, each.entry)):
        before = last.get(member.form)
        if before is not None and before.stop >= member.start:
            one, other = sorted((root(before.entry), root(member.entry)))
            parent[other] = one
        if before is None or member.stop > before.stop:
            last[member.form] = member
    return {entry: root(entry) for entry in parent}
