"""The output of calls while they run, published for their session alone."""

import msgspec

from holdfast.bus import subjects
from holdfast.bus.api import Message
from holdfast.bus.commands import Output
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.client import NatsBus
from tests.support.eventually import eventually
from tests.support.sandbox import DrivenSession, WorkerProcess, text_of


async def output_of(bus: NatsBus, key: Key) -> list[Output]:
    """The output published for that session from now on; the list grows."""
    found: list[Output] = []

    async def hear(message: Message) -> None:
        found.append(msgspec.json.decode(message.data, type=Output))

    await bus.core.subscribe(subjects.output(key), hear)
    return found


async def test_the_output_of_a_running_call_is_published_for_its_session_alone(
    worker: WorkerProcess, bus: NatsBus, session: DrivenSession
) -> None:
    other = DrivenSession(bus)
    await other.begin()
    heard, heard_other = await output_of(bus, session.key), await output_of(bus, other.key)
    await session.bind()
    await other.bind()
    command = {"command": "echo one; until [ -e go ]; do sleep 0.02; done; echo two"}
    call = await session.open("bash", command)
    assert await session.execute(call, "bash", command) == "accepted"

    async def one() -> bool:
        return "".join(o.text for o in heard) == "one\n"

    await eventually(one)
    write = {"file_path": "go", "content": ""}
    second = await session.open("write", write)
    assert await session.execute(second, "write", write) == "result"
    assert text_of(await session.result(call)) == "one\ntwo\n"
    at = 0
    for output in heard:
        assert (output.call, output.at) == (call, at)
        at += len(output.text)
    assert not heard_other


async def test_a_call_that_is_refused_prints_nothing(
    worker: WorkerProcess, bus: NatsBus, session: DrivenSession
) -> None:
    heard = await output_of(bus, session.key)
    await session.bind()
    slow = {"command": "echo never; sleep 0.5"}
    call = await session.open("bash", slow)
    assert await session.cancel(call) == "cancelled"
    assert await session.execute(call, "bash", slow) == "refused"
    assert await session.bash("echo printed; sleep 0.5") == "printed\n"

    async def printed() -> bool:
        return "".join(o.text for o in heard) == "printed\n"

    await eventually(printed)
