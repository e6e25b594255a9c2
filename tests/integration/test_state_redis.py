"""The match state in Redis: the suite on one server and on a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis_stores import RedisStore, any_redis, running_cluster, store_of
from state_conformance import StateConformance


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with any_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


class TestRedisState(StateConformance):
    @pytest.fixture
    def store(self, url: str) -> Iterator[RedisStore]:
        with store_of(url) as made:
            yield made


class TestRedisStateOnACluster(StateConformance):
    @pytest.fixture
    def store(self, cluster_url: str) -> Iterator[RedisStore]:
        with store_of(cluster_url) as made:
            yield made
