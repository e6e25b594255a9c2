"""Who gets which partition: even for every topic, and no more moves than must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reassoc.stream.sticky_assignor import Claim, StickyAssignor, spread

TOPICS = {"items": [0, 1, 2, 3], "raw": list(range(7)), "alone": [0]}
NAMES = st.sets(st.sampled_from("abcdef"), min_size=1)


class Cluster:
    """What aiokafka knows of the topics."""

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(TOPICS.get(topic, ())) or None


def round_of(members: dict[str, StickyAssignor]) -> dict[str, dict[str, list[int]]]:
    """One rebalance."""
    told = {name: member.metadata([*TOPICS, "unknown"]) for name, member in members.items()}
    given_ = StickyAssignor().assign(Cluster(), told)
    for name, member in members.items():
        member.on_assignment(given_[name])
    return {name: dict(answer.assignment) for name, answer in given_.items()}


def check(shares: dict[str, dict[str, list[int]]]) -> None:
    for topic, partitions in TOPICS.items():
        owned = [share.get(topic, []) for share in shares.values()]
        assert sorted(p for share in owned for p in share) == partitions
        assert max(map(len, owned)) - min(map(len, owned)) <= 1


@given(st.lists(NAMES, min_size=1, max_size=6))
def test_each_partition_has_one_owner_and_each_topic_is_spread_evenly(
    rounds: list[set[str]],
) -> None:
    members: dict[str, StickyAssignor] = {}
    for names in rounds:
        members = {name: members.get(name, StickyAssignor()) for name in names}
        check(round_of(members))


def test_who_joins_gets_its_share_and_nothing_else_moves() -> None:
    members = {"a": StickyAssignor(), "b": StickyAssignor()}
    before = round_of(members)
    after = round_of({**members, "c": StickyAssignor()})
    for name in members:
        for topic, partitions in after[name].items():
            assert set(partitions) <= set(before[name][topic])


def test_the_newer_claim_holds() -> None:
    claims = {
        "asleep": Claim(3, {"items": [0, 1, 2, 3]}),
        "b": Claim(4, {"items": [0, 1]}),
        "c": Claim(4, {"items": [2, 3]}),
    }
    shares = spread({"items": [0, 1, 2, 3]}, {"items": list(claims)}, claims)
    assert shares == {"asleep": {"items": [3]}, "b": {"items": [0, 1]}, "c": {"items": [2]}}


def test_a_claim_that_cannot_be_read_claims_nothing() -> None:
    member = StickyAssignor().metadata(["items"])
    member.user_data = b"\xff not json"
    (answer,) = StickyAssignor().assign(Cluster(), {"a": member}).values()
    assert dict(answer.assignment) == {"items": [0, 1, 2, 3]}
