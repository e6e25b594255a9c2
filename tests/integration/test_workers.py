"""Workers on real servers: whatever their number, the partitions and the kind of Redis, a feed
comes to what the embedded engine makes of the same log.
"""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from redis_stores import need_redis
from worker_stacks import LATE, rig

from reassoc.loadtest.servers.redis_server import RedisCluster
from reassoc.loadtest.servers.stack import WorkerProcess
from reassoc.loadtest.stream_compare import compare
from reassoc.stream.config import load_config

PAYMENTS = 100
STOP_SECONDS_MAX = 10.0


def test_one_worker_and_one_partition(tmp_path: Path) -> None:
    with rig(tmp_path, PAYMENTS, 1, items_partitions=1, raw_partitions=1) as made:
        told = made.send()
        assert told["sent_files"] > 10
        made.rest()
        made.set_clock(LATE)
        made.rest()
        compared = compare(load_config(made.config_file).config)
        assert compared.wrong == []
        assert compared.released > PAYMENTS / 2

        # The same files again change nothing: the feeder knows them, and so does intake.
        before = made.run("matches", "--csv", "-").stdout
        rows = list(csv.DictReader(io.StringIO(before)))
        assert len(rows) > PAYMENTS / 2
        assert made.send()["sent_files"] == 0
        assert made.send(words=["--again"])["sent_files"] == told["sent_files"]
        made.rest()
        assert made.run("matches", "--csv", "-").stdout == before
        assert compare(load_config(made.config_file).config).wrong == []

        status = json.loads(made.run("status", "--json").stdout)
        assert {topic["lag"] for topic in status["topics"]} == {0}
        assert status["lost"] == 0
        assert status["released"]["item_count"] == compared.released

        released = json.loads(made.run("report", "--json").stdout)["released"]
        assert released["total"]["count"] == compared.released
        listed = made.run("open", "--csv", "-", "--limit", "0").stdout
        assert listed.startswith("item,tenant,side,status,")
        assert "sound: " in made.run("audit", "verify").stdout

        (worker,) = made.stack.workers
        worker.signal(signal.SIGTERM)
        assert worker.wait(STOP_SECONDS_MAX) == 0


def test_several_workers_on_a_cluster_of_redis(tmp_path: Path) -> None:
    need_redis()
    cluster = RedisCluster(tmp_path / "cluster")
    cluster.start()
    try:
        options = {"items_partitions": 7, "raw_partitions": 3, "redis": cluster.url}
        variables = {"REASSOC_WORKER_BATCH_MESSAGES_MAX": "5"}
        with rig(tmp_path, PAYMENTS, 3, variables=variables, **options) as made:
            made.send()
            made.rest()
            made.set_clock(LATE)
            made.rest()
            compared = compare(load_config(made.config_file).config)
            assert compared.wrong == []
            assert compared.released > PAYMENTS / 2
    finally:
        cluster.stop()


def test_a_lost_state_is_waited_for_and_rebuilt(tmp_path: Path) -> None:
    with rig(tmp_path, PAYMENTS, 1, items_partitions=3) as made:
        made.send()
        made.set_clock(LATE)
        made.rest()
        worker, redis = made.stack.workers[0], made.stack.redis
        assert redis is not None
        worker.stop()
        redis.ask("FLUSHALL")
        told = made.run("rebuild", "--json")
        assert told.exit_code == 1
        assert json.loads(told.stdout)["missing"] > 3
        fresh = made.stack.add_worker()
        assert _waits(fresh)
        assert made.run("rebuild", "--yes").exit_code == 0
        fresh.wait_ready()
        made.rest()
        assert compare(load_config(made.config_file).config).wrong == []


def _waits(worker: WorkerProcess) -> bool:
    """Whether a worker that runs says, for a while, that it cannot work."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if worker.is_ready():
            return False
        time.sleep(0.2)
    return worker.ask("healthz") is not None


def test_a_wrong_configuration_is_told_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "reassoc.toml"
    path.write_text("[kafka]\nbootstrp = '127.0.0.1:9092'\n")
    answer = subprocess.run(
        [sys.executable, "-m", "reassoc.stream.cli", "worker", "--config", str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert answer.returncode == 2
    assert "kafka.bootstrp" in answer.stderr
    assert "bootstrap" in answer.stderr
