"""Decisions of people on their way to the log, and their answers on the way back.

Whoever decides may be another process than the one that serves: the decision is an entry of the
log, and its answer a row of the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from reassoc.core.errors import ReassocError
from reassoc.stream import ledger_schema as schema
from reassoc.stream.decisions import DECISION_ITEMS_MAX, ids_of
from reassoc.stream.item_log import DecisionEntry, DecisionKind
from reassoc.stream.items import PAYMENT, REMITTANCE, ItemFlag, RecordKind, id_bytes, id_parts
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_rows import DecisionAnswer
from reassoc.stream.state import Records, State
from reassoc.stream.sums import exact_sum

ANSWER_SECONDS_MAX = 30.0
"""How long an answer is waited for; the decision stands on the log all the same."""
WHY_CHARACTERS_MAX = 250

EverHad = Callable[[str, npt.NDArray[np.uint64], npt.NDArray[np.int64]], npt.NDArray[np.bool_]]
"""Whether a tenant ever had items, given by digests and offsets."""


class AskingError(ReassocError):
    """What a person asked for cannot be put to the log; nothing was decided."""


@dataclass(slots=True)
class Asked:
    """Items of one tenant that a decision names."""

    remittances: list[bytes] = field(default_factory=list)
    payments: list[bytes] = field(default_factory=list)
    remittance_cents: int = 0
    payment_cents: int = 0

    @property
    def item_count(self) -> int:
        return len(self.remittances) + len(self.payments)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a decision in one tenant. is_done is None while nobody has answered."""

    tenant: str
    is_done: bool | None
    refusal: str
    item_count: int
    cents: int


def find_asked(
    state: State, items: Sequence[tuple[int, int]], tenants: Sequence[str]
) -> dict[str, Asked]:
    """Those of some tenants that have some items, given as (digest, offset), by what the state
    holds.

    Raises AskingError for more than DECISION_ITEMS_MAX, and where one of them is in no tenant's
    state: it was never here, or left it long ago. O(tenants * items).
    """
    if len(items) > DECISION_ITEMS_MAX:
        raise AskingError(f"more than DECISION_ITEMS_MAX ({DECISION_ITEMS_MAX}) items at once")
    digests = np.array([digest for digest, _ in items], np.uint64)
    offsets = np.array([offset for _, offset in items], np.int64)
    ids = id_bytes(digests, offsets)
    found: dict[str, Asked] = {}
    count = 0
    for tenant in tenants:
        records = state.fetch(tenant, ids)
        asked = _asked(records)
        if asked.item_count:
            found[tenant] = asked
            count += asked.item_count
    if count < len({*items}):
        raise AskingError(
            f"{len({*items}) - count} of the items are not open or recent here: "
            "`reassoc open` lists those that are, `reassoc history` knows the others"
        )
    return found


def _asked(records: Records) -> Asked:
    asked = Asked()
    for kind, schema_of, ids, name in (
        (RecordKind.REMITTANCE, REMITTANCE, asked.remittances, "paid_cents"),
        (RecordKind.PAYMENT, PAYMENT, asked.payments, "amount_cents"),
    ):
        of_kind = records.of_kind(kind)
        rows = schema_of.unpack(of_kind.bodies)
        # What moved is another tenant's now, and is found there.
        here = np.flatnonzero(rows["flags"] & int(ItemFlag.MOVED) == 0)
        ids += [of_kind.ids[row].tobytes() for row in here.tolist()]
        cents = exact_sum(rows[name][here])
        if kind == RecordKind.REMITTANCE:
            asked.remittance_cents = cents
        else:
            asked.payment_cents = cents
    return asked


def check_reason(who: str, why: str) -> None:
    """Raises AskingError for a reason that says nothing, and for what a terminal would obey."""
    if not why.strip() or len(why) > WHY_CHARACTERS_MAX:
        raise AskingError(f"--why must have 1 to {WHY_CHARACTERS_MAX} characters")
    if not why.isprintable() or not who.isprintable():
        raise AskingError("--why and --who are one line each, without control characters")


def entry_of(
    kind: DecisionKind, asked: Asked, *, number: str, who: str, why: str, **more: object
) -> DecisionEntry:
    """The entry of a decision about some items. Raises AskingError, see `check_reason`."""
    check_reason(who, why)
    entry = DecisionEntry(
        kind, number, who, why, b"".join(asked.remittances), b"".join(asked.payments)
    )
    return msgspec.structs.replace(entry, **more)


def check_never_there(state: State, ever_had: EverHad, target: str, asked: Iterable[Asked]) -> None:
    """Raises AskingError where a tenant has or had some of the items: it would not take them again.

    ever_had : by the ledger

    What is not of that tenant now and was once left it by a move, and came to where it is when the
    ledger knew that: so state and ledger say all of it. O(items).
    """
    for one in asked:
        ids = ids_of(b"".join(one.remittances + one.payments))
        if len(state.fetch(target, ids)) or ever_had(target, *id_parts(ids)).any():
            raise AskingError(
                "some of the items were of the other tenant before: items never go back"
            )


def answers(
    ledger: Ledger,
    number: str,
    tenants: Sequence[str],
    *,
    sleep: Callable[[float], None] = time.sleep,
    seconds_max: float = ANSWER_SECONDS_MAX,
) -> list[Answer]:
    """Wait for the answers to a decision, by its number; one for each tenant that was asked."""
    waited = 0.0
    while True:
        found = _read_answers(ledger, number)
        if len(found) >= len(tenants) or waited >= seconds_max:
            return [found.get(tenant, Answer(tenant, None, "", 0, 0)) for tenant in tenants]
        sleep(0.05)
        waited += 0.05


def _read_answers(ledger: Ledger, number: str) -> Mapping[str, Answer]:
    text, decision, batch = schema.decision_text.c, schema.decision.c, schema.batch.c
    query = (
        select(batch.tenant, decision.answer, text.refusal, decision.item_count, decision.cents)
        .join_from(schema.decision_text, schema.decision, text.decision == decision.number)
        .join(
            schema.batch,
            batch.number == schema.batch_of(decision.number),
        )
        .where(text.number == number)
    )
    with ledger.reading() as connection:
        rows = connection.execute(query).all()
    return {
        tenant: Answer(tenant, answer == DecisionAnswer.DONE, refusal or "", count, cents)
        for tenant, answer, refusal, count, cents in rows
    }
