"""A worker that writes to a ledger beside others: `python ledger_writer.py URL SEED`.

It brings all tenants up to their last batch, whoever else does so, and books releases between. It
prints how many batches it wrote, and how many files it booked, as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import time

import ledgers
import msgspec
from sqlalchemy import func, select

from reassoc.core.statuses import PaymentStatus
from reassoc.stream import ledger_open
from reassoc.stream import ledger_schema as schema
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_rows import ItemSide, LedgerBatch

TENANTS = [f"t{number}" for number in range(8)]
BATCHES = 25
ITEMS = 4
AT_ONCE_MAX = 4
RETRIES_MAX = 200
OPEN_BATCHES_MAX = 5
"""So that folding happens often."""


def batch_of(tenant: str, sequence: int) -> LedgerBatch:
    """The same whoever makes it. Positions rise with gaps; what came two batches ago is closed."""
    tenant_at = TENANTS.index(tenant) * 10_000
    first, gone = tenant_at + sequence * 10, tenant_at + (sequence - 2) * 10
    position = 3 + sequence * 7
    items = [ledgers.item(first + n, ItemSide.PAYMENT, position=position) for n in range(ITEMS)]
    new, old = PaymentStatus.UNMATCHED, PaymentStatus.MATCHED
    rows = [ledgers.change(first + n, ItemSide.PAYMENT, 0, new) for n in range(ITEMS)]
    if sequence > 2:
        rows += [ledgers.change(gone + n, ItemSide.PAYMENT, new, old) for n in range(ITEMS)]
    made = ledgers.batch(items, rows, position=position)
    return msgspec.structs.replace(
        made, tenant=tenant, decisions=(ledgers.decision(f"{tenant}-{sequence}"),)
    )


def write_some(ledger: Ledger, chance: random.Random) -> int:
    """Append to some tenants, a part of which is there already; how many were new."""
    entries = []
    for tenant in chance.sample(TENANTS, 3):
        last = ledger.last_sequence(tenant)
        first = max(1, last - chance.randrange(2))
        stop = min(BATCHES, last + chance.randrange(AT_ONCE_MAX)) + 1
        entries += [(number, batch_of(tenant, number)) for number in range(first, stop)]
    return sum(ledger.append_many(entries))


def book_file(ledger: Ledger) -> int:
    """Book one more file."""
    with ledger.writing() as connection:
        last = connection.execute(select(func.max(schema.release_file.c.file))).scalar() or 0
        ledger.append_release(connection, **ledgers.release_rows(last + 1))
    return 1


def main(url: str, seed: int) -> None:
    """Write until all is there. What fails is tried again, as the warehouse does."""
    ledger_open.OPEN_BATCHES_MAX = OPEN_BATCHES_MAX
    chance = random.Random(seed)
    ledger: Ledger | None = None
    written = booked = failed = 0
    while failed < RETRIES_MAX:
        try:
            ledger = ledger or Ledger.open(url)
            heads = ledger.heads()
            if all(heads.get(tenant, (0,))[0] == BATCHES for tenant in TENANTS):
                break
            written += write_some(ledger, chance)
            booked += book_file(ledger) if chance.random() < 0.3 else 0
        except OSError as error:
            print(error, file=sys.stderr)
            failed += 1
            time.sleep(0.05)
    if ledger is not None:
        ledger.close()
    print(json.dumps({"written": written, "booked": booked, "failed": failed}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
