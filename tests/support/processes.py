"""Find processes of sandboxes on the host by their command, which must be unique on this machine."""

from pathlib import Path

import psutil


async def running(command: str) -> list[int]:
    """Ids of the processes on this machine with exactly this command line."""
    words = command.split()
    return [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == words]


def descendants(pid: int, name: str) -> list[psutil.Process]:
    """The processes below `pid` with that program name, outermost first."""
    return [p for p in psutil.Process(pid).children(recursive=True) if p.name() == name]


def first_processes(pid: int) -> list[psutil.Process]:
    """The first process inside each sandbox that the process `pid` has made: the agent, whose end ends the sandbox."""
    return [
        process
        for process in psutil.Process(pid).children(recursive=True)
        if f"NSpid:\t{process.pid}\t1\n" in Path(f"/proc/{process.pid}/status").read_text()
    ]
