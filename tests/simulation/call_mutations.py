"""Mutations of the rules 12 to 18 and 22: how a call gets its one result, and a session its hands."""

import asyncio
import contextlib
from typing import Any

from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus import head as heads
from holdfast.bus.errors import BusError
from holdfast.bus.head import Head
from holdfast.bus.ids import NewId
from holdfast.harness.tools import tool_calls
from holdfast.harness.turn import ingest
from holdfast.sandbox import execution, lease, placement, provisioning, registration, results, sandboxes
from holdfast.sandbox.provisioning import Provisioner
from holdfast.testing.memory.server import MemoryServer
from tests.simulation.actors import Driver
from tests.simulation.swapped import Applied, swapped


def c1_not_bound_to_a_generation() -> Applied:
    """When the sandbox is lost its calls go to the next one."""
    apply = heads._apply

    def loose(head: Head, event: ev.Event, at: int) -> Head:
        after = apply(head, event, at)
        if isinstance(event, ev.HandLost):
            unbound = [replace(c, generation="") if c.generation == event.generation else c for c in after.calls]
            return replace(after, calls=tuple(unbound))
        return after

    def only_the_hand(
        _head: Head, hand: str, generation: str, reason: str, _calls: Any, *, new_id: NewId
    ) -> list[ev.Event]:
        return [ev.HandLost(id=new_id("sevt"), hand=hand, generation=generation, reason=reason)]

    return swapped((heads, "_apply", loose), (tool_calls, "hand_lost", only_the_hand))


def c2_placed_after_the_answer() -> Applied:
    """The worker answers to `provision`; the placement follows."""
    store = Provisioner._store_placement

    async def late(self: Provisioner, handle: sandboxes.SandboxHandle, entry: Any) -> None:
        async def later() -> None:
            await asyncio.sleep(1.0)
            with contextlib.suppress(BusError):
                await store(self, handle, entry)

        self._tasks.create_task(later())

    return swapped((Provisioner, "_store_placement", late))


def c3_placements_expire() -> Applied:
    """Placements live no longer than the registration beside which they were stored."""
    write = MemoryServer.kv_write

    def mortal(self: MemoryServer, bucket: str, key: str, value: bytes | None, *, ttl: float = 0.0, **how: Any) -> int:
        return write(self, bucket, key, value, ttl=3.0 if key.startswith("s.") else ttl, **how)

    return swapped((MemoryServer, "kv_write", mortal))


def c4_placement_emptied_before_the_results() -> Applied:
    """A sandbox that ended leaves its placement although results of its calls are still on the way."""
    deliver = results.deliver

    async def slow(bus: Any, key: Any, result: Any) -> None:
        await asyncio.sleep(2.0)  # so that workers die in between often enough
        await deliver(bus, key, result)

    async def at_once(_self: sandboxes.SandboxHandle) -> None:
        return

    return swapped(
        (sandboxes.SandboxHandle, "calls_ended", at_once), (sandboxes.Sandboxes, "owes_results", lambda *_: False),
        (results, "deliver", slow),
    )  # fmt: skip


def c5_results_taken_blindly() -> Applied:
    def blind(_head: Head, result: Any, *, new_id: NewId) -> list[ev.Event]:
        return [ev.AgentToolResult(id=new_id("sevt"), tool_use_id=result.id, content=result.content)]

    return swapped((ingest, "result_events", blind))


def c6_finished_calls_forgotten() -> Applied:
    finish = sandboxes.SandboxHandle.finish

    def forgetful(self: sandboxes.SandboxHandle, call_id: str, now: float) -> None:
        finish(self, call_id, now)
        self.forget(call_id)

    return swapped((sandboxes.SandboxHandle, "finish", forgetful))


def c7_released_before_it_was_accepted() -> Applied:
    return swapped((tool_calls.ToolCalls, "all_accepted", lambda _self, _ready: True))


def c8_no_cancel_on_interrupt() -> Applied:
    async def nothing(_self: tool_calls.ToolCalls, _head: Head, _thread: str | None = None) -> None:
        return

    return swapped((tool_calls.ToolCalls, "cancel_all", nothing))


def c9_a_lease_nobody_watches() -> Applied:
    """The worker goes on when its registration has expired."""
    register = registration.Registration.register

    async def careless(self: registration.Registration) -> None:
        with contextlib.suppress(BusError):
            await register(self)

    return swapped(
        (lease, "END_SHARE", 1e6), (lease, "START_SHARE", 1e6), (Driver, "keep_until", lambda _self, _deadline: None),
        (registration.Registration, "register", careless),
    )  # fmt: skip


def c10_nobody_reports_dead_workers() -> Applied:
    async def nobody(_bus: Any, _cell: str, _myself: str, _unreadable: set[str]) -> int:
        return 0

    return swapped((results, "report_dead_workers", nobody))


def c11_no_fallback_to_the_inbox() -> Applied:
    """A result that was given in an answer is never published."""
    hand_over = execution.Executor._hand_over

    async def trusting(
        self: execution.Executor, handle: sandboxes.SandboxHandle, call: sandboxes.TrackedCall, result: Any
    ) -> None:
        if not call.waiting:
            await hand_over(self, handle, call, result)
            return
        handle.mark_answered(call, result)
        await asyncio.sleep(execution.CONFIRM_TIMEOUT_S)

    return swapped((execution.Executor, "_hand_over", trusting))


def c12_confirmed_before_the_append() -> Applied:
    """The owner confirms a result and appends it then."""
    replies, confirm = tool_calls.ToolCalls.replies, tool_calls.ToolCalls.confirm

    def hasty(self: tool_calls.ToolCalls, head: Head, ready: Any) -> Any:
        found = replies(self, head, ready)
        confirm(self, head, found[0])
        return found

    return swapped(
        (tool_calls.ToolCalls, "replies", hasty), (tool_calls.ToolCalls, "confirm", lambda *_: None)
    )  # fmt: skip


def c13_reported_while_registered() -> Applied:
    """Hands are reported gone though their worker lives."""

    async def never(_bus: Any, _cell: str, _worker: str) -> bool:
        return False

    return swapped((results, "is_registered", never))


def c14_placement_emptied_whatever_it_names() -> Applied:
    """A placement that names a newer generation by now is emptied too."""

    async def blindly(bus: Any, entry: Any) -> None:
        await asyncio.sleep(1.0)  # so that a session is placed again in between often enough
        await bus.kv.put(placement.BUCKET, entry.key, placement.encode(placement.Placement()))

    return swapped((results, "empty_placement", blindly))


def nothing_is_confirmed() -> Applied:
    """Every confirmation is lost. Not a mutation: the rules hold without any."""
    return swapped((tool_calls.ToolCalls, "confirm", lambda *_: None))


# --- hands -------------------------------------------------------------------------------------------------------


def h1_a_loss_closes_the_calls_of_all_hands() -> Applied:
    whole = tool_calls.hand_lost

    def wide(head: Head, hand: str, generation: str, reason: str, _calls: Any, *, new_id: NewId) -> list[ev.Event]:
        return whole(head, hand, generation, reason, [c for c in head.calls if c.generation], new_id=new_id)

    return swapped((tool_calls, "hand_lost", wide), (ingest, "hand_lost", wide))


def h2_bound_whatever_the_hand() -> Applied:
    """A generation is bound to every unbound call, whichever hand the call names."""
    apply = heads._apply

    def careless(head: Head, event: ev.Event, at: int) -> Head:
        after = apply(head, event, at)
        if isinstance(event, ev.HandBound):
            calls = [replace(c, generation=event.generation) if heads.is_unbound(c) else c for c in after.calls]
            return replace(after, calls=tuple(calls))
        return after

    return swapped((heads, "_apply", careless))


def h3_the_host_is_forgotten() -> Applied:
    """An emptied placement does not say any more where the files are."""
    return swapped((placement.Placement, "emptied", lambda _self: placement.Placement()))


def h4_a_foreign_host_starts_empty() -> Applied:
    return swapped((provisioning.Provisioner, "_is_elsewhere", lambda _self, _placed: False))
