"""A Kafka transport for Faust that commits what was processed, and nothing else.

Faust as it comes commits past messages that failed, were skipped or were in flight (docs/FAUST.md).
Here an agent gets batches: what one fetch brought of one partition. What it says `done()` to
counts, in the order of the partition; all else is fetched again, here or by the worker that has the
partition then. So everything is processed at least once, and who processes makes twice be once.

    register()
    app = faust.App("name", broker="reassoc://127.0.0.1:9092", **strict_settings())
    configure(app, StrictOptions(on_assigned=...))

    @app.agent(app.topic("items", value_type=bytes, value_serializer="raw"), concurrency=1)
    async def match(stream):
        async for batch in stream:
            ...
            batch.done()

An agent handles what can go wrong with a batch. One that raises all the same ends the process: the
batch is not done, so nothing behind it in its partition may be committed, and a restart is the way
to have it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

import aiokafka
from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.consumer import Consumer, ensure_TP, ensure_TPset
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, AppT, ConsumerMessage

from reassoc.core.errors import ReassocError
from reassoc.stream.log_batch import Batch, Partition, PartitionFlow
from reassoc.stream.sticky_assignor import StickyAssignor

SCHEME = "reassoc"
"""Of the broker's URL: reassoc://host:port."""
FETCH_SECONDS_MAX = 0.5
"""A fetch that finds nothing; a seek waits as long."""
FETCH_SLICE_SECONDS = 0.1
"""How long a fetch waits before it looks whether it should still: a rebalance waits as long."""
PREFETCH_SECONDS = 0.01
"""How long what was fetched of a partition that has no room holds back fetches of all others from
the same server: aiokafka waits a tenth of a second, hoping that it is taken."""
TAKE_SECONDS_MIN = 0.01
"""Between two takes of what was fetched: where messages come one by one, taking each by itself is
dearer than what is done with it."""
FULL_FETCH_BYTES, FULL_FETCH_MS = 64 << 10, 50
"""Where a fetch may wait the server answers with so much, or when it has waited so long for it: an
answer costs some milliseconds on its way through client and Faust, however little it brings."""
RECORDS_A_FETCH_MAX = 65_536
COMMIT_SECONDS_MAX = 5.0
CALL_SECONDS_MAX = 10.0
"""Anything that is asked of the client's thread."""

Answer = TypeVar("Answer")
PartitionsHook = Callable[[set[Partition]], Awaitable[None]]


class StrictConsumerError(ReassocError):
    """The consumer cannot go on, or was asked for what it has not. The message says why."""


@dataclass(frozen=True, slots=True)
class StrictOptions:
    """What Faust has no setting for. finish, hook and commit together must fit into the group's
    rebalance timeout, else the worker is put out of the group while it tidies up.

    batches_in_flight_max, bytes_in_flight_max : of a partition; then it is not fetched until the
        agent has done some, while others go on
    partition_fetch_bytes_max : a batch at most, but for one message that is larger
    fetch_bytes_max : an answer of the server at most
    fetch_wait_ms : how long the server waits for something to answer with
    finish_seconds_max : how long batches that agents work on may take when partitions are revoked,
        or the worker stops
    hook_seconds_max : how long a hook may take
    batch_seconds_max : a partition in which nothing gets done for so long ends the process
    read_committed : leave out records of transactions that are open or were aborted
    on_assigned : awaited before the first fetch, with every partition that is ours now; it may seek
    may_wait : whether fetches may wait for more (FULL_FETCH_BYTES, FULL_FETCH_MS), because what
        came before is not through yet; asked at each take, in the client's thread
    on_revoked : awaited when none of them is worked on and what was done is committed; every
        partition that was ours. Also at the end
    """

    batches_in_flight_max: int = 8
    bytes_in_flight_max: int = 32 << 20
    partition_fetch_bytes_max: int = 4 << 20
    fetch_bytes_max: int = 32 << 20
    fetch_wait_ms: int = 500
    finish_seconds_max: float = 10.0
    hook_seconds_max: float = 10.0
    batch_seconds_max: float = 600.0
    read_committed: bool = True
    on_assigned: PartitionsHook | None = None
    on_revoked: PartitionsHook | None = None
    may_wait: Callable[[], bool] = lambda: False


_OPTIONS: WeakKeyDictionary[AppT, StrictOptions] = WeakKeyDictionary()


def configure(app: AppT, options: StrictOptions) -> None:
    """Set the options of an application, before it starts."""
    _OPTIONS[app] = options


def strict_settings() -> dict[str, Any]:
    """Settings of a Faust application that uses this transport. A caller may change the times, as
    long as: heartbeat < session < request timeout, and rebalance < request timeout."""
    return {
        "autodiscover": False,
        "broker_commit_interval": 1.0,
        "broker_heartbeat_interval": 1.0,
        "broker_max_poll_interval": 600.0,
        "broker_rebalance_timeout": 30.0,
        "broker_request_timeout": 40.0,
        "broker_session_timeout": 10.0,
        "consumer_auto_offset_reset": "earliest",
        "processing_guarantee": "at_least_once",
        "store": "memory://",
        "stream_recovery_delay": 0.0,
        "stream_wait_empty": True,
        "table_standby_replicas": 0,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "web_enabled": False,
    }


def register() -> None:
    """Make the scheme known to Faust, where the package's entry points are not installed."""
    TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"


def consumer_of(app: AppT) -> StrictConsumer:
    """The consumer of a running application. Raises StrictConsumerError of another transport."""
    consumer = app.consumer
    if not isinstance(consumer, StrictConsumer):
        raise StrictConsumerError(f"broker URL: use {SCHEME}://host:port")
    return consumer


class Position(NamedTuple):
    """Where a partition is. All are offsets; None where not known yet.

    position : fetched next
    committed : processed at least up to here, as the server knows
    highwater : end of what can be read
    """

    position: int | None
    committed: int | None
    highwater: int | None


class _Message(ConsumerMessage):
    """Faust's envelope of a batch. Streams set `tracked` on what they hand to an agent."""

    __slots__ = ()

    def _is_taken(self) -> bool:
        return bool(cast(Any, self.value).is_taken)

    def _take(self, value: bool) -> None:
        cast(Any, self.value).is_taken = value

    tracked: Any = property(_is_taken, _take)


class StrictConsumer(Consumer):
    """The part that knows what was done; how to reach a server is a subclass's.

    It takes over the whole of Faust's bookkeeping of messages, gaps and acknowledgements: none of
    it is asked. A partition's batches live in a flow, which is replaced at every assignment and
    seek, so that what belongs to an older one cannot be mistaken for the new one's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.in_transaction:
            raise StrictConsumerError("processing_guarantee: must be at_least_once")
        self.options = _OPTIONS.get(self.app, StrictOptions())
        self._flows: dict[TP, PartitionFlow] = {}
        self._fetching = asyncio.Lock()  # who has it knows that no fetch is under way
        self._committing = asyncio.Lock()
        self._progress = asyncio.Event()
        self._has_failed = False

    # What a server's driver does.

    async def _take(self, tps: set[TP], seconds: float) -> Mapping[TP, Sequence[Any]]:
        """Fetch, in order and each record once; nothing while the flow is stopped."""
        raise NotImplementedError

    async def _commit_in(self, offsets: Mapping[TP, int], generation: int) -> bool:
        """Commit as a member of this generation; False where that was refused or failed."""
        raise NotImplementedError

    async def _committed(self, tps: Iterable[TP]) -> Mapping[TP, int | None]:
        """What the server has of the group."""
        raise NotImplementedError

    # Fetching.

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                for message in await self._next_messages():
                    if not self.flow_active:
                        break  # all of them are void, or will be at once
                    if cast(Batch, message.value).is_void:
                        continue  # its partition was sought; those of others are not
                    await self.wait_first(self.callback(message), self.suspend_flow.wait())
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            # What the cancelled fetch took would be missing from now on: nobody may go on.
            if not self.app.should_stop:
                await self._fail(StrictConsumerError("a fetch was cancelled: start again"))
        except Exception as error:
            await self._fail(error)
            raise

    async def _next_messages(self) -> list[_Message]:
        if not self.flow_active:
            await self.wait_first(self.can_resume_flow.wait(), timeout=FETCH_SECONDS_MAX)
            return []
        async with self._fetching:
            active = self._get_active_partitions()
            room = {tp for tp, flow in self._flows.items() if flow.has_room and tp in active}
            if room:
                taken = await self._take(room, FETCH_SECONDS_MAX)
                return [self._message(tp, records) for tp, records in taken.items()]
        await self._wait_for_progress(FETCH_SECONDS_MAX)
        return []

    def _message(self, tp: TP, records: Sequence[Any]) -> _Message:
        batch = self._flows[ensure_TP(tp)].take(records)
        self.app.monitor.track_tp_end_offset(tp, self.highwater(tp) or 0)
        return _Message(
            batch.topic,
            batch.partition,
            batch.last,
            records[-1].timestamp / 1000.0,
            0,
            None,
            None,
            cast(Any, batch),
            None,
            0,
            batch.size_bytes,
            tp=ensure_TP(tp),
            generation_id=self.app.consumer_generation_id,
        )

    async def _wait_for_progress(self, seconds: float) -> None:
        self._progress.clear()
        # Not wait_for: in 3.11 it swallows a cancel that comes with the progress.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._progress.wait()

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: flows say what may be fetched."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing: flows say what may be fetched."""

    # Assignments.

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start anew with these partitions, where the group left off. Faust resumes the flow, by
        way of `perform_seek`, once this is over."""
        self._void_all()
        self._flows = {tp: self._new_flow(tp, generation_id) for tp in ensure_TPset(assigned)}
        await super().on_partitions_assigned(assigned, generation_id)

    def _new_flow(self, tp: TP, generation: int) -> PartitionFlow:
        return PartitionFlow(
            Partition(tp.topic, tp.partition),
            generation,
            batches_max=self.options.batches_in_flight_max,
            bytes_max=self.options.bytes_in_flight_max,
            on_progress=self._progress.set,
        )

    async def perform_seek(self) -> None:
        """Before the flow is resumed: positions are the committed ones already, so the application
        is told, and may seek."""
        flows = self._flows
        for tp, offset in (await self._committed(flows)).items():
            flows[tp].committed = offset
        await self._call(self.options.on_assigned, flows)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let go of everything, when Faust has stopped the flow and called `wait_empty`."""
        await super().on_partitions_revoked(revoked)
        self._void_all()

    async def wait_empty(self) -> None:
        """Let agents finish what they have, within `finish_seconds_max`, commit what is done, and
        let go of the rest. Faust calls it with the flow stopped, at a rebalance and at the end."""
        async with self._fetching:
            pass  # a fetch that was under way is in the flows now, and none begins
        end = time.monotonic() + self.options.finish_seconds_max
        while self._is_worked_on() and (left := end - time.monotonic()) > 0:
            await self._wait_for_progress(left)
        if not self._has_failed:
            await self.commit()
        flows = self._void_all()
        if flows:
            await self._call(self.options.on_revoked, flows)

    def _is_worked_on(self) -> bool:
        return not self._has_failed and any(flow.is_worked_on for flow in self._flows.values())

    def _void_all(self) -> dict[TP, PartitionFlow]:
        flows, self._flows = self._flows, {}
        for flow in flows.values():
            flow.void()
        return flows

    async def _call(self, hook: PartitionsHook | None, flows: Iterable[TP]) -> None:
        if hook is None or self._has_failed:
            return
        try:
            async with asyncio.timeout(self.options.hook_seconds_max):
                await hook({Partition(tp.topic, tp.partition) for tp in flows})
        except Exception as error:
            await self._fail(error)
            raise

    async def seek(self, partition: TP | Partition, offset: int) -> None:
        """Go on from an offset of a partition that is ours, back or forward. What is in flight of
        it becomes void, and the offset is what is committed next, also where it is lower.

        Waits for a fetch under way, at most FETCH_SECONDS_MAX. Raises StrictConsumerError where the
        partition is not ours, or the offset negative.
        """
        tp = TP(partition.topic, partition.partition)
        if offset < 0:
            raise StrictConsumerError(f"{tp.topic}[{tp.partition}]: offset {offset} is negative")
        async with self._fetching:
            old = self._flows.get(tp)
            if old is None:
                raise StrictConsumerError(f"{tp.topic}[{tp.partition}]: is not ours: cannot seek")
            await self._seek(tp, offset)
            flow = self._new_flow(tp, old.generation)
            flow.position = flow.committable = offset
            flow.committed = old.committed
            old.void()
            self._flows[tp] = flow
        self._progress.set()

    def positions(self) -> dict[Partition, Position]:
        """Where every partition that is ours is."""
        return {
            flow.tp: Position(flow.position, flow.committed, self.highwater(tp))
            for tp, flow in self._flows.items()
        }

    # Committing.

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit, for every partition, what is done with nothing before it that is not. True where
        there was something, and the server took it."""
        async with self._committing:
            self._forget_acks()
            flows = {tp: flow for tp, flow in self._flows.items() if flow.to_commit is not None}
            if not flows:
                return False
            offsets = {tp: cast(int, flow.to_commit) for tp, flow in flows.items()}
            generation = next(iter(flows.values())).generation
            try:
                if not await self._commit_in(offsets, generation):
                    return False
            except (ConsumerStoppedError, TimeoutError):  # the client ended before us
                return False
            for tp, flow in flows.items():
                flow.committed = offsets[tp]
            self.app.monitor.on_tp_commit(offsets)
            return True

    def _forget_acks(self) -> None:
        """Faust's streams note what they acknowledge; here nobody reads it."""
        self._acked.clear()
        self._acked_index.clear()

    def ack(self, message: Any) -> bool:
        """Nothing but Faust's own mark: that a stream is through with an event says nothing."""
        message.acked = True
        return False

    async def verify_all_partitions_active(self) -> None:
        """End the process where a partition has stood still for too long: its agent has lost a
        batch, or will never finish it."""
        for tp, flow in self._flows.items():
            if flow.stalled_seconds() > self.options.batch_seconds_max:
                await self._fail(
                    StrictConsumerError(
                        f"{tp.topic}[{tp.partition}]: nothing was done for "
                        f"{self.options.batch_seconds_max:.0f} s behind offset {flow.committable}"
                    )
                )
                return

    async def on_task_error(self, exc: BaseException) -> None:
        """An agent raised: what it had is not done and never will be, so the process ends."""
        await self._fail(exc)

    async def _fail(self, error: BaseException) -> None:
        """End the process. What is done is committed first: a crash stops the client at once."""
        if not self._has_failed:
            self._has_failed = True
            await self.commit()
        await self.crash(error)


def answer_when(fetcher: Any, options: StrictOptions) -> None:
    """Say to a client's fetcher when the server is to answer from now on."""
    may_wait = options.may_wait()
    fetcher._fetch_min_bytes = FULL_FETCH_BYTES if may_wait else 1
    fetcher._fetch_max_wait_ms = FULL_FETCH_MS if may_wait else options.fetch_wait_ms


class _Thread(driver.AIOKafkaConsumerThread):
    """The client, in a thread with a loop of its own: heartbeats go on while agents compute."""

    _taken_at = 0.0

    def _create_worker_consumer(self, transport: driver.Transport) -> Any:
        conf = self.app.conf
        options = cast(StrictConsumer, self.consumer).options
        servers: Any = driver.server_list(transport.url, transport.default_port)
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=servers,
            partition_assignment_strategy=[StickyAssignor()],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=options.partition_fetch_bytes_max,
            fetch_max_bytes=options.fetch_bytes_max,
            fetch_max_wait_ms=options.fetch_wait_ms,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_committed" if options.read_committed else "read_uncommitted",
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def take(self, tps: set[TP], seconds: float) -> Mapping[TP, Sequence[Any]]:
        """Fetch. Whether to and what there is are looked at in one step of this loop: nothing is
        taken that a rebalance or the flow's stop has left behind, and nothing is lost."""
        client: Any = self._ensure_consumer()
        fetcher, subscriptions = client._fetcher, client._subscription
        fetcher._prefetch_backoff = PREFETCH_SECONDS
        answer_when(fetcher, cast(StrictConsumer, self.consumer).options)
        await asyncio.sleep(self._taken_at + TAKE_SECONDS_MIN - time.monotonic())
        end = time.monotonic() + seconds
        with subscriptions.fetch_context():
            while self.consumer.flow_active and not subscriptions.reassignment_in_progress:
                if client._closed or fetcher._closed:
                    raise ConsumerStoppedError
                client._coordinator.check_errors()
                records = await fetcher.fetched_records(tps, 0, RECORDS_A_FETCH_MAX)
                left = end - time.monotonic()
                if records or left <= 0:
                    self._taken_at = time.monotonic()
                    return {ensure_TP(tp): found for tp, found in records.items()}
                waiter = fetcher._create_fetch_waiter()
                done, _ = await asyncio.wait([waiter], timeout=min(left, FETCH_SLICE_SECONDS))
                if done:
                    waiter.result()
                waiter.cancel()
        await asyncio.sleep(FETCH_SLICE_SECONDS)
        return {}

    async def commit_in(self, offsets: Mapping[TP, int], generation: int) -> bool:
        """Commit in one attempt. The generation is compared in the step that makes the request, so
        that a newer one never vouches for what an older one did."""
        coordinator: Any = self._ensure_consumer()._coordinator
        found = {
            TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
        }
        try:
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                await coordinator.ensure_coordinator_known()
                async with coordinator._commit_lock:
                    if coordinator.generation != generation:
                        return False
                    await coordinator._do_commit_offsets(None, found)
        except (KafkaError, TimeoutError) as error:
            self.log.warning("not committed, to be tried again: %s", type(error).__name__)
            return False
        return True

    async def committed(self, tps: Iterable[TP]) -> Mapping[TP, int | None]:
        """Offsets that the server has of the group; None where it has none."""
        coordinator: Any = self._ensure_consumer()._coordinator
        wanted = [TopicPartition(tp.topic, tp.partition) for tp in tps]
        async with asyncio.timeout(COMMIT_SECONDS_MAX):
            found = await coordinator.fetch_committed_offsets(wanted)
        return {
            ensure_TP(tp): found[tp].offset if tp in found and found[tp].offset >= 0 else None
            for tp in wanted
        }

    async def seek_here(self, tp: TP, offset: int) -> None:
        """Seek, in the thread that the client belongs to."""
        self._ensure_consumer().seek(TopicPartition(tp.topic, tp.partition), offset)


class KafkaConsumer(StrictConsumer, driver.Consumer):
    """The strict consumer on aiokafka."""

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    @property
    def _client(self) -> _Thread:
        return cast(_Thread, self._thread)

    async def _take(self, tps: set[TP], seconds: float) -> Mapping[TP, Sequence[Any]]:
        return await self._there(self._client.take(tps, seconds))

    async def _commit_in(self, offsets: Mapping[TP, int], generation: int) -> bool:
        return await self._there(self._client.commit_in(offsets, generation))

    async def _committed(self, tps: Iterable[TP]) -> Mapping[TP, int | None]:
        return await self._there(self._client.committed(list(tps)))

    async def _seek(self, partition: TP, offset: int) -> None:
        await self._there(self._client.seek_here(partition, offset))

    async def _there(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        """Await something in the client's thread. Not by way of Faust's queue of calls: that one
        ends with the first error anywhere, and who waits in it waits for ever."""
        if self._client.should_stop:
            call.close()
            raise ConsumerStoppedError
        future = asyncio.run_coroutine_threadsafe(call, self._client.thread_loop)
        async with asyncio.timeout(CALL_SECONDS_MAX):
            return await asyncio.wrap_future(future)

    def highwater(self, tp: TP) -> int:
        """End of what can be read, None before the first fetch."""
        client = self._client._ensure_consumer()
        partition = TopicPartition(tp.topic, tp.partition)
        if self.options.read_committed:
            return cast(int, client.last_stable_offset(partition))
        return cast(int, client.highwater(partition))


class Transport(driver.Transport):
    """What Faust makes consumers and producers with, for reassoc:// URLs."""

    Consumer: ClassVar[type[Any]] = KafkaConsumer
