"""New keys for the items of a state that another version of the program has filled."""

from __future__ import annotations

import msgspec

from reassoc.core.matching.neighbours import KEYS_VERSION
from reassoc.stream.items import PAYMENT, REMITTANCE, RecordKind
from reassoc.stream.knowledge import Knowledge
from reassoc.stream.new_items import keys_of
from reassoc.stream.state import Claim, Records, State, Step
from reassoc.stream.tenant_record import TenantRecord, tenant_row


def give_new_keys(state: State, claim: Claim, knowledge: Knowledge) -> TenantRecord:
    """Put each item of a tenant back under the keys that this program makes; the tenant's record,
    which says so from then on.

    No entry of the log asks for it, so it changes nothing of an item, of a pair, of the mark. In
    steps as large as what a scan brings at a time; where it breaks off, all of it is done again.
    O(items of the tenant).
    """
    record = msgspec.structs.replace(knowledge.record, keys=KEYS_VERSION)
    for part in list(state.scan(claim.tenant)):
        state.apply(claim, Step(claim.mark, claim.mark, _keyed_anew(part, knowledge)))
    state.apply(claim, Step(claim.mark, claim.mark, Records.without_keys([tenant_row(record)])))
    return record


def _keyed_anew(part: Records, knowledge: Knowledge) -> Records:
    left, right = part.of_kind(RecordKind.REMITTANCE), part.of_kind(RecordKind.PAYMENT)
    rows = REMITTANCE.unpack(left.bodies), PAYMENT.unpack(right.bodies)
    keyed = keys_of(*rows, knowledge.policy, knowledge.directory)
    return Records.concat(
        [
            Records(side.ids, side.kinds, keys.keys, keys.stops, side.bodies)
            for side, keys in zip((left, right), keyed, strict=True)
        ]
    )
