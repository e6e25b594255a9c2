"""Who gets which partition: each topic is spread evenly for itself; what a worker has, it keeps.

A topic with few partitions is not heaped on one worker because another topic filled the others: the
item log's partitions are spread as evenly as those of the raw topics. When workers come or go, only
as many partitions move as must. The members tell the group's leader what they have; where two claim
a partition (one slept through an assignment), the newer claim holds.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

_VERSION = 0


class Claim(NamedTuple):
    """What a member says it has, since which assignment."""

    epoch: int
    owned: Mapping[str, Sequence[int]]


_NOTHING = Claim(0, {})


def spread(
    topics: Mapping[str, Sequence[int]],
    subscribers: Mapping[str, Sequence[str]],
    claims: Mapping[str, Claim],
) -> dict[str, dict[str, list[int]]]:
    """Assign partitions to members.

    topics : topic -> its partitions
    subscribers : topic -> members that want it
    claims : member -> what it says it has

    Returns member -> topic -> partitions, rising. Of a topic no member has two more than another.
    """
    given: dict[str, dict[str, list[int]]] = {member: {} for member in claims}
    load = dict.fromkeys(claims, 0)
    for topic in sorted(topics):
        members = sorted(subscribers[topic])
        shares = _keep(topic, topics[topic], members, claims)
        kept = {partition for share in shares.values() for partition in share}
        for partition in sorted(set(topics[topic]) - kept):
            poorest = min(members, key=lambda m: (len(shares[m]), load[m] + len(shares[m]), m))
            shares[poorest].append(partition)
        for member, share in shares.items():
            load[member] += len(share)
            if share:
                given[member][topic] = sorted(share)
    return given


def _keep(
    topic: str, partitions: Sequence[int], members: Sequence[str], claims: Mapping[str, Claim]
) -> dict[str, list[int]]:
    """What each member keeps of a topic: what it has, as far as its share goes."""
    owner: dict[int, str] = {}
    for member in sorted(members, key=lambda m: (claims[m].epoch, m)):
        owner.update(dict.fromkeys(claims[member].owned.get(topic, ()), member))
    owned: dict[str, list[int]] = {member: [] for member in members}
    for partition in sorted(partitions):
        if partition in owner:
            owned[owner[partition]].append(partition)
    share, more = divmod(len(partitions), len(members))
    for member in sorted(members, key=lambda m: (-len(owned[m]), m)):
        is_more = more > 0 and len(owned[member]) > share
        more -= is_more
        del owned[member][share + is_more :]
    return owned


class StickyAssignor:
    """The assignor of one consumer, as aiokafka calls it. It remembers what the consumer has."""

    name = "reassoc-sticky"

    def __init__(self) -> None:
        self._claim = _NOTHING

    def metadata(self, topics: Iterable[str]) -> Any:
        """What this member tells the leader when it joins."""
        data = json.dumps({"epoch": self._claim.epoch, "owned": self._claim.owned})
        return ConsumerProtocolMemberMetadata(_VERSION, sorted(topics), data.encode())

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """Called on the leader: the assignment of every member."""
        subscribers: dict[str, list[str]] = defaultdict(list)
        for member, metadata in members.items():
            for topic in metadata.subscription:
                subscribers[topic].append(member)
        found = {topic: cluster.partitions_for_topic(topic) for topic in subscribers}
        topics = {topic: sorted(partitions) for topic, partitions in found.items() if partitions}
        claims = {member: _claim_of(metadata.user_data) for member, metadata in members.items()}
        epoch = 1 + max(claim.epoch for claim in claims.values())
        return {
            member: ConsumerProtocolMemberAssignment(
                _VERSION, sorted(share.items()), str(epoch).encode()
            )
            for member, share in spread(topics, subscribers, claims).items()
        }

    def on_assignment(self, assignment: Any) -> None:
        """Remember what this member got."""
        epoch = assignment.user_data or b"0"
        self._claim = Claim(int(epoch), {topic: list(p) for topic, p in assignment.assignment})


def _claim_of(data: bytes | None) -> Claim:
    """Read a member's claim; one that cannot be read claims nothing, and only moves partitions."""
    try:
        told = json.loads(data or b"{}")
        owned = {str(topic): [int(p) for p in found] for topic, found in told["owned"].items()}
        return Claim(int(told["epoch"]), owned)
    except (ValueError, KeyError, TypeError, AttributeError):
        return _NOTHING
