"""`reassoc decide`: what people decide of items and matches, in a folder or on many machines.

Works while the warehouse serves, and while it does not.
"""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from reassoc.stream.asking import (
    Answer,
    Asked,
    AskingError,
    answers,
    check_never_there,
    entry_of,
    find_asked,
)
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.clock import utc_now
from reassoc.stream.console import dollars
from reassoc.stream.decide_places import Place, open_home_place
from reassoc.stream.desk_commands import (
    NO_SUCH_TENANT,
    ConfigOption,
    HomeOption,
    check_one_place,
)
from reassoc.stream.desk_filters import FilterError, FilterOptions, filtered_items
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, say
from reassoc.stream.home import Home
from reassoc.stream.item_log import DecisionEntry, DecisionKind, Entry
from reassoc.stream.items import parse_item_name
from reassoc.stream.ledger_history import ever_had
from reassoc.stream.live import match_keys_of
from reassoc.stream.serve_commands import reporting

DECIDE_HELP = (
    "Decide about remittances, payments and matches: recorded with who and why, applied in the "
    "order of the log, never half.\n\n"
    "match: these remittances and payments belong together. unmatch: this match is wrong (it is "
    "never made by itself again). release: hand these 835s on now. resend: hand on what was "
    "released once more. hold, unhold: keep 835s from being released. void: this 835 is none. "
    "suspense: write this payment to suspense. reopen: take a payment back from suspense, or let a "
    "suspected duplicate take part. alias: two identifiers mean one payer. move: these items "
    "belong to another tenant.\n\n"
    "Items are named by their ids (as `reassoc open` lists them) or by filters; of filters the "
    "number of items and their cents must be confirmed, with --count and --cents or by answering. "
    "Works while `reassoc serve` runs, or the workers of --config.\n\n"
    "Exit code 0: done. 1: refused, or not answered in time (it stands on the log then). 2: wrong "
    "usage."
)
KINDS: tuple[DecisionKind, ...] = (
    "match", "unmatch", "release", "resend", "hold", "unhold", "void", "suspense", "reopen",
    "alias", "move",
)  # fmt: skip
FILTERED: dict[str, str] = {
    "release": "remittances",
    "resend": "remittances",
    "hold": "remittances",
    "unhold": "remittances",
    "void": "remittances",
    "suspense": "payments",
    "reopen": "",
    "move": "",
}
"""Kinds that filters can name items for, and the side that they are about."""

DIFFERENCE_CENTS_MAX = 10**15
"""Of a match that a person makes, either way."""

Items = Annotated[
    list[str] | None, typer.Option("--item", metavar="ID", help="An item's id; repeatable.")
]


def decide_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="match, unmatch, release, ...")],
    why: Annotated[str, typer.Option("--why", help="The reason, for the record. Name no patient.")],
    home: HomeOption = None,
    config: ConfigOption = None,
    item: Items = None,
    match: Annotated[
        str, typer.Option("--match", metavar="MATCH_ID", help="The match to undo (unmatch).")
    ] = "",
    payer: Annotated[
        list[str] | None,
        typer.Option("--payer", metavar="ID", help="alias: the two identifiers. Else a filter."),
    ] = None,
    to_tenant: Annotated[
        str, typer.Option("--to", metavar="TENANT", help="Where the items belong (move).")
    ] = "",
    difference: Annotated[
        int,
        typer.Option(
            metavar="CENTS",
            min=-DIFFERENCE_CENTS_MAX,
            max=DIFFERENCE_CENTS_MAX,
            help="Payments less remittances of a match, where it is not 0.",
        ),
    ] = 0,
    tenant: Annotated[str, typer.Option(help="Filter, and for alias and unmatch the tenant.")] = "",
    side: Annotated[str, typer.Option(help="Filter: remittances or payments.")] = "",
    status: Annotated[str, typer.Option(help="Filter: a status of that side.")] = "",
    payee: Annotated[str, typer.Option(help="Filter: NPI, tax number or account.")] = "",
    older_than: Annotated[
        int | None,
        typer.Option(metavar="DAYS", help="Filter: waits for more banking days than this."),
    ] = None,
    count: Annotated[int | None, typer.Option(help="Confirms how many items it is about.")] = None,
    cents: Annotated[
        int | None, typer.Option(help="Confirms the sum of what it is about, in cents.")
    ] = None,
    who: Annotated[str, typer.Option(help="Who decides. Default: the user's name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
) -> None:
    """`reassoc decide`."""
    if kind not in KINDS:
        fail(f"{kind}: no decision; one of {', '.join(KINDS)}", EXIT_USAGE)
    filters = FilterOptions(
        tenant,
        side,
        status,
        (payer or [""])[0] if kind != "alias" else "",
        payee,
        older_than=older_than,
    )
    with reporting(home), _sitting(home, config, kind, who or getpass.getuser(), why) as desk:
        given = _Given(item or (), match, payer or (), to_tenant, difference, filters,
                       (count, cents))  # fmt: skip
        _check_all_is_used(kind, given)
        entries = _entries(desk, given)
        place = desk.place
        place.log(entries)
        decisions = (name for name, entry in entries if isinstance(entry, DecisionEntry))
        asked = list(dict.fromkeys(decisions))
        place.settle()
        found = answers(place.ledger, desk.number, asked)
    _show(found, kind, place.decider, as_json=as_json)


class _Desk:
    """Who decides, where, and what they see."""

    def __init__(self, place: Place, kind: str, who: str, why: str) -> None:
        self.place = place
        self.state = place.state
        self.kind: DecisionKind = next(known for known in KINDS if known == kind)
        self.who = who
        self.why = why
        self.number = secrets.token_hex(8)

    def entry(self, asked: Asked, **more: object) -> DecisionEntry:
        return entry_of(self.kind, asked, number=self.number, who=self.who, why=self.why, **more)


@contextmanager
def _sitting(
    home: Path | None, config: Path | None, kind: str, who: str, why: str
) -> Iterator[_Desk]:
    """A desk, open; what cannot be asked there ends the command."""
    with ExitStack() as stack:
        place = _opened(home, config, stack)
        try:
            yield _Desk(place, kind, who, why)
        except (AskingError, FilterError, ValueError) as error:
            fail(str(error), EXIT_USAGE)


def _opened(home: Path | None, config: Path | None, stack: ExitStack) -> Place:
    check_one_place(home, config)
    if home is not None:
        return stack.enter_context(open_home_place(Home.open(home)))
    # Imported late: most who decide have no Kafka.
    from reassoc.stream.decide_stream import open_stream_place
    from reassoc.stream.worker_commands import loaded_config

    return stack.enter_context(open_stream_place(loaded_config(config)))


@dataclass(frozen=True, slots=True)
class _Given:
    """What a decision was asked for with.

    confirmed : how many items, and how many cents; None where that was not said
    """

    items: Sequence[str]
    match: str
    payers: Sequence[str]
    to_tenant: str
    difference: int
    filters: FilterOptions
    confirmed: tuple[int | None, int | None]


def _check_all_is_used(kind: str, given: _Given) -> None:
    """Raises AskingError where something was given that a decision of this kind does not look at:
    who gives it believes that it counts."""
    about_items = kind not in ("alias", "unmatch")
    filters = given.filters if about_items else replace(given.filters, tenant="")
    unused = {
        "--match": bool(given.match) and kind != "unmatch",
        "--to": bool(given.to_tenant) and kind != "move",
        "--difference": given.difference != 0 and kind != "match",
        "--item": bool(given.items) and not about_items,
        "second --payer": len(given.payers) > 1 and kind != "alias",
        "filters": not filters.is_empty and (not about_items or bool(given.items)),
        "--count and --cents": given.confirmed != (None, None) and not about_items,
    }
    named = [name for name, is_unused in unused.items() if is_unused]
    if named:
        beside = f"{kind} by --item" if given.items and about_items else kind
        raise AskingError(f"{beside} takes no {', '.join(named)}: leave it out")


def _entries(desk: _Desk, given: _Given) -> list[tuple[str, Entry]]:
    """The decision as entries of the log, one for each tenant that it is about."""
    if desk.kind == "alias":
        return _alias(desk, given.payers, given.filters.tenant)
    if desk.kind == "unmatch":
        return _unmatch(desk, given.match, given.filters.tenant)
    asked = _asked(desk, given)
    if desk.kind == "match" and len(asked) > 1:
        raise AskingError("items of several tenants are never one match")
    if desk.kind == "move":
        return _moves(desk, asked, given.to_tenant)
    more = {"difference_cents": given.difference} if desk.kind == "match" else {}
    return [(tenant, desk.entry(of_tenant, **more)) for tenant, of_tenant in asked.items()]


def _moves(desk: _Desk, asked: dict[str, Asked], target: str) -> list[tuple[str, Entry]]:
    place = desk.place
    if not target:
        raise AskingError("move needs --to TENANT")
    if target not in place.targets:
        known = ", ".join(sorted(place.targets))
        raise AskingError(f"--to must be a tenant that the directory or the log has: {known}")
    if target in asked:
        raise AskingError("some of the items are of this tenant already")
    check_never_there(place.state, partial(ever_had, place.ledger), target, asked.values())
    return [(tenant, desk.entry(of_tenant, tenant=target)) for tenant, of_tenant in asked.items()]


def _alias(desk: _Desk, payers: Sequence[str], tenant: str) -> list[tuple[str, Entry]]:
    if len(payers) != 2 or payers[0] == payers[1]:
        raise AskingError("alias needs --payer twice: the identifiers that mean one payer")
    if not "".join(payers).isprintable():
        raise AskingError("--payer: an identifier has no control characters")
    _check_tenant(desk, tenant)
    tenants = [name for name in desk.place.tenants if name == (tenant or name)]
    if not tenants:
        raise AskingError("no items came yet")
    entry = desk.entry(Asked(), payers=tuple(payers))
    return [(name, entry) for name in tenants]


def _unmatch(desk: _Desk, match: str, tenant: str) -> list[tuple[str, Entry]]:
    try:
        number = int(match, 16) if len(match) == 16 else 0
    except ValueError:
        number = 0
    if not number:
        raise AskingError("unmatch needs --match with the 16 hexadecimal digits of a match id")
    _check_tenant(desk, tenant)
    tenants = [name for name in desk.place.tenants if name == (tenant or name)]
    holding = _holding(desk, number, tenants)
    if not holding:
        raise AskingError("no match has this id now: `reassoc matches` lists those that stand")
    entry = desk.entry(Asked(), match_id=number)
    return [(name, entry) for name in holding]


def _holding(desk: _Desk, match_id: int, tenants: Sequence[str]) -> list[str]:
    """Those of some tenants whose state has pairs of a match."""
    keys = match_keys_of(np.array([match_id], np.uint64))
    return [name for name in tenants if len(desk.state.probe(name, keys).records)]


def _asked(desk: _Desk, given: _Given) -> dict[str, Asked]:
    if given.items:
        asked = _named(desk, given.items)
        if given.confirmed != (None, None):
            _compare(asked, given.confirmed, "the ids name")
        return asked
    if desk.kind not in FILTERED or given.filters.is_empty:
        raise AskingError(f"{desk.kind} needs --item (several times, if it is about several)")
    clock = desk.place.clock
    found = filtered_items(
        desk.place.ledger,
        given.filters,
        FILTERED[desk.kind],
        day=clock.day if clock is not None else int(utc_now().timestamp()) // 86_400,
        calendar=federal_reserve_calendar(),
    )
    asked = find_asked(desk.state, found, desk.place.tenants) if found else {}
    if not asked:
        _check_tenant(desk, given.filters.tenant)
        raise AskingError("the filters find nothing")
    _confirm(asked, given.confirmed)
    return asked


def _named(desk: _Desk, items: Sequence[str]) -> dict[str, Asked]:
    parsed = [parse_item_name(text) for text in items]
    bad = [text for text, name in zip(items, parsed, strict=True) if name is None]
    if bad:
        raise AskingError(f"{len(bad)} of the ids are none: write 0123456789abcdef-120")
    return find_asked(desk.state, [name for name in parsed if name is not None], desk.place.tenants)


def _check_tenant(desk: _Desk, tenant: str) -> None:
    if tenant and tenant not in desk.place.tenants:
        raise AskingError(NO_SUCH_TENANT)


def _confirm(asked: dict[str, Asked], confirmed: tuple[int | None, int | None]) -> None:
    """What filters found is confirmed by count and cents: by options, or by a person who sees
    them."""
    if confirmed != (None, None):
        _compare(asked, confirmed, "the filters find")
        return
    count, cents = _sum_of(asked)
    told = f"the filters find {count} items of {dollars(cents)} dollars in all"
    if not sys.stdin.isatty():
        raise AskingError(f"{told}: confirm with --count {count} --cents {cents}")
    if not typer.confirm(f"{told[0].upper()}{told[1:]}. Go on?", err=True):
        raise AskingError("not confirmed")


def _compare(asked: dict[str, Asked], confirmed: tuple[int | None, int | None], words: str) -> None:
    count, cents = _sum_of(asked)
    if confirmed != (count, cents):
        raise AskingError(
            f"{words} {count} items of {dollars(cents)} dollars in all, which is not what --count "
            "and --cents say: look again"
        )


def _sum_of(asked: dict[str, Asked]) -> tuple[int, int]:
    """How many items, and the sum of their cents."""
    each = asked.values()
    return sum(one.item_count for one in each), sum(
        one.remittance_cents + one.payment_cents for one in each
    )


def _show(found: Sequence[Answer], kind: str, decider: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    else:
        table = Table("tenant", "answer", "items", "dollars", "why not", show_edge=False)
        words = {True: "done", False: "refused", None: "not answered yet"}
        for answer in found:
            table.add_row(
                answer.tenant,
                words[answer.is_done],
                str(answer.item_count) if answer.is_done else "",
                dollars(answer.cents) if answer.is_done and answer.cents else "",
                answer.refusal,
            )
        Console().print(table)
    if any(answer.is_done is None for answer in found):
        say(f"{kind} stands on the log and is decided when {decider}")
    if not all(answer.is_done for answer in found):
        raise typer.Exit(EXIT_UNREADABLE)
