"""The output of a running call on its way to the bus."""

import asyncio

import msgspec

from holdfast.bus.commands import Output
from holdfast.bus.errors import Unavailable
from holdfast.bus.ids import Key
from holdfast.sandbox.live_output import CALL_OUTPUT_CHARS, UNSENT_OUTPUT_CHARS, LiveOutput
from tests.support.eventually import eventually


class SlowCore:
    """Publishes once `free` is set; fails if `fails`."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.sent: list[Output] = []
        self.fails = False

    async def publish(self, subject: str, data: bytes) -> None:
        assert subject == "out.a0.acme.sesn_a0_1"
        await self.free.wait()
        if self.fails:
            raise Unavailable("it is gone")
        self.sent.append(msgspec.json.decode(data, type=Output))


def output_on(core: SlowCore) -> LiveOutput:
    return LiveOutput(core, Key("acme", "sesn_a0_1"), "sevt_1")  # type: ignore[arg-type]


async def test_output_is_published_in_order_and_says_where_it_stands() -> None:
    core = SlowCore()
    core.free.set()
    output = output_on(core)
    for text in ("one\n", "two\n"):
        output.add(text)
        await eventually(lambda text=text: _ended_with(core, text))
    assert [(o.call, o.at) for o in core.sent] == [("sevt_1", 0), ("sevt_1", 4)]


async def _ended_with(core: SlowCore, text: str) -> bool:
    return bool(core.sent) and core.sent[-1].text == text


async def test_a_slow_bus_never_waits_and_loses_only_the_end() -> None:
    core = SlowCore()
    output = output_on(core)
    for _ in range(100):
        output.add("x" * 10_000)  # returns at once
    core.free.set()

    async def all_sent() -> bool:
        return sum(len(o.text) for o in core.sent) >= UNSENT_OUTPUT_CHARS - 10_000

    await eventually(all_sent)
    at = 0
    for sent in core.sent:
        assert sent.at == at
        at += len(sent.text)
    output.add("more")
    await asyncio.sleep(0)
    assert sum(len(o.text) for o in core.sent) == at <= UNSENT_OUTPUT_CHARS


async def test_no_call_publishes_without_end() -> None:
    core = SlowCore()
    core.free.set()
    output = output_on(core)
    for n in range(60):
        output.add("x" * 10_000)
        await eventually(lambda n=n: _reached(core, min(n + 1, CALL_OUTPUT_CHARS // 10_000) * 10_000))
    assert sum(len(o.text) for o in core.sent) <= CALL_OUTPUT_CHARS


async def _reached(core: SlowCore, count: int) -> bool:
    return sum(len(o.text) for o in core.sent) >= count


async def test_after_the_end_of_the_call_nothing_is_published() -> None:
    core = SlowCore()
    output = output_on(core)
    output.add("x")
    await asyncio.sleep(0)
    output.close()
    output.add("y")
    core.free.set()
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == "live-output"]
    await asyncio.gather(*tasks, return_exceptions=True)
    assert core.sent == []


async def test_a_bus_that_fails_ends_the_output_alone() -> None:
    core = SlowCore()
    core.fails = True
    core.free.set()
    output = output_on(core)
    output.add("x")

    async def ended() -> bool:
        return not [task for task in asyncio.all_tasks() if task.get_name() == "live-output"]

    await eventually(ended)
    core.fails = False
    output.add("y")
    await asyncio.sleep(0)
    assert core.sent == []
