"""The output of a running command: cut by the agent, checked and published by the service."""

import asyncio
from random import Random

import msgspec
import pytest

from holdfast.bus.commands import Output
from holdfast.bus.errors import Unavailable
from holdfast.bus.ids import Key
from holdfast.sandbox import live_output
from holdfast.sandbox.agent.live_output import LIVE_OUTPUT_BYTES, PIECE_CHARS, Pieces
from holdfast.sandbox.agent.text import clean
from holdfast.sandbox.drivers import frames
from holdfast.sandbox.drivers.frames import OutputFrame, ProtocolViolation
from holdfast.sandbox.live_output import LiveOutput
from tests.support.eventually import eventually

PRINTED = (
    "plain\n", "grün 漢字 🙂", "a\r\n", "10%\r20%\r", "\x1b[1;31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]8;;x\x1b\\link",
    "\x00\x07\x7f", "\u202eevil", "\x9b31m", "\x1b(B", "\r\x1b[K", "\n", "x" * 50,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(200))
def test_however_it_is_cut_the_pieces_are_a_prefix_of_the_result(seed: int) -> None:
    random = Random(seed)
    data = "".join(random.choices(PRINTED, k=random.randint(1, 30))).encode()
    pieces, shown, at = Pieces(), "", 0
    while at < len(data):
        more = random.randint(1, 12)
        pieces.add(data[at : at + more])
        at += more
        if random.random() < 0.5:
            shown += pieces.take()
    whole = clean(data, terminal=True)
    while piece := pieces.take():
        shown += piece
    assert whole.startswith(shown)
    pieces.add(b"~end of it")
    while piece := pieces.take():
        shown += piece
    assert shown == clean(data + b"~end of it", terminal=True)


def test_much_is_cut_into_pieces_and_ends() -> None:
    pieces = Pieces()
    for _ in range(100):
        pieces.add(b"y\n" * 50_000)
    found: list[str] = []
    while piece := pieces.take():
        found.append(piece)
    assert max(map(len, found)) == PIECE_CHARS
    assert len("".join(found)) == LIVE_OUTPUT_BYTES


def test_an_escape_sequence_without_an_end_does_not_hold_the_output_for_ever() -> None:
    pieces = Pieces()
    pieces.add(b"a\x1b]0;" + b"title " * 2000)
    assert pieces.take() == "a"
    pieces.add(b"\x1b[31")
    assert pieces.take() == ""
    pieces.add(b"mred")
    assert pieces.take() == "red"


# --- what the service believes -------------------------------------------------------------------------------------


def test_output_is_no_result_and_its_control_characters_do_not_pass() -> None:
    found = frames.decode_reply(b'{"id":7,"output":"a\\u0000\\u001b[31m\\n\\u009b"}')
    assert isinstance(found, OutputFrame)
    assert (found.id, found.text()) == (7, "a\\x00\\x1b[31m\n\\x9b")


@pytest.mark.parametrize(
    "data",
    [
        b'{"id":1,"output":""}', b'{"id":1,"output":1}', b'{"id":1,"output":null}', b'{"output":"x"}',
        b'{"id":"1","output":"x"}', b'{"id":1,"output":"x","is_error":false}', b'{"id":1,"output":"\\ud800"}',
        b'{"id":1,"output":"\xff"}', b'{"id":1,"output":"x","content":[]}',
        b'{"id":1,"output":"' + b"x" * (frames.OUTPUT_TEXT_CHARS + 1) + b'"}',
        b'{"id":1,"output":"x"' + b" " * frames.OUTPUT_FRAME_BYTES + b"}",
    ],
)  # fmt: skip
def test_what_is_no_output_is_a_breach(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        frames.decode_reply(data)


# --- publishing ----------------------------------------------------------------------------------------------------


class SlowBus:
    """Publishes when it is let."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.sent: list[Output] = []
        self.fails = False

    async def publish(self, subject: str, data: bytes) -> None:
        assert subject == "out.t.s"
        await self.free.wait()
        if self.fails:
            raise Unavailable("it is gone")
        self.sent.append(msgspec.json.decode(data, type=Output))


def output_on(bus: SlowBus) -> LiveOutput:
    return LiveOutput(bus, Key("t", "s"), "sevt_1")  # type: ignore[arg-type]


async def test_output_is_published_in_order_and_says_where_it_stands() -> None:
    bus = SlowBus()
    bus.free.set()
    output = output_on(bus)
    for text in ("one\n", "two\n"):
        output.add(text)
        await eventually(lambda text=text: _ended_with(bus, text))
    assert [(o.call, o.at) for o in bus.sent] == [("sevt_1", 0), ("sevt_1", 4)]


async def _ended_with(bus: SlowBus, text: str) -> bool:
    return bool(bus.sent) and bus.sent[-1].text == text


async def test_a_slow_bus_never_waits_and_loses_only_the_end() -> None:
    bus = SlowBus()
    output = output_on(bus)
    for _ in range(100):
        output.add("x" * 10_000)  # returns at once
    bus.free.set()

    async def all_sent() -> bool:
        return sum(len(o.text) for o in bus.sent) >= live_output.WAITING - 10_000

    await eventually(all_sent)
    at = 0
    for sent in bus.sent:
        assert sent.at == at
        at += len(sent.text)
    output.add("more")
    await asyncio.sleep(0)
    assert sum(len(o.text) for o in bus.sent) == at <= live_output.WAITING


async def test_no_call_publishes_without_end() -> None:
    bus = SlowBus()
    bus.free.set()
    output = output_on(bus)
    for n in range(60):
        output.add("x" * 10_000)
        await eventually(lambda n=n: _reached(bus, min(n + 1, live_output.TOTAL // 10_000) * 10_000))
    assert sum(len(o.text) for o in bus.sent) <= live_output.TOTAL


async def _reached(bus: SlowBus, count: int) -> bool:
    return sum(len(o.text) for o in bus.sent) >= count


async def test_after_the_end_of_the_call_nothing_is_published() -> None:
    bus = SlowBus()
    output = output_on(bus)
    output.add("x")
    await asyncio.sleep(0)
    output.close()
    output.add("y")
    bus.free.set()
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == "live-output"]
    await asyncio.gather(*tasks, return_exceptions=True)
    assert bus.sent == []


async def test_a_bus_that_fails_ends_the_output_alone() -> None:
    bus = SlowBus()
    bus.fails = True
    bus.free.set()
    output = output_on(bus)
    output.add("x")

    async def ended() -> bool:
        return not [task for task in asyncio.all_tasks() if task.get_name() == "live-output"]

    await eventually(ended)
    bus.fails = False
    output.add("y")
    await asyncio.sleep(0)
    assert bus.sent == []
