"""Work of `holdfast explain`: reads the outlines of a session's commits from NATS, and prints what they tell."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import uvloop

from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key, cell_of
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.cli.client.session_ids import MIN_CHARS, NAMED_SESSIONS, is_full, matches
from holdfast.cli.client.target import NoStack
from holdfast.cli.exit_codes import FAILED, NO_STACK
from holdfast.cli.explain.analysis import explain
from holdfast.cli.explain.explanation import Explanation
from holdfast.cli.explain.text import explanation_text
from holdfast.cli.failure import tell
from holdfast.cli.sanitize import clean_line
from holdfast.process import clock, logs
from holdfast.process.model_catalogue import load_catalogue
from holdfast.process.settings import BadSettings, ProcessSettings

_TIMEOUT_S: Final = 60.0

_COMMAND: Final = "explain"


class UnknownSession(Exception):
    """The text says why."""


def run(session: str, bus: Callable[[], ProcessSettings], models_file: str, *, as_json: bool) -> int:
    """Explain the session on the bus of those settings, print it, and return the exit code."""
    logs.setup(_COMMAND, "error")
    try:
        found = uvloop.run(_run(bus(), session, models_file))
    except NoStack as exc:
        tell(_COMMAND, str(exc))
        return NO_STACK
    except (BadSettings, UnknownSession) as exc:
        tell(_COMMAND, clean_line(str(exc)))
        return FAILED
    except (BusError, TimeoutError) as exc:
        tell(_COMMAND, f"the session could not be read: {clean_line(str(exc)) or type(exc).__name__}")
        return FAILED
    print(msgspec.json.encode(found).decode() if as_json else explanation_text(found))
    return 0


async def _run(settings: ProcessSettings, session: str, models_file: str) -> Explanation:
    async with asyncio.timeout(_TIMEOUT_S):
        bus = await connect(settings, name=_COMMAND)
        try:
            return await explain_session(bus, await find_session(bus, session, settings.cell), models_file)
        finally:
            await bus.close()


async def find_session(bus: NatsBus, text: str, cell: str) -> Key:
    """The session that `text` names: a full id, or the beginning or end of one in that cell. Raises UnknownSession."""
    wanted = text.strip().lower()
    if not is_full(wanted) and len(wanted) < MIN_CHARS:
        raise UnknownSession(f"{text!r} is too short for a session id: give at least {MIN_CHARS} characters")
    keys = await bus.sessions(cell_of(wanted) or cell, wanted if is_full(wanted) else "*")
    found = [key for key in keys if matches(wanted, key.session)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownSession(f"there is no session {text!r} in the log of cell {cell_of(wanted) or cell}")
    named = ", ".join(key.session for key in found[:NAMED_SESSIONS])
    raise UnknownSession(f"{text!r} names {len(found)} sessions; give more of the id: {named}")


async def explain_session(bus: NatsBus, key: Key, models_file: str = "") -> Explanation:
    """Raises BusError, BadSettings."""
    commits = await bus.log.outlines(key)
    if not commits:
        raise UnknownSession(f"the log of {key.session} is empty")
    inbox = await bus.inbox.stream_epoch(key.cell)
    taken = commits[-1].head.taken_in(inbox)
    waiting = sum([1 async for _ in bus.inbox.undecoded(key, taken, upto=0)])
    catalogue = load_catalogue(models_file)
    return explain(key.session, commits, now=clock.now(), waiting=waiting, catalogue=catalogue)
