"""A Kafka server of one process (broker and controller, KRaft) on the loopback address.

Its jars come from Maven Central, once for each version, into a folder that all runs share. It is
made for tests and load tests on a small machine: few threads, one copy of everything, and files are
left to the page cache, which a killed process leaves behind and a machine without power does not.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reassoc.loadtest.servers.process import ServerError, ServerProcess, answers, free_port

KAFKA_VERSION = "4.1.1"
"""As in pom.xml."""
MESSAGE_BYTES_MAX = 2 << 20
START_SECONDS_MAX = 60.0
FORMAT_SECONDS_MAX = 60.0
DOWNLOAD_SECONDS_MAX = 900.0
"""For the jars (43 MB), where they are not there yet."""
ADMIN_SECONDS_MAX = 30
KEEP_FOREVER_MS = -1

_POM = Path(__file__).with_name("pom.xml")
_WHOLE = "complete"
"""A file in the folder of the jars: all of them are there."""
_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData")
_JAVA_LOG = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.logFile=System.out",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic to make.

    retention_ms : how long records are kept, KEEP_FOREVER_MS: for ever
    """

    name: str
    partitions: int = 1
    retention_ms: int = KEEP_FOREVER_MS


def jar_folder() -> Path:
    """Where the jars of KAFKA_VERSION lie, for all who use this machine's account."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "reassoc" / f"kafka-{KAFKA_VERSION}"


def have_jars(folder: Path | None = None) -> Path:
    """The folder of the jars, filled by Maven where it is not yet (43 MB, half a minute).

    Raises ServerError where Java or Maven are missing, or Maven fails.
    """
    folder = folder or jar_folder()
    for program, package in (("java", "openjdk-17-jre-headless"), ("mvn", "maven")):
        if shutil.which(program) is None and not (program == "mvn" and _is_whole(folder)):
            raise ServerError(f"{program} is missing: apt-get install {package}")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # others wait until the jars are there
        if not _is_whole(folder):
            _download(folder)
            (folder / _WHOLE).touch()
    return folder


def _is_whole(folder: Path) -> bool:
    return (folder / _WHOLE).exists()


def _download(folder: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(_POM), f"-Dkafka.version={KAFKA_VERSION}"]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=DOWNLOAD_SECONDS_MAX)
    except subprocess.CalledProcessError as error:
        tail = (error.stdout + error.stderr).decode(errors="replace")[-2000:]
        raise ServerError(
            f"maven could not get Kafka's jars; the end of its log:\n{tail}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ServerError(
            f"maven did not get Kafka's jars in {DOWNLOAD_SECONDS_MAX:.0f} s: try again"
        ) from error


class KafkaServer:
    """A server whose files lie in one folder. Started again on it, it has what it had.

    folder : made where it is missing
    heap : of the Java machine, as -Xmx wants it
    message_bytes_max : largest batch of records that it takes
    port : to listen on, None: a free one (and that one again after a restart)

    Raises ServerError where Java, Maven or the jars cannot be had.
    """

    def __init__(
        self,
        folder: Path,
        *,
        heap: str = "512m",
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        port: int | None = None,
    ) -> None:
        self._jars = have_jars()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._heap = heap
        self._message_bytes_max = message_bytes_max
        self._port = port or free_port()
        self._controller_port = free_port()
        self.process = ServerProcess("kafka", folder)

    @property
    def bootstrap(self) -> str:
        """Address for clients: host:port."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Of the running server. Raises ServerError."""
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it takes clients. Raises ServerError."""
        properties = self.folder / "server.properties"
        lines = [f"{name}={value}\n" for name, value in self._settings().items()]
        properties.write_text("".join(lines))
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(properties)
        command = self._java("kafka.Kafka", str(properties))
        self.process.start(command, self._is_ready, seconds=START_SECONDS_MAX)

    def stop(self) -> None:
        """End it as its keeper would. Twice does nothing."""
        self.process.stop()

    def kill(self) -> None:
        """End it at once (SIGKILL). Twice does nothing."""
        self.process.kill()

    def restart(self) -> None:
        """Start it again on its files, whether it ended or runs. Raises ServerError."""
        self.stop()
        self.start()

    def _is_ready(self) -> bool:
        return answers(self._port)

    def _java(self, main: str, *arguments: str) -> list[str]:
        memory = [f"-Xmx{self._heap}", f"-Xms{self._heap}"]
        path = f"{self._jars}/*"
        return ["java", *memory, *_JAVA, *_JAVA_LOG, "-cp", path, main, *arguments]

    def _format(self, properties: Path) -> None:
        """Prepare the data folder; done once."""
        cluster = uuid.uuid4().hex[:22]
        command = self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c")
        try:
            subprocess.run(
                [*command, str(properties)],
                check=True,
                capture_output=True,
                timeout=FORMAT_SECONDS_MAX,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            output = (error.stdout or b"") + (error.stderr or b"")
            raise ServerError(
                f"kafka could not prepare {self.folder}: {output.decode(errors='replace')[-2000:]}"
            ) from error

    def _settings(self) -> Mapping[str, object]:
        listeners = f"PLAINTEXT://127.0.0.1:{self._port}"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": listeners,
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            "message.max.bytes": self._message_bytes_max,
            "replica.fetch.max.bytes": self._message_bytes_max,
            "log.segment.bytes": 256 << 20,
            **_ONE_COPY,
            **_SMALL,
        }


_ONE_COPY: Mapping[str, object] = {
    "default.replication.factor": 1,
    "min.insync.replicas": 1,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
}
_SMALL: Mapping[str, object] = {
    "num.network.threads": 2,
    "num.io.threads": 2,
    "num.recovery.threads.per.data.dir": 1,
    "background.threads": 2,
    "log.cleaner.threads": 1,
    "log.cleaner.dedupe.buffer.size": 8 << 20,
    "group.coordinator.threads": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "controlled.shutdown.enable": "false",
    # A killed broker must be forgotten before it may register again: that is most of a restart.
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
    "telemetry.reporter.enable": "false",
}


async def create_topics(bootstrap: str, topics: Iterable[Topic]) -> None:
    """Make topics with one copy each. Raises aiokafka's errors, also where one is there already."""
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(
        bootstrap_servers=bootstrap, request_timeout_ms=ADMIN_SECONDS_MAX * 1000
    )
    wanted = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=1,
            topic_configs={"retention.ms": str(topic.retention_ms)},
        )
        for topic in topics
    ]
    await admin.start()
    try:
        answer: Any = await admin.create_topics(wanted, timeout_ms=ADMIN_SECONDS_MAX * 1000)
    finally:
        await admin.close()
    _raise_refusals(answer.topic_errors)


def _raise_refusals(errors: Iterable[tuple[Any, ...]]) -> None:
    from aiokafka.errors import for_code

    for name, code, *_ in errors:
        if code:
            raise for_code(code)(f"topic {name} was not made")
