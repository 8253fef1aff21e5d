"""The bus in memory, with the contract of the real one (`tests/integration/bus_contract` runs over both).

One `MemoryServer` is shared; each process has a `MemoryBus` of its own with its name. Bytes go through the real codec.
Before and after every effect the bus asks the weather, so that a simulator can delay, lose, repeat or crash there.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from holdfast.bus import codec, streams, subjects
from holdfast.bus.api import Delivery, Entry, Handler, Listener, Message, PendingInput, Subscription
from holdfast.bus.codec import BlobInput
from holdfast.bus.commits import Commit, Stored
from holdfast.bus.errors import Absent, BusError, Conflict, NoResponders, Refused, TooLarge, Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.inputs import AnyInput
from holdfast.testing.memory_server import Ear, Heard, MemoryServer, Puller, Record, matches

log = structlog.get_logger()

T = TypeVar("T")

DELIVERY: contextvars.ContextVar["MemoryDelivery | None"] = contextvars.ContextVar("delivery", default=None)
"""The delivery that the running task handles: tells a checker on whose behalf something was written."""

SILENCE = 5.0
PAGE = 500


class _Closable:
    def __init__(self, close: Callable[[], None]) -> None:
        self._on_close = close

    def stop(self) -> None:
        self._on_close()

    async def close(self) -> None:
        self.stop()


class _Ask(Heard, frozen=True, kw_only=True):
    """A request on its way; `answered` False: its answer is lost."""

    answer: "asyncio.Future[bytes | BusError]"
    answered: bool


class MemoryDelivery:
    """`api.Delivery` in memory."""

    def __init__(self, bus: "MemoryBus", record: Record, count: int) -> None:
        self._bus = bus
        self._record = record
        self.count = count

    @property
    def key(self) -> Key:
        return self._record.key

    @property
    def seq(self) -> int:
        return self._record.seq

    def waiting(self) -> PendingInput:
        return self._bus.decoded(self._record)

    async def ack(self, *, sure: bool = True) -> None:
        how = self._bus.effect if sure else self._bus.best_effort
        await how("ack", lambda: self._bus.server.ack(self.seq))

    async def nak(self, delay: float = 0.0) -> None:
        await self._bus.best_effort("nak", lambda: self._bus.server.nak(self.seq, delay))

    async def beat(self) -> None:
        await self._bus.best_effort("beat", lambda: self._bus.server.beat(self.seq))


class _Consuming:
    """One consumer loop of one process."""

    def __init__(self, bus: "MemoryBus", handle: Callable[[Delivery], Awaitable[None]], limit: int) -> None:
        self._bus = bus
        self._handle = handle
        self._puller = Puller(limit, self._take, bus.name)
        self._context = contextvars.copy_context()
        self._running: dict[asyncio.Task[None], MemoryDelivery] = {}

    async def run(self, stop: asyncio.Event) -> None:
        self._bus.at_death(self._stop)
        beating = asyncio.create_task(self._beats())
        try:
            await self._bus.pause("consume")
            self._bus.server.pull(self._puller)
            await stop.wait()
            self._stop()
            if self._running:
                await asyncio.wait(list(self._running))
        finally:
            self._stop()
            beating.cancel()

    def _stop(self) -> None:
        self._bus.server.stop_pulling(self._puller)

    def _take(self, record: Record, count: int) -> None:
        delivery = MemoryDelivery(self._bus, record, count)
        task = self._context.run(asyncio.create_task, self._run(delivery))
        self._running[task] = delivery
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._puller.free += 1
        self._bus.server.deliver()

    async def _run(self, delivery: MemoryDelivery) -> None:
        DELIVERY.set(delivery)
        try:
            await self._bus.pause("delivered")
            await self._handle(delivery)
        except Exception:
            log.exception("consume.handler_failed", session=delivery.key.session, seq=delivery.seq)

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(streams.BEAT)
            for delivery in list(self._running.values()):
                await delivery.beat()


class MemoryBus:
    """`api.Bus` in memory."""

    def __init__(self, server: MemoryServer, name: str = "test") -> None:
        self.server = server
        self.name = name
        self.dead = False
        self._undo: list[Callable[[], None]] = []

    # --- the way to the server and back ----------------------------------------------------------------------------

    def kill(self) -> None:
        """From now on nothing this process does has an effect, and nothing reaches it."""
        self.dead = True
        for undo in self._undo:
            undo()

    def at_death(self, undo: Callable[[], None]) -> None:
        """Call `undo` when the process dies or closes the bus."""
        self._undo.append(undo)

    async def close(self) -> None:
        self.kill()

    def alive(self) -> None:
        """Raises CancelledError in a process that is dead: its tasks are to end."""
        if self.dead:
            raise asyncio.CancelledError

    async def pause(self, what: str) -> None:
        self.alive()
        await self.server.weather.pause(self.name, what)
        self.alive()

    async def effect(self, what: str, act: Callable[[], T]) -> T:
        """Carry `act` out at the server. Raises Unavailable when the weather says that its answer does not come."""
        weather = self.server.weather
        await self.pause(what)
        match weather.fate(self.name, what):
            case "good":
                answer = act()
                await self.pause(f"{what}:answer")
                return answer
            case "lost":
                pass
            case "unanswered":
                _quietly(act)
            case "late":
                asyncio.get_running_loop().call_later(weather.delay(self.name, what), _quietly, act)
        await self.pause(f"{what}:silence")
        raise Unavailable(f"{what}: no answer")

    async def best_effort(self, what: str, act: Callable[[], object]) -> None:
        await self.pause(what)
        match self.server.weather.fate(self.name, what):
            case "lost":
                return
            case "late":
                asyncio.get_running_loop().call_later(self.server.weather.delay(self.name, what), act)
            case _:
                act()

    def _until(self, what: str) -> float:
        """Only what was stored before this time is seen."""
        return self.server.now() - self.server.weather.lag(self.name, what)

    def _listen(self, pattern: str, hear: Callable[[Heard], None], queue: str = "") -> _Closable:
        self.alive()
        ear = Ear(pattern, queue, hear, contextvars.copy_context())
        self.server.listen(ear)

        def undo() -> None:
            self.server.deaf(ear)

        self._undo.append(undo)
        return _Closable(undo)

    # --- log -------------------------------------------------------------------------------------------------------

    async def append(self, key: Key, commit: Commit, expect: int) -> int:
        data, bodies = codec.encode_commit(commit)
        for body in bodies:
            await self.pause("blob")
            self.server.blobs[body.ref] = body.data
        return await self.effect("append", lambda: self.server.append(key, data, commit.id, expect))

    def _seen(self, key: Key, what: str, *, leader: bool) -> list[Record]:
        until = float("inf") if leader else self._until(what)
        return [record for record in self.server.commits(key) if record.at <= until]

    async def head(self, key: Key, *, leader: bool = False) -> Stored | None:
        await self.pause("head")
        seen = self._seen(key, "head", leader=leader)
        await self.pause("head:answer")
        return Stored(seen[-1].seq, codec.decode_commit(seen[-1].data)) if seen else None

    async def read(self, key: Key, after: int = 0, *, leader: bool = False) -> list[Stored]:
        await self.pause("read")
        found = [self._stored(r) for r in self._seen(key, "read", leader=leader) if r.seq > after]
        await self.pause("read:answer")
        return found

    async def pages(self, key: Key, after: int = 0) -> AsyncIterator[list[Stored]]:
        found = await self.read(key, after)
        for start in range(0, len(found), PAGE):
            yield found[start : start + PAGE]

    async def get(self, key: Key, seq: int) -> Stored | None:
        await self.pause("get")
        record = next((r for r in self.server.commits(key) if r.seq == seq), None)
        await self.pause("get:answer")
        return self._stored(record) if record else None

    def _stored(self, record: Record) -> Stored:
        commit = codec.decode_commit(record.data)
        blobs = codec.blob_refs(commit)
        if blobs:
            commit = codec.put_back(commit, {b.ref: self._blob(b.ref) for b in blobs})
        return Stored(record.seq, commit)

    def _blob(self, ref: str) -> bytes:
        if ref not in self.server.blobs:
            raise Absent(f"the body {ref} is not in the object store")
        return self.server.blobs[ref]

    async def tail(self, key: Key, after: int | None = None) -> AsyncIterator[Stored | None]:
        news: asyncio.Queue[int] = asyncio.Queue()
        listening = self._listen(subjects.live(key), lambda heard: news.put_nowait(heard.seq))
        try:
            await self.pause("tail")
            mine = self.server.commits(key)
            at = after if after is not None else (mine[-1].seq if mine else 0)
            yield None
            while True:
                for record in [r for r in self.server.commits(key) if r.seq > at]:
                    yield self._stored(record)
                    at = record.seq
                if not await _within(SILENCE, news):
                    yield None
                await self.pause("tail:heard")
        finally:
            await listening.close()

    async def follow(self, cell: str, after: int = 0) -> AsyncIterator[list[tuple[Key, Stored]]]:
        news: asyncio.Queue[int] = asyncio.Queue()
        listening = self._listen(subjects.ALL_LIVE, lambda heard: news.put_nowait(heard.seq))
        at, quiet = after, True
        try:
            while True:
                await self.pause("follow")
                found = [r for r in self.server.log if r.seq > at and r.key.cell == cell]
                for start in range(0, len(found), PAGE):
                    page = found[start : start + PAGE]
                    yield [(r.key, Stored(r.seq, codec.decode_commit(r.data))) for r in page]
                    at = page[-1].seq
                if quiet:
                    yield []
                quiet = not await _within(SILENCE, news)
        finally:
            await listening.close()

    # --- inbox -----------------------------------------------------------------------------------------------------

    async def put_input(self, key: Key, value: AnyInput) -> int:
        data, body = codec.encode_input(value)
        if body:
            await self.pause("blob")
            self.server.blobs[body.ref] = body.data
        return await self.effect("put_input", lambda: self.server.put(key, data, value.id))

    async def incarnation(self, cell: str) -> str:
        await self.pause("incarnation")
        return self.server.incarnation

    async def waiting(self, key: Key, above: int, *, upto: int = 0) -> list[PendingInput]:
        await self.pause("waiting")
        until = self._until("waiting")
        now = [r for r in self.server.inbox.values() if r.at <= until]
        gone = [r for r in self.server.removed if r.at <= until < r.removed]
        seen = sorted((r for r in now + gone if r.key == key and r.seq > above), key=lambda r: r.seq)
        reached = max((r.seq for r in seen), default=0)
        if reached < upto:
            seen += [
                r for s, r in sorted(self.server.inbox.items()) if r.key == key and max(above, reached) < s <= upto
            ]
        found = [self.decoded(r) for r in seen]
        await self.pause("waiting:answer")
        return found

    def decoded(self, record: Record) -> PendingInput:
        """An inbox message with its body put back."""
        self.server.weather.read(self.name, record.data)
        data = record.data
        try:
            value = codec.decode_input(data)
            if isinstance(value, BlobInput):
                data = self._blob(value.ref)
                value = codec.decode_input(data)
        except (Refused, Absent) as exc:
            log.warning("inbox.unreadable", seq=record.seq, error=str(exc))
            return PendingInput(record.seq, data, None)
        return PendingInput(record.seq, data, None if isinstance(value, BlobInput) else value)

    async def consume(
        self, cell: str, handle: Callable[[Delivery], Awaitable[None]], stop: asyncio.Event, *, limit: int
    ) -> None:
        await _Consuming(self, handle, limit).run(stop)

    async def on_arrival(self, key: Key, listener: Callable[[PendingInput], None]) -> Subscription:
        await self.pause("on_arrival")
        weather, loop = self.server.weather, asyncio.get_running_loop()

        def hear(heard: Heard) -> None:
            record = Record(heard.seq, key, heard.data, self.server.now())
            times = 0 if weather.fate(self.name, "arrival") == "lost" else 1 + weather.twice(self.name, "arrival")
            for _ in range(times):
                loop.call_later(weather.delay(self.name, "arrival"), tell, record, heard.previous)

        def tell(record: Record, previous: int) -> None:
            if not self.dead:
                with contextlib.suppress(asyncio.CancelledError):  # it died of reading
                    listener(replace(self.decoded(record), previous=previous))

        return self._listen(subjects.arrived(key), hear)

    # --- buckets ---------------------------------------------------------------------------------------------------

    async def kv_get(self, bucket: str, key: str, *, leader: bool = True) -> Entry | None:
        await self.pause("kv_get")
        entry = self.server.buckets[bucket].get(key)
        await self.pause("kv_get:answer")
        return entry if entry and entry.value is not None else None

    async def kv_put(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        subjects.bucket_key(key)
        return await self.effect("kv_put", lambda: self.server.kv_write(bucket, key, value, ttl=ttl))

    async def kv_create(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        subjects.bucket_key(key)
        return await self.effect("kv_create", lambda: self.server.kv_write(bucket, key, value, ttl=ttl, expect=0))

    async def kv_update(self, bucket: str, key: str, value: bytes, revision: int) -> int:
        return await self.effect("kv_update", lambda: self.server.kv_write(bucket, key, value, expect=revision))

    async def kv_delete(self, bucket: str, key: str) -> None:
        await self.effect("kv_delete", lambda: self.server.kv_write(bucket, key, None))

    async def kv_list(self, bucket: str, match: str = ">") -> list[Entry]:
        await self.pause("kv_list")
        found = self._living(bucket, match)
        await self.pause("kv_list:answer")
        return found

    def _living(self, bucket: str, match: str) -> list[Entry]:
        pattern = subjects.bucket_changes(bucket, match)
        entries = self.server.buckets[bucket].values()
        return [e for e in entries if e.value is not None and matches(pattern, subjects.bucket_changes(bucket, e.key))]

    async def kv_watch(self, bucket: str, match: str = ">") -> AsyncIterator[Entry | None]:
        heard: asyncio.Queue[Entry] = asyncio.Queue()
        listening = self._listen(
            subjects.bucket_changes(bucket, match),
            lambda h: heard.put_nowait(msgspec.msgpack.decode(h.data, type=Entry)),
        )
        try:
            await self.pause("kv_watch")
            known: dict[str, int] = {}
            for entry in self._living(bucket, match):
                known[entry.key] = entry.revision
                yield entry
            yield None
            while True:
                entry = await heard.get()
                await self.pause("kv_watch:heard")
                if entry.revision <= known.get(entry.key, 0):
                    continue
                if entry.value is not None:
                    known[entry.key] = entry.revision
                elif not known.pop(entry.key, 0):
                    continue
                yield entry
        finally:
            await listening.close()

    # --- core ------------------------------------------------------------------------------------------------------

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:  # noqa: ASYNC109
        self._fits(data)
        weather, loop = self.server.weather, asyncio.get_running_loop()
        await self.pause("request")
        if not self.server.hearers(subject):
            raise NoResponders(f"nobody listens on {subject}")
        answer: asyncio.Future[bytes | BusError] = loop.create_future()
        fate = weather.fate(self.name, "request")
        ask = _Ask(subject, data, answer=answer, answered=fate != "unanswered")
        times = 0 if fate == "lost" else 1 + weather.twice(self.name, "request")
        for nth in range(times):
            wait = weather.delay(self.name, "request") if fate == "late" or nth else 0.0
            loop.call_later(wait, self._reach, ask)
        try:
            async with asyncio.timeout(timeout):
                got = await answer
        except TimeoutError:
            raise Unavailable(f"no answer on {subject} within {timeout} s") from None
        await self.pause("request:answer")
        if isinstance(got, BusError):
            raise got
        return got

    def _reach(self, ask: "_Ask") -> None:
        for ear in self.server.hearers(ask.subject):
            ear.context.run(ear.hear, ask)

    async def serve(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        await self.pause("serve")
        loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        async def answer(ask: _Ask) -> None:
            result: bytes | BusError
            try:
                await self.pause("served")
                result = await handler(ask.data)
            except BusError as exc:
                result = exc if isinstance(exc, Conflict) else type(exc)("refused by the other side")
            except Exception:
                log.exception("bus.request_failed", subject=subject)
                result = Unavailable("an error of the service")
            await self.pause("served:answer")
            if ask.answered and not ask.answer.done():
                ask.answer.set_result(result)

        def hear(heard: Heard) -> None:
            unasked = _Ask(heard.subject, heard.data, answer=loop.create_future(), answered=False)
            task = loop.create_task(answer(heard if isinstance(heard, _Ask) else unasked))
            running.add(task)
            task.add_done_callback(running.discard)

        return self._listen(subject, hear, queue)

    async def publish(self, subject: str, data: bytes) -> None:
        self._fits(data)
        await self.best_effort("publish", lambda: self.server.say(Heard(subject, data)))

    async def subscribe(self, subject: str, listener: Listener) -> Subscription:
        await self.pause("subscribe")
        heard: asyncio.Queue[Heard] = asyncio.Queue()

        async def tell() -> None:
            while True:
                message = await heard.get()
                await self.pause("heard")
                try:
                    await listener(Message(message.subject, message.data))
                except Exception:
                    log.exception("bus.listener_failed", subject=message.subject)

        telling = asyncio.create_task(tell())
        listening = self._listen(subject, heard.put_nowait)

        def close() -> None:
            listening.stop()
            telling.cancel()

        self._undo.append(close)
        return _Closable(close)

    @staticmethod
    def _fits(data: bytes) -> None:
        if len(data) > streams.MAX_MESSAGE:
            raise TooLarge(f"{len(data)} bytes are over the limit of the server")


def _quietly(act: Callable[[], object]) -> None:
    """Nobody hears the answer, not even a refusal."""
    try:
        act()
    except BusError:
        return


async def _within(seconds: float, queue: "asyncio.Queue[int]") -> bool:
    try:
        async with asyncio.timeout(seconds):
            await queue.get()
    except TimeoutError:
        return False
    return True
