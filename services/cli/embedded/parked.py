"""`holdfast parked`: looks at inputs that were set aside, and releases or drops them, as the administrator of NATS."""

import asyncio
import datetime as dt
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
import uvloop

from holdfast.bus import codec, subjects
from holdfast.bus.errors import BusError, Damaged, Newer
from holdfast.bus.inputs import ClientInput, PendingInput
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.parked import PARKED, ParkedInput, decode_parked
from holdfast.cli.client.target import NoStack, find
from holdfast.cli.exit_codes import FAILED, NO_STACK
from holdfast.cli.failure import tell
from holdfast.cli.sanitize import clean, clean_line
from holdfast.process import logs
from holdfast.process.settings import BadSettings, ProcessSettings, load

Action = Literal["list", "show", "release", "drop"]

_TIMEOUT_S: Final = 60.0

_COMMAND: Final = "parked"

_DONE: Final = {"release": "released", "drop": "dropped"}


class _CannotRelease(Exception):
    """The text says why."""


def run(action: Action, names: Sequence[str], bus: Callable[[], ProcessSettings], *, as_json: bool) -> int:
    """Carry the command out on the bus of `local_bus` or `named_bus`, and return the exit code."""
    logs.setup(_COMMAND, "error")
    try:
        settings = bus()
    except NoStack as exc:
        tell(_COMMAND, str(exc))
        return NO_STACK
    except BadSettings as exc:
        tell(_COMMAND, str(exc))
        return FAILED
    if action != "list" and not names:
        tell(_COMMAND, f"name what to {action}; holdfast parked lists the names")
        return NO_STACK
    try:
        return uvloop.run(_run(settings, action, names, as_json=as_json))
    except BadSettings as exc:
        tell(_COMMAND, str(exc))
    except (BusError, TimeoutError) as exc:
        tell(_COMMAND, f"NATS does not answer: {str(exc) or type(exc).__name__}")
    return FAILED


def local_bus(data: Path | None) -> ProcessSettings:
    """The bus of the stack that a command uses. Raises NoStack."""
    stack = find(data).local
    if stack is None:
        raise NoStack(
            "HOLDFAST_BASE_URL names a system by its HTTP API, and this command needs its NATS.\n"
            "Name that: --nats-url ADDRESS --nats-credentials FILE"
        )
    return ProcessSettings(nats_url=stack.nats_url, nats_credentials=stack.credentials["admin"])


def named_bus(url: str, credentials: Path | None, environ: Mapping[str, str] = os.environ) -> ProcessSettings:
    """The bus at that address, with the login of a file. HOLDFAST_CELL is one of its cells. Raises BadSettings."""
    given = {"HOLDFAST_NATS_URL": url, "HOLDFAST_NATS_CREDENTIALS": str(credentials or "")}
    return load(ProcessSettings, {**environ, **given})


async def _run(settings: ProcessSettings, action: Action, names: Sequence[str], *, as_json: bool) -> int:
    async with asyncio.timeout(_TIMEOUT_S):
        bus = await connect(settings, name=_COMMAND)
        try:
            return await carry_out(bus, action, names, as_json=as_json)
        finally:
            await bus.close()


async def carry_out(bus: NatsBus, action: Action, names: Sequence[str], *, as_json: bool) -> int:
    """The command on a connected bus: the exit code. Raises BusError."""
    entries = {e.key.partition(".")[2]: e for e in await bus.kv.list(PARKED)}  # a session names its cell itself
    code = 0
    for name in names or sorted(entries):
        entry = entries.get(name)
        if entry is None or entry.value is None:
            tell(_COMMAND, f"nothing is parked under {clean_line(name)}; holdfast parked lists the names")
            return NO_STACK
        try:
            if action != "drop":
                parked = decode_parked(entry.value)
                pending = await _decoded(bus, parked)
                if action == "release":
                    await _release(bus, parked, pending)
                else:
                    print(_as_json(name, parked, pending) if as_json else _text(name, parked, pending, action))
            if action in ("release", "drop"):
                await bus.kv.erase(PARKED, entry.revision)
                print(f"{_DONE[action]} {name}")
        except (Damaged, Newer, _CannotRelease) as exc:
            tell(_COMMAND, f"{name}: {exc}")
            code = FAILED
    return code


async def _decoded(bus: NatsBus, parked: ParkedInput) -> PendingInput:
    subject = subjects.inbox(parked.key, parked.source)
    return await bus.inbox.decoded(RawMessage(subject, "", parked.data, {"Nats-Sequence": str(parked.seq)}))


async def _release(bus: NatsBus, parked: ParkedInput, pending: PendingInput) -> None:
    """Put it into its inbox again. Raises _CannotRelease if that would be of no use, or would take it twice."""
    key, value = parked.key, pending.input
    if parked.source != "in":
        raise _CannotRelease("it is the result of a tool call that was closed with its turn: drop it")
    if not isinstance(value, ClientInput):
        raise _CannotRelease("it has no events of a client that this version can read")
    last = await bus.log.head(key, leader=True)
    if last is None or last.commit.head.deleted:
        raise _CannotRelease("its session is deleted: drop it")
    inbox = await bus.inbox.stream_epoch(key.cell)
    if inbox == parked.inbox and last.commit.head.taken_in(inbox).inputs < parked.seq:
        raise _CannotRelease("its session has not given it up and will take it by itself: drop it")
    ids = {event.id for event in value.events}
    for stored in await bus.log.read(key, leader=True):
        if any(event.id in ids for event in stored.commit.events):
            raise _CannotRelease("its session has taken it already: drop it")
    async for waiting in bus.inbox.waiting(key):
        if isinstance(waiting.input, ClientInput) and any(event.id in ids for event in waiting.input.events):
            raise _CannotRelease("it has been released already and waits for a harness: drop it")
    # One id for each parked input, so that a release that is repeated within two minutes stores nothing twice.
    await bus.inbox.put_again(key, parked.data, f"again_{parked.inbox}_{parked.seq}")


def _content(pending: PendingInput) -> str:
    if pending.input is None:
        return "this version cannot read it"
    return codec.encode(pending.input).decode()


def _text(name: str, parked: ParkedInput, pending: PendingInput, action: Action) -> str:
    at = dt.datetime.fromtimestamp(parked.parked_at / 1e6, dt.UTC).isoformat(timespec="seconds")
    line = "\t".join(map(clean_line, (name, at, f"{len(parked.data)} bytes", parked.reason)))
    return f"{line}\n{clean(_content(pending))}" if action == "show" else line


def _as_json(name: str, parked: ParkedInput, pending: PendingInput) -> str:
    fields = {
        "name": name, "session": parked.session, "parked_at": parked.parked_at, "reason": parked.reason,
        "source": parked.source, "bytes": len(parked.data), "content": _content(pending),
    }  # fmt: skip
    return msgspec.json.encode(fields).decode()
