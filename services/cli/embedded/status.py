"""`holdfast status`: prints the state of a stack."""

import re
from pathlib import Path

import httpx2
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.cli.client.target import NoStack, Target, find
from holdfast.cli.embedded.sizes import human
from holdfast.cli.embedded.stack_status import StackStatus, inspect
from holdfast.cli.exit_codes import FAILED, NO_STACK
from holdfast.cli.failure import tell
from holdfast.process import logs

_OK = 200
_REMOTE_TIMEOUT_S = 5.0

_ERRNO = re.compile(r"\[Errno \d+\] ")


class RemoteStatus(msgspec.Struct, frozen=True):
    """The state of a stack on another machine, of which only the API is reachable."""

    base_url: str
    is_well: bool
    state: str


def run(data: Path | None, *, as_json: bool = False) -> int:
    """Print the state of the stack, and return the exit code."""
    logs.setup("status", "error")  # the table says it if a server does not answer
    try:
        target = find(data)
    except NoStack as exc:
        tell("status", str(exc))
        return NO_STACK
    if target.local is None:
        seen = remote_status(target)
        print(msgspec.json.encode(seen).decode() if as_json else _remote_text(seen))
    else:
        seen = uvloop.run(inspect(target.local))
        if as_json:
            print(msgspec.json.encode(seen).decode())
        else:
            _show(seen, Console(highlight=False, markup=False))
    return 0 if seen.is_well else FAILED


# --- a stack of which only the address is known --------------------------------------------------------------------


def remote_status(target: Target) -> RemoteStatus:
    """Whether the API answers, is ready, and takes the key."""
    url = target.base_url.rstrip("/")
    try:
        with httpx2.Client(base_url=url, timeout=_REMOTE_TIMEOUT_S) as client:
            ready = client.get("/readyz")
            listed = client.get("/v1/sessions", params={"limit": 1}, headers={"x-api-key": target.api_key})
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        why = _ERRNO.sub("", " ".join(str(exc).split())) or type(exc).__name__
        return RemoteStatus(url, is_well=False, state=f"the API does not answer: {why}")
    if listed.status_code in (401, 403):
        return RemoteStatus(url, is_well=False, state="the API answers, but refuses HOLDFAST_API_KEY")
    if ready.status_code != _OK:
        state = f"the API answers, but is not ready (HTTP {ready.status_code})"
        return RemoteStatus(url, is_well=False, state=state)
    if listed.status_code != _OK:
        state = f"the API answers, but cannot list sessions (HTTP {listed.status_code})"
        return RemoteStatus(url, is_well=False, state=state)
    return RemoteStatus(url, is_well=True, state="the API is ready and takes the key")


def _remote_text(seen: RemoteStatus) -> str:
    lines = [
        f"API      {seen.base_url}",
        f"state    {seen.state}",
        "Its processes can only be seen on its own machine: holdfast status there.",
    ]
    return "\n".join(lines)


# --- a stack of this machine ---------------------------------------------------------------------------------------


def _show(seen: StackStatus, console: Console) -> None:
    # A path is never broken: it is copied as a whole.
    for label, value in (
        ("API", seen.base_url),
        ("model", seen.model),
        ("data", seen.data),
        ("logs", seen.logs),
        ("disk", _disk(seen)),
        ("supervisor", f"process id {seen.supervisor}"),
    ):
        console.print(f"{label:<10}  {value}", soft_wrap=True)
    console.print()
    console.print(_processes(seen))
    for process in seen.processes:
        for sentence in (*process.causes, *process.notes):
            console.print(f"\n{process.name}: {sentence}", soft_wrap=not console.is_terminal)
    console.print()
    if seen.problem:
        console.print(f"NATS does not answer: {seen.problem}")
    else:
        console.print(_streams(seen))
        stored, waiting = seen.sessions or 0, seen.waiting_inputs or 0
        console.print(
            f"\nlogs of {stored} session{'s' * (stored != 1)} (deleted ones too), "
            f"{waiting} input{'s' * (waiting != 1)} waiting"
        )
    console.print(", ".join(f"{name} {number}" for name, number in seen.versions.items()))


def _disk(seen: StackStatus) -> str:
    text = f"{human(seen.disk.free)} free of {human(seen.disk.total)}"
    match seen.disk_level:
        case "full":
            return f"{text}: FULL, new work is refused until {human(seen.disk.full_below)} are free"
        case "low":
            return f"{text}: low; below {human(seen.disk.full_below)} new work is refused"
        case "enough":
            return text


def _processes(seen: StackStatus) -> Table:
    table = Table("process", "pid", "state", "memory", box=None, pad_edge=False)
    for process in seen.processes:
        size = "-" if process.memory_bytes is None else human(process.memory_bytes)
        state = Text(process.state, style="" if process.is_well else "bold red")
        table.add_row(process.name, str(process.pid or "-"), state, size)
    return table


def _streams(seen: StackStatus) -> Table:
    table = Table("stream", "messages", "subjects", "size", box=None, pad_edge=False)
    for stream in seen.streams:
        table.add_row(stream.name, str(stream.messages), str(stream.subjects), human(stream.size_bytes))
    return table
