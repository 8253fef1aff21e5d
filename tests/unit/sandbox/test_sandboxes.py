"""The sandboxes of a worker and the calls that they know."""

import asyncio

import pytest

from holdfast.bus.commands import Provisioned
from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key
from holdfast.sandbox.sandboxes import Sandboxes, SandboxHandle


class Killed:
    """A sandbox that only notes why it was killed."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def kill(self, reason: str) -> None:
        self.reasons.append(reason)


def new_handle(generation: str = "g", session: str = "s") -> SandboxHandle:
    return SandboxHandle(Key("t", session), generation, Killed(), 10.0)  # type: ignore[arg-type]


def reasons(handle: SandboxHandle) -> list[str]:
    return handle.sandbox.reasons  # type: ignore[attr-defined]


def test_a_call_is_known_as_long_as_the_generation_lives() -> None:
    handle = new_handle()
    call = handle.track("c")
    assert handle.idle_since() is None
    handle.mark_running("c", call, window_ends_at=11.0)
    assert call.decided.is_set()
    handle.finish("c", 20.0)
    assert handle.find("c") is not None
    assert call.finished.is_set()
    assert handle.idle_since() == 20.0


def test_a_call_that_did_not_run_may_be_asked_for_again() -> None:
    handle = new_handle()
    call = handle.track("c")
    handle.forget("c")
    assert call.decided.is_set()
    assert call.phase == "checking"
    assert handle.find("c") is None


def test_a_cancelled_call_is_refused_for_ever() -> None:
    handle = new_handle()
    handle.refuse("c")
    assert handle.is_refused("c")
    assert not handle.is_refused("d")


def test_refusing_all_refuses_the_known_calls() -> None:
    handle = new_handle()
    handle.track("c")
    handle.refuse_all()
    assert handle.is_refused("c")
    assert not handle.is_refused("d")


def test_a_generation_is_found_for_its_own_session_only() -> None:
    sandboxes, handle = Sandboxes(), new_handle()
    sandboxes.add(handle)
    assert sandboxes.find(Key("t", "s"), "g") is sandboxes.of_session(Key("t", "s")) is handle
    assert sandboxes.find(Key("t", "other"), "g") is None
    assert sandboxes.find(Key("t", "s"), "other") is None


async def test_a_generation_that_is_ended_is_gone_before_it_is_killed() -> None:
    sandboxes, handle = Sandboxes(), new_handle()
    sandboxes.add(handle)
    ending = sandboxes.end(handle, "it was idle")
    assert handle.alive
    await ending
    assert not handle.alive
    assert sandboxes.all() == []
    assert sandboxes.of_session(handle.key) is None
    assert reasons(handle) == ["it was idle"]


def test_removing_a_generation_leaves_the_next_one_of_the_session() -> None:
    sandboxes, first, second = Sandboxes(), new_handle("g1"), new_handle("g2")
    sandboxes.add(first)
    sandboxes.add(second)
    sandboxes.remove(first)
    sandboxes.remove(first)
    assert sandboxes.of_session(first.key) is second
    assert sandboxes.all() == [second]


def test_a_place_is_reserved_up_to_the_limit() -> None:
    sandboxes = Sandboxes()
    sandboxes.add(new_handle())
    assert sandboxes.reserve(2)
    assert not sandboxes.reserve(2), "one lives and one is being made"
    assert sandboxes.reserve(0), "no limit"
    sandboxes.unreserve()
    sandboxes.unreserve()
    assert sandboxes.reserve(2)


async def test_all_are_given_up_and_killed() -> None:
    sandboxes, handles = Sandboxes(), [new_handle("g1", "s1"), new_handle("g2", "s2")]
    for handle in handles:
        sandboxes.add(handle)
    await sandboxes.end_all("its worker lost its registration")
    assert sandboxes.all() == []
    assert [reasons(handle) for handle in handles] == [["its worker lost its registration"]] * 2


async def test_closing_gives_all_up_and_cancels_what_is_being_made() -> None:
    async def make() -> Provisioned | BusError:
        await asyncio.Event().wait()
        return Provisioned()

    sandboxes, handle = Sandboxes(), new_handle()
    sandboxes.add(handle)
    creation = asyncio.create_task(make())
    sandboxes.add_creation(Key("t", "new"), creation)
    assert sandboxes.creation(Key("t", "new")) is creation
    sandboxes.close()
    assert sandboxes.closed
    assert not handle.alive
    assert reasons(handle) == []
    with pytest.raises(asyncio.CancelledError):
        await creation
    await asyncio.sleep(0)
    assert sandboxes.creation(Key("t", "new")) is None
